"""A stand-in for TensorRT's program `trtexec`, run as a script with the version that it is of."""

from __future__ import annotations

import sys
from pathlib import Path

from standin_builder import engine_bytes


def trtexec(version: str, arguments: list[str]) -> None:
    """Write the engine that the arguments ask for; `build.sh` runs it."""
    given = dict(each.removeprefix("--").partition("=")[::2] for each in arguments)
    resizes = version != "10.3"
    if "help" in given:
        print("--preview=spec", '"runtimeActivationResize"' if resizes else '"profileSharing0806"')
        return
    assert given.get("preview") == ("+runtimeActivationResize" if resizes else None)
    assert {"stronglyTyped", "noTF32"} <= set(given)
    shapes: dict[str, list[list[int]]] = {}
    for bound in ("min", "opt", "max"):
        for each in filter(None, given.get(f"{bound}Shapes", "").split(",")):
            name, _, sides = each.partition(":")
            shapes.setdefault(name, []).append([int(side) for side in sides.split("x")])
    Path(given["saveEngine"]).write_bytes(engine_bytes(given["onnx"], shapes, "stripWeights" in given))


if __name__ == "__main__":
    trtexec(sys.argv[1], sys.argv[2:])
