"""Bundles by the name of their repository on the Hugging Face hub, `org/name` or `org/name@revision`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from samclip_edge.errors import InputError, one_line

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\S+))?", re.ASCII)


def locate(given: str) -> Path:
    """The folder that is meant: that of the path, where there is something; else that of the repository of that name.

    A repository is downloaded into the hub's cache, or found there. Raises InputError where it is in neither.
    """
    named = _NAME.fullmatch(given.replace(os.sep, "/"))  # which Path makes of a name on Windows
    if named is None or os.path.lexists(given):
        return Path(given)
    return _download(given, named[1], named[2])


def _download(given: str, repository: str, revision: str | None) -> Path:
    missing = f"{given}: no such bundle folder"
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError:
        raise InputError(
            f"{missing}; make one with `samclip-edge export`, or for a repository of the Hugging Face hub "
            "pip install 'samclip-edge[hub]'"
        ) from None
    try:
        return Path(snapshot_download(repository, revision=revision))
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        why, mend = "no repository of the hub that you may read", "name one of both (`hf auth login` for private ones)"
    except errors.RevisionNotFoundError:
        why, mend = f"its repository has no revision {revision}", "name a branch, tag or commit of it"
    except errors.LocalEntryNotFoundError:
        why, mend = "not in the hub's cache, and the hub is out of reach", "name a folder, or download it once online"
    except Exception as error:  # those of the transport, which differ between versions and share no base
        why, mend = f"the hub gave none ({one_line(error)})", "name a folder, or try again"
    raise InputError(f"{missing}, and {why}; {mend}")
