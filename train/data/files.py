"""Reads images by number from folders and tar shards, in any order and from any process, without unpacking.

The place of each file is looked up once and kept in an index file in the run's folder. Processes map the index into
memory. It takes 24 bytes for each image (48 with annotations) and has no names, so that it stays small with forty
million images.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from samclip_edge.errors import InputError, one_line
from samclip_edge.photo.masks import Rle, decode_rle
from samclip_edge.photo.read import read_photo

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
Bits = npt.NDArray[np.bool_]


class BrokenSample(Exception):
    """A sample cannot be used. The text names it and says why."""


class Member(NamedTuple):
    """One file, on its own or inside a tar shard: the index of its path, its first byte there, its length in bytes."""

    shard: int
    offset: int
    length: int


class Files:
    """The images in folders, files and tar shards. If `annotated`, only those with a json of the same name (SA-1B)."""

    def __init__(self, places: Sequence[str], annotated: bool, cache: Path) -> None:
        """places: folders, tar files, or patterns of them. cache: the folder where the index is kept.

        Raises InputError for a place that is not there, a damaged tar shard, or places without images.
        """
        self.paths = [path for place in places for path in _under(place)]
        self.annotated = annotated
        listed = json.dumps([annotated, [(str(path), path.stat().st_size) for path in self.paths]])
        index = cache / f"index-{hashlib.sha256(listed.encode()).hexdigest()[:12]}.npy"
        if not index.is_file():
            rows = np.array(list(self._scan()), np.int64).reshape(-1, 6 if annotated else 3)
            partial = index.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.save(file, rows)
            os.replace(partial, index)
        self._rows = np.load(index, mmap_mode="r")
        if not len(self._rows):
            wanted = "images with a json of annotations beside them" if annotated else "images"
            raise InputError(f"files {', '.join(places)}: hold no {wanted}")

    def _scan(self) -> Iterator[tuple[int, ...]]:
        """Yield an index row for each image: its `Member`, then, if annotated, that of its annotations."""
        stems: dict[str, dict[bool, Member]] = {}
        for shard, path in enumerate(self.paths):
            if path.suffix != ".tar":
                members = [(str(path), Member(shard, 0, path.stat().st_size))]
            else:
                stems.clear()  # an image and its json lie in the same shard
                try:
                    with tarfile.open(path, "r:") as tar:
                        members = [(m.name, Member(shard, m.offset_data, m.size)) for m in tar if m.isfile()]
                except (tarfile.TarError, OSError) as error:
                    raise InputError(f"{path}: not a whole tar shard ({one_line(error)}); fetch it again") from None
            for name, member in members:
                stem, ending = os.path.splitext(name)
                is_image, is_json = ending.lower() in IMAGES, ending.lower() == ".json"
                if is_image and not self.annotated:
                    yield member
                elif self.annotated and (is_image or is_json):
                    pair = stems.setdefault(stem, {})
                    pair[is_image] = member
                    if len(pair) == 2:
                        yield (*pair[True], *pair[False])
                        del stems[stem]

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """The path of a sample, and its bytes in a tar shard, for messages."""
        shard, offset, length = (int(value) for value in self._rows[index][:3])
        path = self.paths[shard]
        return f"{path} (bytes {offset} to {offset + length})" if path.suffix == ".tar" else str(path)

    def _bytes(self, row: npt.NDArray[np.int64]) -> bytes:
        shard, offset, length = (int(value) for value in row)
        with self.paths[shard].open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image (H,W,3) RGB. Raises BrokenSample when it cannot be decoded."""
        try:
            return read_photo(self._bytes(self._rows[index][:3]))
        except (InputError, OSError) as error:
            raise BrokenSample(f"{self.name(index)}: {one_line(error)}") from None

    def masks(self, index: int) -> list[Rle]:
        """The annotated masks of an image as COCO RLE. Raises BrokenSample when none can be read."""
        try:
            annotations = json.loads(self._bytes(self._rows[index][3:]))["annotations"]
            found = [Rle(size=a["segmentation"]["size"], counts=a["segmentation"]["counts"]) for a in annotations]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BrokenSample(f"{self.name(index)}: annotations cannot be read ({one_line(error)})") from None
        if not found:
            raise BrokenSample(f"{self.name(index)}: no annotations")
        return found

    def bits(self, index: int, rle: Rle, shape: tuple[int, int]) -> Bits:
        """Decode a mask (H,W) of an image of `shape` (H,W). Raises BrokenSample if it is damaged or of another size."""
        try:
            if tuple(rle["size"]) != shape:
                raise ValueError(f"its size is {rle['size']}, that of the image {list(shape)}")
            bits = decode_rle(rle)
        except (ValueError, IndexError, AttributeError, TypeError) as error:
            raise BrokenSample(f"{self.name(index)}: a mask cannot be used ({one_line(error)})") from None
        return bits


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it. A kill leaves either the old file or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)


def _under(place: str) -> list[Path]:
    """The images, annotations and tar files that a place names, sorted. Raises InputError when there are none."""
    found = sorted(glob.glob(place, recursive=True)) if glob.has_magic(place) else [place]
    paths: list[Path] = []
    for path in map(Path, found):
        if path.is_dir():
            paths.extend(sorted(p for p in path.rglob("*") if p.suffix.lower() in (*IMAGES, ".json", ".tar")))
        elif path.is_file():
            paths.append(path)
    if not paths:
        raise InputError(f"files {place}: nothing there; name a folder, a tar file, or a pattern of them")
    return paths
