"""What all tables of `bench` are made of, in Markdown; and the row of docs/devices.md. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samclip_edge.benchmarks.measured import MANY, Measured, figures

SPREAD = (
    f"Times are medians (p50), with the p95 where there are at least {MANY} runs, and in brackets the least, the most "
    "and the number of runs; peak memory is of the whole process."
)


def head(what: str, on: Mapping[str, Any]) -> str:
    """The line above tables: what was measured, and on which machine."""
    return f"{what} at {on['sizes'][0]} and {on['sizes'][1]}, {on['threads']} threads; {device(on)}. {SPREAD}"


def device(on: Mapping[str, Any]) -> str:
    """The machine and its engine in a line."""
    instructions = f" ({', '.join(on['instructions'])})" if on["instructions"] else ""
    memory = f", {on['memory_gb']} GB" if on["memory_gb"] else ""
    return f"{on['processor']}{instructions}, {on['cores']} cores{memory}, {on['system']}, {on['engine']}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *rows])


def seconds(found: Measured) -> str:
    """The median of the runs, their p95 where they are many, and in brackets the shortest, the longest and how many."""
    told = figures(found.seconds)
    if told["runs"] == 1:
        return f"{short(told['p50'])} (1 run)"
    return f"{middle(told)} ({short(told['least'])} to {short(told['most'])}, {told['runs']} runs)"


def middle(told: Mapping[str, Any]) -> str:
    """Of `figures`: the p50, and the p95 where it says more than the most of a few runs."""
    return short(told["p50"]) + (f", p95 {short(told['p95'])}" if told["runs"] >= MANY else "")


def short(value: float) -> str:
    """Seconds, or milliseconds below one."""
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def megabytes(value: float) -> str:
    """Bytes in MB of a million."""
    return f"{value / 1e6:.0f} MB"
