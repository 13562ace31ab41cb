"""`samclip-edge verify`: checksums, and this machine's engine against torch's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import Json, Threads, Units, bar, emit, table


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder.")],
    threads: Threads = None,
    units: Units = "all",
    json: Json = False,
) -> None:
    """Check every file of a bundle and run every graph against torch's stored answers. Exit 1 when one differs."""
    from samclip_edge.bundle.folder import Bundle
    from samclip_edge.bundle.verify import verify
    from samclip_edge.cli.loading import session_options

    rows = verify(Bundle.open(bundle), session_options(threads, units), bar())
    ok = all(row.ok for row in rows)
    document = {"bundle": str(bundle), "ok": ok, "checks": [row._asdict() for row in rows]}
    shown = [(row.what, "ok" if row.ok else "FAILED", row.found) for row in rows]
    emit(document, json, lambda: table(("checked", "result", "found"), shown))
    if not ok:
        raise typer.Exit(1)
