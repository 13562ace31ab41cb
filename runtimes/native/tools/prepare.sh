#!/bin/sh
# Makes ready what the native build needs: tools and libraries of Debian or Ubuntu, and build/onnxruntime, which has the
# headers of ONNX Runtime and the library of the one that Python uses.
#
#     sh runtimes/native/tools/prepare.sh            # for this machine
#     sh runtimes/native/tools/prepare.sh aarch64    # for 64-bit ARM: the cross compiler, QEMU, and build/aarch64
#     sh runtimes/native/tools/prepare.sh fuzz       # for the fuzzers: clang
#
# Nothing is downloaded when all is there.
set -eu
cd "$(dirname "$0")/../../.."
ort=build/onnxruntime

need() { # packages of the system: installed where they are missing
    missing=
    for package; do
        dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "the native build needs more packages: sudo apt-get install$missing" >&2
        exit 1
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  # a list
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
}

lists() { # apt's lists of one suite of Debian for one architecture, in a folder of their own: FOLDER SUITE ARCHITECTURE
    mkdir -p "$1/state/lists/partial" "$1/cache/archives/partial" "$1/packages"
    : >"$1/status"
    # The mirror is that of the machine's own sources.
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
        awk -v suite="$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" '$1 == suite {print $2; exit}')
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $2 main" >"$1/sources.list"
    cat >"$1/apt.conf" <<CONF
Dir::Etc::sourcelist "$PWD/$1/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "$PWD/$1/state";
Dir::State::status "$PWD/$1/status";
Dir::Cache "$PWD/$1/cache";
APT::Architecture "$3";
APT::Architectures { "$3"; };
APT::Sandbox::User "root";
CONF
    APT_CONFIG="$PWD/$1/apt.conf" apt-get update -qq
}

download() { # packages of these lists, unpacked: FOLDER ROOT PACKAGE...
    conf=$PWD/$1/apt.conf packages=$1/packages root=$2
    shift 2
    (cd "$packages" && APT_CONFIG="$conf" apt-get download -qq "$@")
    mkdir -p "$root"
    for package in "$packages"/*.deb; do dpkg --extract "$package" "$root"; done
    rm -r "${packages%/packages}"
}

debian() { # is this Debian? Ubuntu keeps its architectures apart, and its newer suites have other keys
    (. /etc/os-release && [ "$ID" = debian ])
}

headers() { # of ONNX Runtime, which its wheel does not hold; those of 1.20 and later fit any later library
    [ ! -e $ort/include/onnxruntime_c_api.h ] || return 0
    if ! debian; then
        echo "unpack a release of ONNX Runtime, 1.20 or later, so that there is $ort/include/onnxruntime_c_api.h" >&2
        exit 1
    fi
    rm -rf build/onnxruntime-package
    lists build/apt trixie "$(dpkg --print-architecture)"
    download build/apt build/onnxruntime-package libonnxruntime-dev
    mkdir -p $ort
    mv build/onnxruntime-package/usr/include/onnxruntime $ort/include
    rm -r build/onnxruntime-package
}

link() { # a wheel's library, under the names that the linker and the loader look for: CAPI-FOLDER LIB-FOLDER
    library=$(ls "$1"/libonnxruntime.so.*)
    mkdir -p "$2"
    ln -sfn "$library" "$2/libonnxruntime.so"
    ln -sfn "$library" "$2/libonnxruntime.so.1"
}

for_this_machine() {
    need cmake ninja-build g++ pkg-config nlohmann-json3-dev libutf8proc-dev libjpeg-dev libpng-dev doctest-dev dpkg-dev file
    headers
    link "$(.venv/bin/python -c 'from onnxruntime import capi; print(*capi.__path__)')" $ort/lib
}

for_aarch64() {
    need g++-aarch64-linux-gnu qemu-user
    libraries_for_aarch64
    if [ ! -e build/aarch64/litert/ai_edge_litert/libLiteRt.so ]; then
        .venv/bin/python -m pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_27_aarch64 \
            --python-version 3.11 --dest build/aarch64/litert ai-edge-litert==2.3.0
        .venv/bin/python -m zipfile --extract build/aarch64/litert/ai_edge_litert-*.whl build/aarch64/litert
    fi
}

libraries_for_aarch64() {
    [ ! -e build/aarch64/ready ] || return 0
    if ! debian; then
        echo "the libraries for aarch64 are taken from Debian: run this on Debian" >&2
        exit 1
    fi
    rm -rf build/aarch64
    lists build/apt "$(. /etc/os-release && echo "$VERSION_CODENAME")" arm64
    # With the shared libraries that the development packages link to, but without those of the cross compiler.
    # shellcheck disable=SC2046  # a list
    download build/apt build/aarch64 $(APT_CONFIG=$PWD/build/apt/apt.conf apt-cache depends --recurse \
        --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        libutf8proc-dev libjpeg-dev libpng-dev nlohmann-json3-dev doctest-dev |
        grep -E '^(libutf8proc|libjpeg|libpng|zlib|nlohmann|doctest)' | sort -u)
    # Debian 12 has zlib itself in /lib, where the link to it leads from the root of this machine.
    [ ! -d build/aarch64/lib ] || cp -a build/aarch64/lib/. build/aarch64/usr/lib
    ln -sf libz.so.1 build/aarch64/usr/lib/aarch64-linux-gnu/libz.so
    # The oldest that the library takes; 1.32 reads the CPU's description as it is loaded, and crashes under QEMU.
    .venv/bin/python -m pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_28_aarch64 \
        --python-version 3.11 --dest build/aarch64/wheel onnxruntime==1.20.1
    .venv/bin/python -m zipfile --extract build/aarch64/wheel/onnxruntime-*.whl build/aarch64/wheel
    link "$PWD/build/aarch64/wheel/onnxruntime/capi" build/aarch64/onnxruntime/lib
    ln -sfn ../../onnxruntime/include build/aarch64/onnxruntime/include
    touch build/aarch64/ready
}

for_fuzzing() {
    need clang llvm
    # Debian has what a fuzzer is linked with in a package of its own.
    ls "$(clang -print-resource-dir)"/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 || need libclang-rt-dev
}

for_this_machine
[ "${1:-}" != aarch64 ] || for_aarch64
[ "${1:-}" != fuzz ] || for_fuzzing
