"""Writes what `measure_bases` found as Markdown tables, each with its ratios."""

from __future__ import annotations

import statistics

from samclip_edge.benchmarks.bases import CAMERA, REFERENCE, SIZES, Bases
from samclip_edge.benchmarks.measured import Measured
from samclip_edge.benchmarks.published import PUBLISHED
from samclip_edge.benchmarks.tables import head, megabytes, seconds, short, table

_NAMED = {"encode": "the encoder alone"}  # scenarios whose names say too little


def bases_markdown(found: Bases) -> str:
    """All tables of the bases, below a line that names the machine."""
    parts = [
        head("Bases", found.machine),
        _facts(found),
        *(_scenario(name, systems) for name, systems in found.measured.items()),
        _by_graph(found),
        _shapes(found),
        _marks(found),
        *(_profile(system, each) for system, each in found.profiles.items()),
        PUBLISHED.strip(),
    ]
    return "\n\n".join(part for part in parts if part)


def _named(scenario: str) -> str:
    return _NAMED.get(scenario, scenario)


def _billions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.1f} G"


def _facts(found: Bases) -> str:
    least = found.facts[REFERENCE]
    rows = [
        (
            system,
            "" if each.parameters is None else f"{each.parameters / 1e6:.1f} M",
            _billions(each.encoder),
            _billions(each.answer),
            megabytes(each.disk),
            f"{each.disk / least.disk:.2f}",
            megabytes(each.download),
        )
        for system, each in found.facts.items()
    ]
    columns = ("base", "encoder's parameters", "its multiply-adds", "name and click", "on disk", f"of {REFERENCE}")
    return table((*columns, "download"), rows)


def _scenario(scenario: str, systems: dict[str, Measured]) -> str:
    least = systems[REFERENCE]
    rows = [
        (
            system,
            short(statistics.median(each.load)),
            seconds(each),
            f"{each.latency / least.latency:.3f}",
            megabytes(each.memory),
            f"{each.memory / least.memory:.2f}",
        )
        for system, each in systems.items()
    ]
    return table((_named(scenario), "load", "latency", f"of {REFERENCE}", "peak", f"of {REFERENCE}"), rows)


def _by_graph(found: Bases) -> str:
    systems = found.measured["name and click"]
    graphs = list(dict.fromkeys(graph for each in systems.values() for graph in each.by_graph))
    rows = [
        (system, *(short(each.by_graph[graph]) if graph in each.by_graph else "" for graph in graphs))
        for system, each in systems.items()
    ]
    return table(("name and click: seconds in", *graphs), rows)


def _shapes(found: Bases) -> str:
    square, camera = str(SIZES[-1]), str(CAMERA)
    rows = [
        (
            f"{base}, {_named(scenario)}",
            seconds(sizes[square]),
            seconds(sizes[camera]),
            f"{sizes[camera].latency / sizes[square].latency:.2f}",
            megabytes(sizes[square].memory),
            megabytes(sizes[camera].memory),
        )
        for base, scenarios in found.shapes.items()
        for scenario, sizes in scenarios.items()
    ]
    columns = ("a 16:9 photo", f"at {square}", f"at {camera}", "ratio", f"peak at {square}", f"peak at {camera}")
    return table(columns, rows)


def _marks(found: Bases) -> str:
    rows = [
        (
            f"{each.mark.what} of {each.mark.system}, of {each.mark.against}: {_named(each.mark.scenario)}",
            f"{each.mark.most:.2f}",
            f"{each.measured:.2f}",
            "yes" if each.reached else "no",
        )
        for each in found.marks
    ]
    return table(("mark", "wanted, at most", "measured", "reached?"), rows) if rows else ""


def _profile(system: str, by_operator: dict[str, float]) -> str:
    total = sum(by_operator.values())
    rows = [(name, short(value), f"{value / total:.2f}") for name, value in by_operator.items() if value >= total / 200]
    return table((f"{system}'s encoder: operator", "seconds", "share"), rows)
