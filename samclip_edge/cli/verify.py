"""`samclip-edge verify`: checksums, and this machine's engine against torch's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import Device, Json, Threads, Units, bar, emit, note, option_names, table


def run(
    bundle: Annotated[
        Path,
        typer.Argument(metavar="BUNDLE", help="The bundle folder, org/name of a hub's, or photo or tiny, which ship."),
    ],
    threads: Threads = None,
    device: Device = "cpu",
    units: Units = "all",
    json: Json = False,
) -> None:
    """Check every file of a bundle and run every graph against torch's stored answers. Exit 1 when one differs.

    With --device, what runs them there: a device that computes in half precision differs from a bundle of fp32.
    """
    from samclip_edge.bundle.device import on_cpu
    from samclip_edge.bundle.verify import verify
    from samclip_edge.cli.loading import bundle_of, session_options

    with option_names(device="--device"):
        half = not on_cpu(device)  # or may be
        rows = verify(bundle_of(bundle), session_options(threads, units, device=device), bar())
    ok = all(row.ok for row in rows)
    document = {"bundle": str(bundle), "ok": ok, "checks": [row._asdict() for row in rows]}
    shown = [(row.what, "ok" if row.ok else "FAILED", row.found) for row in rows]
    emit(document, json, lambda: table(("checked", "result", "found"), shown))
    if not ok and half:
        note(f"note: {device} may compute in half precision, which differs by more than fp32 may; so see the cosines")
    if not ok:
        raise typer.Exit(1)
