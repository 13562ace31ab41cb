"""Photos of any number into a data set, on a cluster: Ray Data reads, decodes and writes, and actors encode.

Ray does the work of a machine that is lost again elsewhere, and each photo is in the data set once.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import lance_ray
import numpy as np
import pyarrow as pa
import pyarrow.fs
import ray
import ray.data
import ray.exceptions

from samclip_edge.bundle.device import Device
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.sizes import Size
from samclip_edge.errors import InputError, one_line
from samclip_edge.library import made_by
from samclip_edge.library.entries import entries_of, wanted_by
from samclip_edge.library.lance import LANCE
from samclip_edge.library.sources import PHOTOS, Failed, Listed, listed
from samclip_edge.library.tables import Photo, rows_of_entry, schema_of, table_of
from samclip_edge.photo.elsewhere import Decoded, Source, Wanted, decode, decode_bytes
from samclip_edge.photo.read import MAX_PIXELS
from samclip_edge.pipeline import SamClip
from samclip_edge.together import at_once

PARQUET = "parquet://"
_SHARE = 4  # CPUs of an actor that encodes on them, at most
_DECODED = 16  # photos that are decoded in one go
_DECODING = 0.5  # CPUs of that; of another number than an actor's, or Ray would have the actor do it


class OnRay(NamedTuple):
    """What came of it."""

    photos: int
    things: int | None  # None where they were not asked for
    failed: list[Failed]


def index_on_ray(
    photos: Sequence[str],
    to: str,
    model: SamClip,
    address: str,
    things: bool = False,
    size: Size | None = None,
    max_pixels: int = MAX_PIXELS,
    device: Device = "cpu",
) -> OnRay:
    """Encode the photos of folders, here or in a store (`s3://...`), into a new Lance or Parquet data set.

    to: `lance://PLACE.lance` or `parquet://PLACE`, where PLACE is a path or an address. model: its bundle must lie
    under the same path on every machine of the cluster. address: of the cluster, as Ray has it; `local` starts one
    here. device: what the cluster's machines run the model on: one actor encodes for each GPU, or, on `cpu`, for each
    share of CPUs. Photos that cannot be read are left out and named. Raises InputError for another `to`, where
    something lies there already, and for what Ray cannot do.
    """
    place, found = _place(to), _listed(photos)
    chosen = size or (model.sizes[-1] if things else model.names_size)
    schema = schema_of(made_by.about(model, chosen, things))
    started: dict[str, Any] = {"include_dashboard": False} if address == "local" else {"address": address}
    warnings.filterwarnings("ignore", "lance is not fork-safe")  # Ray starts processes of its own
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(**started, logging_level=logging.ERROR, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        told: Any = ray.remote(_Told).options(num_cpus=0).remote()  # type: ignore[attr-defined]
        plan = _Plan(os.fspath(model.bundle.folder), chosen, things, device, schema)
        rows = _rows(found or photos, model, plan, max_pixels, told)
        if to.startswith(LANCE):
            lance_ray.write_lance(rows, place, schema=schema)
        else:
            rows.write_parquet(place)
        counts, failed = ray.get(told.all.remote())
    except (OSError, ValueError, pa.ArrowException, ray.exceptions.RayError) as error:
        raise InputError(f" {address}: {_cause(error)}", "ray") from error
    finally:
        ray.shutdown()
    failed += found.failed if found else []
    return OnRay(len(counts), sum(counts.values()) if things else None, failed)


def _listed(photos: Sequence[str]) -> Listed | None:
    """The photos, where they lie here; None where they lie in a store. Raises InputError for tars, and for both."""
    stores = [each for each in photos if "://" in each]
    if len(stores) == len(photos):
        return None
    if stores:
        raise InputError(f"{stores[0]}: lies in a store, and others do not; index the two by themselves")
    found = listed(photos)
    tar = next((each.archive for each in found.sources if each.archive), None)
    if tar:
        raise InputError(f"{tar}: a tar, which --ray does not read; unpack it, or index it into a library")
    if not found.sources:
        raise InputError(f"{photos[0]}: holds no photos; name another folder")
    return found


def _rows(photos: Listed | Sequence[str], model: SamClip, plan: _Plan, max_pixels: int, told: Any) -> ray.data.Dataset:
    """The rows of the data set, which are made when they are written."""
    actors, resources = _actors(on_gpus=plan.device != "cpu")
    files: ray.data.Dataset
    if isinstance(photos, Listed):
        files = ray.data.from_items([{"path": each.path} for each in photos.sources])
    else:
        extensions = [each[1:] for each in PHOTOS]
        files = ray.data.read_binary_files(list(photos), include_paths=True, file_extensions=extensions)
    decoded = files.map_batches(
        _Decoder(wanted_by(model, plan.size, max_pixels), told),
        batch_size=_DECODED,
        batch_format="pyarrow",
        num_cpus=_DECODING,
    )
    return decoded.map_batches(
        _Encoder,
        fn_constructor_args=(plan, int(resources["num_cpus"]), told),
        batch_size=at_once(model.bundle, plan.size, named=True),
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        **resources,
    )


class _Plan(NamedTuple):
    """What every actor is told."""

    bundle: str
    size: Size
    things: bool
    device: Device
    schema: pa.Schema


class _Told:
    """An actor that keeps what was done of each photo. Work that is done again is told again."""

    def __init__(self) -> None:
        self._things: dict[str, int] = {}
        self._failed: dict[str, str] = {}

    def done(self, things: dict[str, int]) -> None:
        """Photos, and how many things each has."""
        self._things |= things

    def failed(self, errors: dict[str, str]) -> None:
        """Photos, and why each cannot be used."""
        self._failed |= errors

    def all(self) -> tuple[dict[str, int], list[Failed]]:
        """All that was told."""
        return self._things, [Failed(*each) for each in sorted(self._failed.items())]


class _Decoder:
    """Files to pixels."""

    def __init__(self, wanted: Wanted, told: Any) -> None:
        self._wanted, self._told = wanted, told

    def __call__(self, files: pa.Table) -> pa.Table:
        errors: dict[str, str] = {}
        rows = []
        for file in files.to_pylist():
            decoded = self._decoded(file["path"], file.get("bytes"))
            source = decoded.source
            if decoded.pixels is None:
                errors[source.path] = decoded.error
            else:
                rows.append((decoded, decoded.pixels.tobytes(), *decoded.pixels.shape[:2]))
        if errors:
            ray.get(self._told.failed.remote(errors))
        return pa.table(
            {
                "path": pa.array([each.source.path for each, *_ in rows], pa.string()),
                "bytes": pa.array([each.source.size for each, *_ in rows], pa.int64()),
                "sha256": pa.array([each.sha256 for each, *_ in rows], pa.binary()),
                "height": pa.array([each.height for each, *_ in rows], pa.int32()),
                "width": pa.array([each.width for each, *_ in rows], pa.int32()),
                "pixels": pa.array([pixels for _, pixels, *_ in rows], pa.large_binary()),
                "rows": pa.array([height for *_, height, _ in rows], pa.int32()),
                "columns": pa.array([width for *_, width in rows], pa.int32()),
            }
        )

    def _decoded(self, path: str, data: bytes | None) -> Decoded:
        """data: what Ray has read of the file; None where it lies here."""
        if data is not None:
            return decode_bytes(Source(path, len(data), 0), data, self._wanted)
        try:
            size = os.stat(path).st_size
        except OSError as error:
            return Decoded(Source(path, 0, 0), b"", None, 0, 0, error=f"cannot be read ({one_line(error)})")
        return decode(Source(path, size, 0), self._wanted, frozenset())


class _Encoder:
    """An actor that holds the model: pixels to the rows of the data set."""

    def __init__(self, plan: _Plan, threads: int, told: Any) -> None:
        self._plan, self._told = plan, told
        self._model = SamClip(Bundle.open(plan.bundle), SessionOptions(max(threads, 1), device=plan.device))

    def __call__(self, photos: pa.Table) -> pa.Table:
        decoded = [_decoded(row) for row in photos.to_pylist()]
        entries = entries_of(self._model, decoded, self._plan.size, self._plan.things)
        ray.get(self._told.done.remote({p.source.path: len(e.things) for p, e in zip(decoded, entries, strict=True)}))
        rows = []
        for photo, entry in zip(decoded, entries, strict=True):
            described = Photo(photo.source.path, photo.source.size, photo.sha256, photo.width, photo.height)
            rows += rows_of_entry(described, entry)
        return table_of(rows, self._plan.schema)


def _decoded(row: dict[str, Any]) -> Decoded:
    pixels = np.frombuffer(row["pixels"], np.uint8).reshape(row["rows"], row["columns"], 3)
    return Decoded(Source(row["path"], row["bytes"], 0), row["sha256"], pixels, row["height"], row["width"])


def _actors(on_gpus: bool) -> tuple[int, dict[str, Any]]:
    """How many actors encode, and what each takes of a cluster. On CPUs, one is left for reading and decoding."""
    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if on_gpus:
        return max(int(there.get("GPU", 0)), 1), {"num_gpus": 1, "num_cpus": 1}
    cpus = int(there.get("CPU", 1))
    share = min(_SHARE, max(cpus // 2, 1))
    return max((cpus - 1) // share, 1), {"num_cpus": share if cpus > 1 else 0.5}


def _place(to: str) -> str:
    """Where a data set goes. Raises InputError for what is none, and where something lies already."""
    scheme = next((each for each in (LANCE, PARQUET) if to.startswith(each)), None)
    place = to.removeprefix(scheme or "").rstrip("/")
    if scheme is None or not place or (scheme == LANCE) != place.endswith(".lance"):
        raise InputError(f" {to}: give lance://PLACE.lance or parquet://PLACE", "to")
    try:
        files, path = pyarrow.fs.FileSystem.from_uri(place if "://" in place else os.path.abspath(place))
        there = files.get_file_info(path).type
    except (OSError, pa.ArrowException) as error:
        raise InputError(f" {to}: cannot be reached ({one_line(error)})", "to") from None
    if there != pyarrow.fs.FileType.NotFound:
        raise InputError(f" {to}: something lies there already; name another place", "to")
    return path if "://" not in place else place


def _cause(error: BaseException) -> str:
    """The last line of a worker's traceback, or the message."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).strip()[:300]
