"""Writes two versions, a bundle alone and a long run as Markdown tables, and the row of docs/devices.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from samclip_edge.benchmarks.against import BEFORE, NOW, Compared
from samclip_edge.benchmarks.alone import Alone
from samclip_edge.benchmarks.measured import Measured
from samclip_edge.benchmarks.tables import SPREAD, device, head, megabytes, middle, seconds, short, table

COLUMNS = (
    "machine and engine",
    "model",
    "threads",
    "name a photo",
    "one click",
    "name and click",
    "everything, named",
    "peak",
    "last minute, of the first",
)
_TIMES = COLUMNS[3:7]


def compared_markdown(found: Compared) -> str:
    """The table of two versions: the ratio is the median of the rounds' ratios, with the least and the most of them."""
    rows = []
    for scenario, by_version in found.scenarios.items():
        before, now, ratios = by_version[BEFORE], by_version[NOW], found.ratios[scenario]
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        memory = f"{now.memory / before.memory:.2f}" if before.memory else ""
        ratio = f"{statistics.median(ratios):.2f}{spread}"
        rows.append((scenario, seconds(before), seconds(now), ratio, _peak(before), _peak(now), memory))
    versions = f"{BEFORE} {found.versions[BEFORE]}, {NOW} {found.versions[NOW]}"
    what, threads = f"{found.bundle['model']} {found.bundle['precision']}", found.machine["threads"]
    above = f"{what}: {versions}; {threads} threads; {device(found.machine)}. {SPREAD}"
    columns = ("scenario", BEFORE, NOW, f"of {BEFORE}", f"peak, {BEFORE}", f"peak, {NOW}", f"of {BEFORE}")
    notes = [f"- {scenario}: {note}" for scenario, note in found.notes.items()]
    return "\n\n".join(filter(None, (above, table(columns, rows), "\n".join(notes))))


def alone_markdown(found: Alone) -> str:
    """The table of a bundle alone."""
    rows = [
        (scenario, short(statistics.median(each.load)), seconds(each), _peak(each))
        for scenario, each in found.scenarios.items()
    ]
    what = f"{found.bundle['model']} {found.bundle['precision']}"
    return f"{head(what, found.machine)}\n\n{table(('scenario', 'load', 'latency', 'peak'), rows)}"


def long_markdown(long: Mapping[str, Any]) -> str:
    """The table of a long run: its first and its last minute, or halves of a run that is shorter than two."""
    rows = [
        (which, short(part["p50"]), short(part["p95"]), str(part["runs"]), _clock(part["megahertz"]))
        for which, part in (("first", long["first"]), ("last", long["last"]))
    ]
    columns = (f"{long['scenario']}: {long['window']:.0f} s of the run", "p50", "p95", "runs", "clock")
    return f"{table(columns, rows)}\n\nThe last takes {long['ratio']:.2f} of the first (by the p50)."


def row(document: Mapping[str, Any]) -> str:
    """The row of a report of a bundle alone in the table of docs/devices.md, below the table's head."""
    bundle, scenarios = document["bundle"], document["scenarios"]
    by_name = {scenario: systems[bundle["kind"]] for scenario, systems in scenarios.items()}
    peak = max(statistics.median(each["peak"]) for each in by_name.values())
    sizes = f"{bundle['sizes'][0]} and {bundle['sizes'][-1]}" if len(bundle["sizes"]) > 1 else str(bundle["sizes"][0])
    cells = (
        device(document["machine"]),
        f"{bundle['model']} {bundle['precision']}, {bundle['target']}, at {sizes}",
        str(document["machine"]["threads"]),
        *(middle(by_name[scenario]) if scenario in by_name else "" for scenario in _TIMES),
        megabytes(peak),
        f"{document['long']['ratio']:.2f}" if "long" in document else "",
    )
    return table(COLUMNS, [cells])


def _peak(found: Measured) -> str:
    return megabytes(found.memory) if found.memory else ""


def _clock(told: float | None) -> str:
    return "not told" if told is None else f"{told:.0f} MHz"
