"""All of `bench --library`, part by part, so that a later fault loses none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samclip_edge import data
from samclip_edge.benchmarks.baselines import random_bundle
from samclip_edge.benchmarks.example_photos import example_photos
from samclip_edge.benchmarks.library import indexing, queries, report
from samclip_edge.benchmarks.library.vectors import real_features
from samclip_edge.benchmarks.library.worth import worth
from samclip_edge.benchmarks.machine import machine
from samclip_edge.bundle.sizes import Size
from samclip_edge.progress import Progress

Part = tuple[str, Any, str]  # its name, the result as JSON, and as Markdown
_LARGE: dict[str, int] = {"mobile": 24, "vit_b": 8}  # models of random weights at 1024, and of how many photos
_SIZES: tuple[Size, ...] = (224, 1024)


def measure_libraries(
    bundle: Path | None, coco: Path | None, folder: Path, threads: int, progress: Progress
) -> Iterator[Part]:
    """Measure indexing, answers, stores, and with COCO's folder the worth of things; see the files beside this one.

    bundle: None measures `photo`. folder: where large models are exported to, and found again. Raises InputError for
    a folder that is not COCO's, after the other parts.
    """
    model = indexing.loaded(bundle or data.PHOTO, threads)
    on, name, measured = machine(threads, model.bundle), model.bundle.folder.name, list[indexing.Rates]()
    with tempfile.TemporaryDirectory() as place:
        many = example_photos(Path(place))["many"]
        for size in dict.fromkeys((model.names_size, model.sizes[-1])):
            measured.append(indexing.rates(name, model, size, many, Path(place), True))
        for base, count in progress(list(_LARGE.items()), "indexing"):
            large = indexing.loaded(random_bundle(base, folder / base, "fp32", _SIZES), threads)
            measured.append(indexing.rates(base, large, _SIZES[-1], many[:count], Path(place), False))
    yield "indexing", [indexing.plain(each) for each in measured], report.indexing_markdown(measured, on)
    real = real_features(model)
    asked = [(rows, things) for things in (False, True) for rows in queries.SIZES]
    found = [queries.answered(model, real, *each, folder) for each in progress(asked, "answering")]
    yield "answers", [each._asdict() for each in found], report.answers_markdown(found)
    for rows in progress(queries.COMPARED, "comparing stores"):
        stores = queries.compared(real, rows, folder, threads)
        yield f"stores {rows}", stores, report.stores_markdown(rows, stores)
    if coco is not None:
        told = worth(model, coco, folder, progress)
        yield "worth", told._asdict(), report.worth_markdown(told)
