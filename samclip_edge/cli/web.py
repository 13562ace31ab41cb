"""`samclip-edge web`: a bundle as a page that runs in the browser."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from samclip_edge.cli.common import Json, emit
from samclip_edge.errors import InputError


def run(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="The bundle folder, org/name of a hub's, or photo or tiny, which ship."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", metavar="SITE", help="Write the site into this folder; any web server serves it."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve it on this machine, with the headers that several threads want.")
    ] = False,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Of --serve; 0: any that is free.")] = 8000,
    engine: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="ONNX Runtime's files, `dist` of npm's onnxruntime-web; else those of `make web`."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make a page that runs a bundle in the browser: click a thing and read its name. No photo leaves the machine."""
    from samclip_edge import site
    from samclip_edge.cli.loading import bundle_of

    if output is None and not serve:
        raise InputError("-o: give the folder of the site, or --serve")
    opened = bundle_of(bundle)
    files = site.files_of(opened, engine)
    size = sum(path.stat().st_size for path in files.values())
    if output is not None:
        site.write(files, output)
    document = {"bundle": opened.given, "files": sorted(files), "bytes": size, "headers": site.HEADERS}
    if not serve:
        headers = "\n".join(f"    {name}: {value}" for name, value in site.HEADERS.items())
        told = (
            f"{output}: {size / 1e6:.1f} MB in {len(files)} files. For several threads let the server send\n{headers}"
        )
        emit(document | {"site": str(output)}, json, lambda: print(told))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if output is None else output
        if output is None:
            site.place(files, folder)
        with site.server(folder, port) as server:
            url = f"http://localhost:{server.server_address[1]}/"
            emit(document | {"url": url}, json, lambda: print(f"{url} serves {opened.given}; Ctrl-C ends it"))
            sys.stdout.flush()
            with suppress(KeyboardInterrupt):  # the way to end it
                server.serve_forever()
