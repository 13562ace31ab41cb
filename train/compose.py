"""Composes photos with masks to train on from a few annotated ones: `python -m samclip_edge.train.compose`.

It writes a folder: `train/` holds jpg files with a json of masks beside each, as SA-1B has them, and `held-out/` the
same of photos that no image of `train/` has anything of. See `train/data/composed.py` for what is drawn.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from samclip_edge.errors import InputError
from samclip_edge.files import sha256
from samclip_edge.train.data.composed import Composer, jpeg
from samclip_edge.train.data.panoptic import Panoptic, read_panoptic
from samclip_edge.train.data.places import IMAGES, under
from samclip_edge.train.data.salient import Salient, marked
from samclip_edge.train.data.sources import generator

_composer: Composer | None = None  # of a process


def split(photos: Sequence[Panoptic], held_out: int, seed: int) -> tuple[list[Panoptic], list[Panoptic]]:
    """The photos to train on, and as many as asked for that are held out, drawn by the seed. Raises InputError."""
    if not 0 <= held_out < len(photos):
        raise InputError(f" {held_out}: there are {len(photos)} annotated photos; leave one to train on", "--held-out")
    chosen = set(generator(seed, "held out").permutation(len(photos))[:held_out].tolist())
    sides: tuple[list[Panoptic], list[Panoptic]] = [], []
    for place, photo in enumerate(photos):
        sides[place in chosen].append(photo)
    return sides


def others(photos: Path, held_out: Sequence[Panoptic]) -> list[Path]:
    """The photos of a folder, but for copies of those that are held out."""
    taken = {(each.photo.stat().st_size, sha256(each.photo)) for each in held_out}
    sizes = {size for size, _ in taken}
    found = [path for path in under(str(photos)) if path.suffix.lower() in IMAGES]
    return [p for p in found if p.stat().st_size not in sizes or (p.stat().st_size, sha256(p)) not in taken]


def compose(
    annotated: Sequence[Panoptic],
    photos: Path | None,
    network: Path | None,
    output: Path,
    count: int,
    held_out: int,
    seed: int,
) -> None:
    """Write the folder, whole or not at all, on all cores. Raises InputError where it exists, or a photo is broken."""
    if os.path.lexists(output):
        raise InputError(f" {output}: is there already; name a new folder", "-o")
    trained, kept = split(annotated, held_out, seed)
    plain = others(photos, kept) if photos else []
    salient = marked(plain, network) if network else []
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        for folder in ("train", "held-out"):
            (partial / folder).mkdir(parents=True)
        for photo in kept:
            (partial / "held-out" / photo.photo.name).write_bytes(photo.photo.read_bytes())
            annotations = json.dumps(photo.read().annotations())
            (partial / "held-out" / f"{photo.photo.stem}.json").write_text(annotations)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count() or 1, context, _begin, (trained, plain, salient, seed)) as pool:
            for _ in pool.map(functools.partial(_make, partial / "train"), range(count), chunksize=8):
                pass
        os.replace(partial, output)
    except OSError as error:
        raise InputError(f" {output}: cannot be written ({error.strerror}); name another folder", "-o") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _begin(annotated: Sequence[Panoptic], photos: Sequence[Path], salient: Sequence[Salient], seed: int) -> None:
    global _composer
    _composer = Composer(annotated, photos, salient, seed)


def _make(folder: Path, number: int) -> None:
    assert _composer is not None
    layers = _composer.image(number)
    (folder / f"{number:06}.jpg").write_bytes(jpeg(layers.pixels))
    (folder / f"{number:06}.json").write_text(json.dumps(layers.annotations()))


def main() -> None:
    """Parse the command line, and compose."""
    parser = argparse.ArgumentParser(prog="python -m samclip_edge.train.compose", description=__doc__)
    told = {"nargs": 3, "metavar": ("JSON", "MAPS", "PHOTOS"), "type": Path, "required": True}
    parser.add_argument("--panoptic", help="annotated photos in COCO's panoptic format", **told)  # type: ignore[arg-type]
    parser.add_argument("--photos", metavar="DIR", type=Path, help="photos without masks, to paste things on")
    parser.add_argument("--salient", metavar="ONNX", type=Path, help="a U²-Net, to find the main thing of those photos")
    parser.add_argument("-o", metavar="DIR", type=Path, required=True, help="a new folder", dest="output")
    parser.add_argument("--count", type=int, default=5000, help="images to compose (default 5000)")
    parser.add_argument("--held-out", type=int, default=20, help="annotated photos to hold out (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="two runs with one seed write the same (default 0)")
    asked = parser.parse_args()
    try:
        if asked.salient and not asked.photos:
            raise InputError(f" {asked.salient}: finds things on photos of --photos; give those too", "--salient")
        if asked.count < 1:
            raise InputError(f" {asked.count}: give a number above 0", "--count")
        shares = asked.count, asked.held_out, asked.seed
        compose(read_panoptic(*asked.panoptic), asked.photos, asked.salient, asked.output, *shares)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
