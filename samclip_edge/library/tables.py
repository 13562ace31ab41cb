"""The rows of a library as Arrow tables, for Parquet and Lance: features, and what they are of.

docs/library.md lists the columns. The table's metadata says by which model the features were made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from samclip_edge.errors import InputError, one_line
from samclip_edge.files import replacing
from samclip_edge.library.made_by import metadata_of
from samclip_edge.library.rows import Floats, Rows
from samclip_edge.library.store import Entry, Kind, Store, Thing
from samclip_edge.progress import Progress

_STEP = 4096  # rows that are written together


class Photo(NamedTuple):
    """What a row says of its photo."""

    path: str
    size: int  # bytes
    sha256: bytes
    width: int
    height: int


Row = tuple[Photo, Thing | None, Floats]  # a photo, or a thing of it, and its feature (E,)


def schema_of(about: Mapping[str, str]) -> pa.Schema:
    """The columns of a table. about: by which model, and how; it becomes the table's metadata."""
    return pa.schema(
        [
            pa.field("kind", pa.string(), nullable=False),
            pa.field("photo", pa.string(), nullable=False),
            pa.field("bytes", pa.int64(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("box", pa.list_(pa.int32(), 4)),
            pa.field("predicted_iou", pa.float32()),
            pa.field("mask_height", pa.int32()),
            pa.field("mask_width", pa.int32()),
            pa.field("mask", pa.string()),
            pa.field("feature", pa.list_(pa.float32(), int(about["features"])), nullable=False),
        ],
        metadata=metadata_of(about),
    )


def table_of(rows: Iterable[Row], schema: pa.Schema) -> pa.Table:
    """Photos, where the thing is None, and things, each with its feature (E,), as a table."""
    columns: dict[str, list[Any]] = {name: [] for name in schema.names if name != "feature"}
    features = []
    for photo, thing, feature in rows:
        fields: dict[str, Any] = {"kind": "photo" if thing is None else "thing", "photo": photo.path}
        fields |= {"bytes": photo.size, "sha256": photo.sha256.hex(), "width": photo.width, "height": photo.height}
        if thing is not None:
            (height, width), mask = thing.mask["size"], thing.mask["counts"]
            fields |= {"box": list(thing.box), "predicted_iou": thing.predicted_iou}
            fields |= {"mask_height": height, "mask_width": width, "mask": mask}
        for name, values in columns.items():
            values.append(fields.get(name))
        features.append(feature)
    kind = schema.field("feature").type
    flat = np.concatenate(features) if features else np.zeros(0, np.float32)
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    arrays["feature"] = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), kind.list_size)
    return pa.Table.from_pydict(arrays, schema=schema)


def rows_of_entry(photo: Photo, entry: Entry) -> list[Row]:
    """A photo and its things."""
    things = zip(entry.things, entry.thing_features, strict=True)
    return [(photo, None, entry.features[0]), *((photo, *each) for each in things)]


def check_file(path: Path, library: Path) -> None:
    """Raise InputError, before any work, for a file that cannot be written, or must not, which is the library's own."""
    if path.suffix != ".parquet":
        raise InputError(f" {path}: give a name that ends in .parquet; other places need --ray", "to")
    if os.path.realpath(path) == os.path.realpath(library):
        raise InputError(f" {path}: is the library itself; name another file", "to")
    if not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK):
        raise InputError(f" {path}: cannot be written; name a file in a folder that exists", "to")


def write_parquet(store: Store, path: str, progress: Progress) -> None:
    """Write all that a library holds, whole or not at all. Raises InputError where it cannot be written."""
    schema = schema_of(store.about)
    kinds: tuple[Kind, ...] = ("photo", "thing")
    with store.file.reading():
        rows = {kind: store.rows(kind) for kind in kinds}
        photos = dict(_photos(store))
    parts = [(kind, start) for kind in kinds for start in range(0, len(rows[kind].ids), _STEP)]
    try:
        with replacing(Path(path)) as partial, pq.ParquetWriter(partial, schema) as writer:
            for kind, start in progress(parts, "writing"):
                with store.file.reading():
                    part = list(_rows(store, kind, rows[kind], start, photos))
                writer.write_table(table_of(part, schema))
    except OSError as error:
        raise InputError(f" {path}: cannot be written ({one_line(error)}); name another file", "to") from None


def _photos(store: Store) -> Iterator[tuple[int, Photo]]:
    found = store.file.rows("SELECT id, path, bytes, sha256, width, height FROM photos")
    return ((row[0], Photo(*row[1:])) for row in found)


def _rows(store: Store, kind: Kind, rows: Rows, start: int, photos: Mapping[int, Photo]) -> Iterator[Row]:
    which = np.arange(start, min(start + _STEP, len(rows.ids)))
    for place, feature in zip(which, rows.features(which), strict=True):
        thing = store.thing(int(rows.ids[place])) if kind == "thing" else None
        yield photos[int(rows.photos[place])], thing, feature
