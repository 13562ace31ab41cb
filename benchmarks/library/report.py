"""Writes what `bench --library` measured as JSON and as Markdown tables."""

from __future__ import annotations

import statistics
from typing import Any

from samclip_edge.benchmarks.library.indexing import Rates
from samclip_edge.benchmarks.library.queries import Answered
from samclip_edge.benchmarks.library.worth import Worth
from samclip_edge.benchmarks.measured import p95
from samclip_edge.benchmarks.tables import device, table


def indexing_markdown(found: list[Rates], on: dict[str, Any]) -> str:
    """Photos a second."""
    rows = [
        (
            each.bundle,
            str(each.size),
            f"{statistics.median(each.encoding):.2f}",
            f"{statistics.median(each.indexing):.2f}",
            f"{each.share:.2f}",
            f"{statistics.median(each.things):.2f}",
            f"{each.cost:.2f} ({each.found:.0f} things a photo)",
        )
        for each in found
    ]
    columns = ("model", "size", "encoding, photos/s", "indexing", "share", "with things", "cost of a photo with things")
    return f"Indexing, {on['threads']} threads; {device(on)}.\n\n{table(columns, rows)}"


def answers_markdown(found: list[Answered]) -> str:
    """Milliseconds of an answer."""
    rows = [
        (
            f"{each.photos:,}",
            f"{each.things:,}" if each.things else "",
            f"{each.bytes / 1e6:.1f} MB",
            _ms(each.first),
            f"{_ms(statistics.median(each.warm))}, p95 {_ms(p95(each.warm))}",
            f"{statistics.median(each.cold):.2f} s ({min(each.cold):.2f} to {max(each.cold):.2f})",
        )
        for each in found
    ]
    columns = ("photos", "things", "file", "first answer", "each after that", "the command, cold")
    return table(columns, rows)


def stores_markdown(rows: int, found: dict[str, dict[str, Any]]) -> str:
    """Stores beside each other."""
    lines = [
        (name, f"not measured: {each['missing'][:80]}", *[""] * 5)
        if "missing" in each
        else (
            name,
            f"{each['write']:.1f} s",
            f"{each['bytes'] / 1e6:.0f} MB",
            f"{each['open'] * 1e3:.0f} ms",
            f"{each['memory'] / 1e6:.0f} MB",
            f"{_ms(statistics.median(each['seconds']))}, p95 {_ms(p95(each['seconds']))}",
            f"{each['recall']:.3f}",
        )
        for name, each in found.items()
    ]
    columns = ("store", "written in", "files", "opened, first answer", "memory", "each answer", "recall@10")
    return f"{rows:,} features:\n\n{table(columns, lines)}"


def worth_markdown(found: Worth) -> str:
    """Recall@5."""
    rows = [(what, f"{each['small']:.3f}", f"{each['others']:.3f}") for what, each in found.recall.items()]
    counts = found.pairs
    columns = ("what answers", f"objects under 2 % of the area ({counts['small']})", f"all others ({counts['others']})")
    return f"Recall@5 over {found.photos} photos of COCO and {found.things} things:\n\n{table(columns, rows)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
