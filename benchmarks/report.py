"""Writes the result of `bench` as Markdown tables with ratios, and as a bar chart with the spread of the runs."""

from __future__ import annotations

import statistics
from pathlib import Path

from matplotlib.figure import Figure

from samclip_edge.benchmarks.bench import BOTH, MERGED, NAIVE, Result
from samclip_edge.benchmarks.tables import head, megabytes, seconds, short, table


def markdown(result: Result) -> str:
    """All tables of a result, below a line that names the model and the machine."""
    parts = [_scenarios, _encoder, _sizes, _by_graph, _costs, _growth]
    return "\n\n".join([head(result.machine["model"], result.machine), *(part(result) for part in parts)])


def _scenarios(result: Result) -> str:
    rows = []
    for scenario, found in result.scenarios.items():
        one, two = found[MERGED], found[BOTH]
        time, memory = one.latency / two.latency, one.memory / two.memory
        faster = " two models are faster" if time > 1 else ""
        rows.append(
            (
                scenario,
                seconds(one),
                seconds(two),
                f"{time:.2f}{faster}",
                megabytes(one.memory),
                megabytes(two.memory),
                f"{memory:.2f}",
            )
        )
    columns = ("scenario", MERGED, BOTH, "ratio", f"peak, {MERGED}", f"peak, {BOTH}", "ratio")
    return table(columns, rows)


def _encoder(result: Result) -> str:
    least = result.encoder.get(NAIVE)
    rows = []
    for name, found in result.encoder.items():
        ratios = (f"{found.latency / least.latency:.2f}", f"{found.memory / least.memory:.3f}") if least else ("", "")
        above = megabytes(statistics.median(found.above))
        load, first = (short(statistics.median(each)) for each in (found.load, found.first))
        rows.append((name, load, first, seconds(found), ratios[0], megabytes(found.memory), above, ratios[1]))
    columns = (
        "encoder alone",
        "load",
        "first image",
        "latency after it",
        "of naive",
        "peak",
        "above the bare engine",
        "peak, of naive",
    )
    return table(columns, rows)


def _sizes(result: Result) -> str:
    two = result.sizes[BOTH]
    rows = [
        (name, megabytes(disk), f"{disk / two[0]:.2f}", megabytes(packed), f"{packed / two[1]:.2f}")
        for name, (disk, packed) in result.sizes.items()
    ]
    return table(("weights", "on disk", f"of {BOTH}", "download", f"of {BOTH}"), rows)


def _by_graph(result: Result) -> str:
    names = list(dict.fromkeys(n for found in result.scenarios.values() for m in found.values() for n in m.by_graph))
    rows = [
        (f"{scenario}, {system}", *(short(m.by_graph[n]) if n in m.by_graph else "" for n in names))
        for scenario, found in result.scenarios.items()
        for system, m in found.items()
    ]
    return table(("seconds of a run in", *names), rows)


def _costs(result: Result) -> str:
    rows = [
        (
            f"{cost.graph} {cost.size or ''}".strip(),
            f"{cost.parameters / 1e6:.2f} M",
            f"{cost.multiply_adds / 1e9:.2f} G",
        )
        for cost in result.costs
    ]
    return table(("graph", "parameters", "multiply-adds"), rows)


def _growth(result: Result) -> str:
    rows = [
        (asked, seconds(found), megabytes(found.memory))
        for each in result.growth.values()
        for asked, found in each.items()
    ]
    return table((f"{MERGED}: how it grows", "latency", "peak"), rows)


def picture(result: Result, path: Path) -> None:
    """Draw latency and peak memory side by side: a pair of bars for each scenario, each with its range as a line."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(result.scenarios)
    for shift, system, colour in ((-0.2, MERGED, "#2a7f9e"), (0.2, BOTH, "#d9822b")):
        found = [result.scenarios[name][system] for name in names]
        places = [index + shift for index in range(len(names))]
        for axes, middles, all_values in (
            (left, [each.latency for each in found], [each.seconds for each in found]),
            (right, [each.memory / 1e6 for each in found], [[b / 1e6 for b in each.peak] for each in found]),
        ):
            spread = [
                [middle - min(values) for middle, values in zip(middles, all_values, strict=True)],
                [max(values) - middle for middle, values in zip(middles, all_values, strict=True)],
            ]
            axes.barh(places, middles, 0.38, xerr=spread, label=system, color=colour)
    for axes, title in ((left, "seconds"), (right, "peak memory, MB")):
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_xscale("log")
    left.legend(frameon=False)
    figure.savefig(path, dpi=120)
