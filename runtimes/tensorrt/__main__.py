"""`python -m samclip_edge.runtimes.tensorrt FOLDER [--versionCompatible] [--stripWeights]`, which ends `build.sh`.

It records in the manifest the engines that trtexec has built beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.manifest import MANIFEST, BuiltEngines
from samclip_edge.errors import InputError, one_line
from samclip_edge.files import write_whole
from samclip_edge.runtimes.tensorrt.cuda import the_device
from samclip_edge.runtimes.tensorrt.library import version


def record(folder: Path, portable: bool = False, stripped: bool = False) -> BuiltEngines:
    """Record in a bundle's manifest the engines that `build.sh` has built: each graph's, and what they run on.

    portable, stripped: see `BuiltEngines`. Raises InputError when an engine is missing.
    """
    bundle = Bundle.open(folder)
    graphs = []
    for graph in bundle.manifest.graphs:
        path = (bundle.folder / graph.files[0].path).with_suffix(".engine")
        if not path.is_file():
            raise InputError(f"{path}: is not there; run sh {folder / 'build.sh'}")
        graphs.append(graph.model_copy(update={"built_engine": describe(bundle.folder, path)}))
    made_for = (the_device().capability,)
    engines = BuiltEngines(
        builder="tensorrt", version=version("tensorrt"), capabilities=made_for, portable=portable, stripped=stripped
    )
    manifest = bundle.manifest.model_copy(update={"graphs": tuple(graphs), "built_engines": engines})
    try:  # a manifest that is a link, as in a hub's cache, is replaced by a file: others may use what it leads to
        write_whole(bundle.folder / MANIFEST, manifest.model_dump_json(indent=1, by_alias=True), follow=False)
    except OSError as error:
        raise InputError(f"{folder / MANIFEST}: cannot be written ({one_line(error)}); copy the bundle") from None
    return engines


if __name__ == "__main__":
    try:
        _, given, *flags = sys.argv
        print(json.dumps(record(Path(given), "--versionCompatible" in flags, "--stripWeights" in flags).model_dump()))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
