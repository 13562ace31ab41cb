#!/bin/sh
# The Java classes on this machine's own Java: compile them and their JNI, and compare their answers with Python's.
# `run.sh PYTHON NATIVE`: the Python that has samclip_edge, and the folder of libsamclip_edge.so. It builds in
# build/android.
set -eu
cd "$(dirname "$0")/../../../.."
python=$1
native=$(realpath "$2")
module=runtimes/android/src
out=build/android

if ! command -v javac >/dev/null; then
    if [ "$(id -u)" != 0 ]; then
        echo 'there is no JDK here: install default-jdk-headless' >&2
        exit 1
    fi
    apt-get install --yes --quiet --no-install-recommends default-jdk-headless ||
        { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends default-jdk-headless; }
fi
java_home=$(dirname "$(dirname "$(realpath "$(command -v javac)")")")

rm -rf "$out"
mkdir -p "$out/classes"
find "$module" -name '*.java' ! -name 'Android*' >"$out/sources"
javac --release 11 -Xlint:all -Werror -encoding UTF-8 -d "$out/classes" "@$out/sources"
"${CXX:-c++}" -std=c++17 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror \
    -isystem "$java_home/include" -isystem "$java_home/include/linux" -Iruntimes/native/include \
    "$module"/main/cpp/*.cpp -L"$native" -lsamclip_edge -Wl,--no-undefined -Wl,-rpath,"$native" \
    -o "$out/libsamclip_edge_jni.so"

OMP_NUM_THREADS=1 "$python" "$module/test/expected.py" "$out"
status=0
LC_ALL=C.UTF-8 java -Xcheck:jni -Djava.library.path="$out" -cp "$out/classes" edge.samclip.Main "$out" \
    >"$out/log" 2>&1 || status=$?
if grep --quiet 'WARNING in native method\|FATAL ERROR in native method' "$out/log"; then
    echo 'JNI is used wrongly; see "in native method" below' >&2
    status=1
fi
cat "$out/log"
exit "$status"
