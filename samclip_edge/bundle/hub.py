"""The Hugging Face hub: bundles by the name of their repository, `org/name` or `org/name@revision`, and single files.

huggingface_hub does all fetching, so that its cache, resumption, proxies, tokens, `HF_ENDPOINT` and offline mode hold.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from samclip_edge.errors import ChecksumError, InputError, one_line
from samclip_edge.files import sha256

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\S+))?", re.ASCII)
_EXTRA = "pip install 'samclip-edge[hub]'"


class Fetched(NamedTuple):
    """A file of a repository."""

    path: Path  # in the hub's cache
    revision: str  # the commit that it is of
    sha256: str


def locate(given: str) -> Path:
    """The folder that is meant: that of the path, where there is something; else that of the repository of that name.

    A repository is downloaded into the hub's cache, or found there. Raises InputError where it is in neither.
    """
    named = _NAME.fullmatch(given.replace(os.sep, "/"))  # which Path makes of a name on Windows
    if named is None or os.path.lexists(given):
        return Path(given)
    return _download(given, named[1], named[2])


def fetch(repository: str, file: str, revision: str | None = None, digest: str | None = None) -> Fetched:
    """A file of a repository, downloaded into the hub's cache or found there, after its bytes were checked.

    revision: a branch, tag or commit; None: its main branch. digest: the sha256 that it must have; None: the one that
    the hub publishes, which it does for large files. Raises InputError where the file cannot be had, and ChecksumError
    where it is another.
    """
    shown = f"{repository}/{file}"
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError(f"{shown}: to fetch it, {_EXTRA}") from None
    try:
        path = Path(hf_hub_download(repository, file, revision=revision))
        found = sha256(path)
    except Exception as error:  # those of the transport differ between versions, and share no base
        why, mend = _refusal(error, revision, file)
        raise InputError(f"{shown}: {why}; {mend}") from error
    wanted = digest or _published(path) or found
    if found != wanted:
        raise ChecksumError(
            f"{shown}: its sha256 is {found[:16]}..., and the published one {wanted[:16]}...; remove "
            f"{os.path.realpath(path)} and get it again"
        )
    return Fetched(path, path.parent.name, found)


def _published(path: Path) -> str | None:
    """The sha256 that the hub gave for a file of its cache, where its blob has that name; None: it gave none."""
    blob = Path(os.readlink(path)) if path.is_symlink() else path
    return blob.name if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name) else None


def _download(given: str, repository: str, revision: str | None) -> Path:
    missing = f"{given}: no such bundle folder"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            f"{missing}; make one with `samclip-edge export`, or for a repository of the Hugging Face hub {_EXTRA}"
        ) from None
    try:
        return Path(snapshot_download(repository, revision=revision))
    except Exception as error:
        why, mend = _refusal(error, revision)
        raise InputError(f"{missing}, and {why}; {mend}") from error


def _refusal(error: Exception, revision: str | None, file: str = "") -> tuple[str, str]:
    """Why the hub gave nothing, and what to do. file: which was asked for; empty for a whole repository."""
    from huggingface_hub import errors

    other = "" if file else "name a folder, or "
    if isinstance(error, errors.GatedRepoError):
        return "its repository asks for consent", "accept its terms on its page of the hub, then `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return "no repository of the hub that you may read", "name one of both (`hf auth login` for private ones)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"its repository has no revision {revision}", "name a branch, tag or commit of it"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "not in the hub's cache, and the hub is out of reach", f"{other}download it once online"
    if isinstance(error, errors.EntryNotFoundError):
        return "its repository has no such file", "it may have moved; see its page of the hub"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk of the hub's cache is full", "make room, or name a folder on another disk in HF_HOME"
    return f"the hub gave none ({one_line(error)})", f"{other}try again"
