"""Progress of long work: a function that wraps what is iterated over. The command line passes one with a bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Iterate over `items`, telling somebody how far it is."""

    def __call__(self, items: Sequence[Item], what: str, /) -> Iterable[Item]:
        """The items, one after another."""
        ...


def silent(items: Sequence[Item], what: str, /) -> Iterable[Item]:
    """Tell nobody."""
    return items
