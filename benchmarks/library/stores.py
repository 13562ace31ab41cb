"""Measures one store of features: `python -m samclip_edge.benchmarks.library.stores write|ask NAME ROWS FOLDER`.

Each runs in fresh processes, because the peak memory of a process never falls again. All are given the same features
and questions, from FOLDER, and asked for the ten nearest of one question at a time. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from samclip_edge.benchmarks.any_version import peak
from samclip_edge.library.rows import best, rows_of

TEN = 10
AGAIN = 256  # rows that a library compares again, of ten that are asked for
Search = Callable[[np.ndarray], Any]  # a feature (E,) to the places of the nearest
FEATURES, QUESTIONS, ANSWERS, STORE = "features.npy", "questions.npy", "answers.npy", "store"


def library(features: np.ndarray, place: Path, write: bool) -> Search:
    """This project's: BLOBs of a SQLite file, whose int8 is scanned; the best are compared again (`searching`)."""
    from samclip_edge.library.file import LibraryFile
    from samclip_edge.library.store import Store

    if write:
        about = {"features": str(features.shape[1]), "size": "224", "things": "0", "bundle": "", "model": "{}"}
        file = LibraryFile.create(place, about | {"name": ""})
        store = Store(file)
        with file.writing():
            for start in range(0, len(features), 1000):
                part = range(start, min(start + 1000, len(features)))
                photos = [(k, str(k), 0, 0, b"", 1, 1, b"", None) for k in part]
                file.put_many("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", photos)
                store.put_block("photo", rows_of(part, part, np.asarray(features[part.start : part.stop])))
        file.close()
    store = Store(LibraryFile(place))
    with store.file.reading():
        rows = store.rows("photo")

    def search(feature: np.ndarray) -> Any:
        places = best(rows.cosines(feature), AGAIN)
        return rows.ids[places[best(rows.features(places) @ feature, TEN)]]

    return search


def numpy_float32(features: np.ndarray, place: Path, write: bool) -> Search:
    """numpy: one product in float32."""
    if write:
        _save(place, features)
    loaded = np.load(place)

    def search(feature: np.ndarray) -> Any:
        return best(loaded @ feature, TEN)

    return search


def faiss_flat(features: np.ndarray, place: Path, write: bool) -> Search:
    """faiss: its exact index, in float32."""
    return _faiss("Flat", features, place, write)


def faiss_sq8(features: np.ndarray, place: Path, write: bool) -> Search:
    """faiss: an exact scan of eight bits a number."""
    return _faiss("SQ8", features, place, write)


def _faiss(kind: str, features: np.ndarray, place: Path, write: bool) -> Search:
    import faiss

    if write:
        index = faiss.index_factory(features.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(np.asarray(features[:100_000]))
        for start in range(0, len(features), 65_536):
            index.add(np.asarray(features[start : start + 65_536]))
        faiss.write_index(index, str(place))
    index = faiss.read_index(str(place))
    return lambda feature: index.search(feature[None], TEN)[1][0]


def lancedb(features: np.ndarray, place: Path, write: bool) -> Search:
    """LanceDB without an index: an exact scan of float32."""
    import lancedb as lance
    import pyarrow as pa

    base = lance.connect(str(place))
    if write:
        width = features.shape[1]
        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), width))])

        def parts() -> Any:
            for start in range(0, len(features), 65_536):
                part = np.asarray(features[start : start + 65_536])
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), width)
                ids = pa.array(range(start, start + len(part)), pa.int64())
                yield pa.RecordBatch.from_arrays([ids, vectors], schema=schema)

        base.create_table("features", parts(), schema=schema)
    table: Any = base.open_table("features")

    def search(feature: np.ndarray) -> Any:
        asked = table.search(feature).metric("cosine").select(["id", "_distance"]).limit(TEN)
        return asked.to_arrow()["id"].to_numpy()

    return search


def usearch_exact(features: np.ndarray, place: Path, write: bool) -> Search:
    """usearch: its exact search, over int8 that is mapped from a file."""
    from usearch.index import search

    if write:
        _save(place, _int8(features))
    rows = np.load(place, mmap_mode="r")
    return lambda feature: search(rows, _int8(feature[None]), TEN, "cos", exact=True).keys.ravel()


def usearch_graph(features: np.ndarray, place: Path, write: bool) -> Search:
    """usearch: its single-file index, a graph (HNSW) of int8, mapped from its file."""
    from usearch.index import Index

    if write:
        index = Index(ndim=features.shape[1], metric="cos", dtype="i8", expansion_search=256)
        for start in range(0, len(features), 65_536):
            part = np.asarray(features[start : start + 65_536])
            index.add(np.arange(start, start + len(part)), part)
        index.save(str(place))
    mapped: Any = Index.restore(str(place), view=True)
    mapped.expansion_search = 256
    return lambda feature: mapped.search(feature, TEN).keys


def sqlite_vec(features: np.ndarray, place: Path, write: bool) -> Search:
    """sqlite-vec: its tables of int8, through a SQLite that loads extensions."""
    import apsw
    import sqlite_vec as extension

    base = apsw.Connection(str(place))
    base.enable_load_extension(True)
    base.load_extension(extension.loadable_path())
    if write:
        base.execute(
            f"CREATE VIRTUAL TABLE features USING vec0(feature int8[{features.shape[1]}] distance_metric=cosine)"
        )
        with base:
            for start in range(0, len(features), 65_536):
                part = _int8(np.asarray(features[start : start + 65_536]))
                values = ((start + k, row.tobytes()) for k, row in enumerate(part))
                base.executemany("INSERT INTO features(rowid, feature) VALUES (?, vec_int8(?))", values)
        base.close()
        return sqlite_vec(features, place, False)

    def search(feature: np.ndarray) -> Any:
        asked = (_int8(feature[None]).tobytes(), TEN)
        statement = "SELECT rowid FROM features WHERE feature MATCH vec_int8(?) AND k = ?"
        return [row[0] for row in base.execute(statement, asked)]

    return search


STORES: dict[str, Callable[[np.ndarray, Path, bool], Search]] = {
    "this library": library,
    "numpy, float32": numpy_float32,
    "faiss, exact": faiss_flat,
    "faiss, 8 bits": faiss_sq8,
    "LanceDB, no index": lancedb,
    "sqlite-vec, int8": sqlite_vec,
    "usearch, exact, int8": usearch_exact,
    "usearch, graph, int8": usearch_graph,
}


def write(name: str, rows: int, folder: Path) -> dict[str, Any]:
    """Write a store of the first `rows` features of a folder. Returns the seconds that took, and its bytes."""
    features, place = np.load(folder / FEATURES, mmap_mode="r")[:rows], folder / STORE
    start = time.perf_counter()
    STORES[name](features, place, True)
    seconds = time.perf_counter() - start
    files = [place, *place.rglob("*")] if place.is_dir() else [place]
    return {"write": seconds, "bytes": sum(each.stat().st_size for each in files if each.is_file())}


def ask(name: str, rows: int, folder: Path) -> dict[str, Any]:
    """Open what `write` wrote, and ask it.

    Returns the seconds to open it and answer once, those of each question after that, the memory that the process took
    for it at its peak, and recall@10 against exact search in float32.
    """
    nothing = np.zeros((0, np.load(folder / QUESTIONS).shape[1]), np.float32)
    asked, wanted = np.load(folder / QUESTIONS), np.load(folder / ANSWERS)
    bare, start = peak(), time.perf_counter()
    search = STORES[name](nothing, folder / STORE, False)
    search(asked[0])
    opened, seconds, hits = time.perf_counter() - start, [], 0
    for feature, right in zip(asked, wanted, strict=True):
        start = time.perf_counter()
        found = search(feature)
        seconds.append(time.perf_counter() - start)
        hits += len(set(np.asarray(found).tolist()) & set(right[:TEN].tolist()))
    return {"open": opened, "seconds": seconds, "memory": peak() - bare, "recall": hits / len(asked) / TEN}


def _save(place: Path, values: np.ndarray) -> None:
    with place.open("wb") as file:
        np.save(file, values)


def _int8(features: np.ndarray) -> np.ndarray:
    return rows_of(range(len(features)), range(len(features)), features).vectors


if __name__ == "__main__":
    what, name, rows, folder = sys.argv[1:5]
    print(json.dumps({"write": write, "ask": ask}[what](name, int(rows), Path(folder))))
