"""From the name of a pair of public weights to a bundle: fetched from the hub, put together, exported and verified."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from samclip_edge.bundle import hub
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Precision
from samclip_edge.bundle.pairs import PAIRS, Pair, Remote
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sizes import Size
from samclip_edge.bundle.verify import verify
from samclip_edge.bundle.weights import MASKS, NAMES, Weights
from samclip_edge.bundle.writing import new_bundle
from samclip_edge.errors import InputError, ParityError
from samclip_edge.export.export import sizes_of
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint
from samclip_edge.model.public import merged
from samclip_edge.progress import Progress, silent

_MADE = "made"  # where a bundle lies until it is verified
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def get(
    name: str,
    folder: Path,
    sizes: Sequence[Size] | None = None,
    precision: str = "fp32",
    vocabulary: Sequence[str] | None = None,
    accepted: str | None = None,
    kept: Path | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Fetch a pair and write it as a verified bundle of SAM and CLIP side by side. Returns the bundle, opened.

    name: one of `PAIRS`. sizes, precision, vocabulary: as for `export_onnx`. accepted: the licence that allows research
    only and that the user accepts. kept: where the checkpoint stays; None: it goes. Raises InputError where a file
    cannot be had, ChecksumError where it is another than the published one, and ParityError where the bundle does not
    answer as the model; the folder is then as it was.
    """
    pair = pair_of(name)
    if precision not in PRECISIONS:
        raise InputError(f" {precision}: choose {', '.join(PRECISIONS)}", "precision")
    check_terms(pair, accepted)
    sizes_of(PRESETS["sam+clip"], sizes or ())
    # The first block refuses a folder that cannot be written before anything is fetched for it.
    with new_bundle(folder) as partial, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        sam, clip = (_fetched(each) for each in (pair.sam, pair.clip))
        model = merged("sam+clip", sam=str(sam.path), clip=f"{pair.clip.model}:{clip.path}")
        weights = (_weights(MASKS, pair.sam, sam), _weights(NAMES, pair.clip, clip))
        origin = checkpoint.Origin(trained=True, note=f"the pair {name}", trained_at=(1024,), weights=weights)
        path = checkpoint.save(model, kept or Path(scratch, "pair.safetensors"), origin)
        del model
        made = partial / _MADE
        bundle = export_onnx(path, made, sizes, vocabulary, progress, precision)
        wrong = [f"{row.what}: {row.found}" for row in verify(bundle, progress=progress) if not row.ok]
        if wrong:
            raise ParityError(f"{folder}: does not verify ({wrong[0]}); no bundle was written")
        for each in made.iterdir():
            each.rename(partial / each.name)
        made.rmdir()
    return Bundle.open(folder)


def pair_of(name: str) -> Pair:
    """The pair of that name. Raises InputError where there is none."""
    if name not in PAIRS:
        raise InputError(f" {name}: no such pair; choose {', '.join(PAIRS)}", "name")
    return PAIRS[name]


def check_terms(pair: Pair, accepted: str | None) -> None:
    """Raise InputError where a licence allows research only and is not the one that was accepted."""
    bound = pair.bound
    if bound and accepted != bound.license:
        raise InputError(
            f"{f' {accepted}' if accepted else ''}: {bound.repository} is under {bound.license}, for research only; "
            f"accept {bound.license}, or choose another pair",
            "accepted",
        )


def _fetched(remote: Remote) -> hub.Fetched:
    return hub.fetch(remote.repository, remote.file, remote.revision, remote.sha256)


def _weights(what: str, remote: Remote, fetched: hub.Fetched) -> Weights:
    return Weights(
        what=what,
        file=remote.file,
        repository=remote.repository,
        revision=fetched.revision,
        sha256=fetched.sha256,
        license=remote.license,
    )
