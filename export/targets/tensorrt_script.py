"""`build.sh`: a shell script in the bundle that builds its engines with trtexec on the device that will run them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from samclip_edge.bundle.manifest import Graph
from samclip_edge.export.options import TensorRTOptions
from samclip_edge.export.targets.tensorrt_builders import Shapes, profile

SCRIPT = "build.sh"


def build_script(graphs: Sequence[Graph], options: TensorRTOptions) -> str:
    """The text of `build.sh`: it builds a bundle's engines with trtexec, and records them in the manifest."""
    flags = " ".join(
        flag
        for flag, asked in (("--versionCompatible", options.portable), ("--stripWeights", options.stripped))
        if asked
    )
    commands = [_command(graph.files[0].path, profile(graph.signature)) for graph in graphs]
    return "\n".join([_HEAD.replace("FLAGS", f"{flags} " if flags else ""), *commands, _TAIL.replace("FLAGS", flags)])


def _command(onnx_file: str, shapes: Shapes) -> str:
    stem = onnx_file.removesuffix(".onnx")
    parts = ["build", shlex.quote(stem)]
    for index, bound in enumerate(("min", "opt", "max")):
        if shapes:
            sides = ",".join(f"{name}:{'x'.join(map(str, each[index]))}" for name, each in shapes.items())
            parts.append(f"--{bound}Shapes={sides}")
    return " ".join(parts)


_HEAD = """\
#!/bin/sh
# Builds this bundle's engines on the device that runs them, with trtexec of TensorRT 10.3 or newer, and records them in
# the manifest. Run again after an update of TensorRT. Kernel times are kept in timing.cache: later builds are quicker.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/src/tensorrt/bin"
command -v trtexec >/dev/null || { echo "error: trtexec is not here; it comes with TensorRT (JetPack)" >&2; exit 2; }
RESIZE="$(trtexec --help | grep -q runtimeActivationResize && echo --preview=+runtimeActivationResize || true)"

build() {
    name="$1"
    shift
    echo "building $name.engine (its log: $name.log)"
    trtexec --onnx="$name.onnx" --saveEngine="$name.engine" --stronglyTyped --noTF32 \\
        --skipInference --timingCacheFile=timing.cache $RESIZE FLAGS"$@" >"$name.log" 2>&1 || {
        echo "error: $name: trtexec failed: $(grep -m 1 '\\[E\\]' "$name.log" || tail -n 1 "$name.log")" >&2
        exit 1
    }
    rm "$name.log"
}
"""

_TAIL = """
"${PYTHON:-python3}" -m samclip_edge.runtimes.tensorrt . FLAGS
"""
