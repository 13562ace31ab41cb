"""Errors that a user can mend. Each says in one line what is wrong, where, and what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input: a photo, prompt, option, checkpoint or bundle. The command line exits with 2 on it."""

    def __init__(self, message: str, argument: str = "") -> None:
        """message: the line. argument: the argument of the call that is at fault; the line begins with its name, and
        `message` is what follows. The command line puts the name of its option there."""
        super().__init__(f"{argument}{message}")
        self.argument, self.rest = argument, message


class ChecksumError(InputError):
    """A file of a bundle is not the one that its manifest describes. `verify` exits with 1 on it."""


class ParityError(Exception):
    """The answers of a graph are too far from the model's. The command line exits with 1 on it."""


def one_line(error: BaseException) -> str:
    """The first line of an error's own message, short enough to stand in one of ours.

    Of a fault of the system only what happened: ours name the file, and theirs may name a temporary one.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
