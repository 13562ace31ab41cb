"""Opening photos in threads while the one before them is looked at: Pillow's decoders let other threads work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from samclip_edge.photo.read import is_file

Opened = TypeVar("Opened")
Photo = TypeVar("Photo")


def opened_ahead(
    photos: Iterable[Photo], open_: Callable[[Photo], Opened], ahead: int
) -> Generator[Opened, None, None]:
    """`open_` of each photo, in order; `ahead` of them are at work, or done and not asked for yet.

    What is no file, such as an array or Pillow's image, is opened by the thread that asks, when it is taken.
    """
    left = iter(photos)
    threads = ThreadPoolExecutor(min(ahead, os.cpu_count() or 1))

    def started(photo: Photo) -> Callable[[], Opened]:
        if is_file(photo):
            return threads.submit(open_, photo).result
        opened = open_(photo)  # now, because its owner may change it once the next is asked for
        return lambda: opened

    try:
        waiting = deque(map(started, islice(left, ahead)))
        while waiting:
            opened = waiting.popleft()()
            waiting.extend(map(started, islice(left, 1)))
            yield opened
    finally:
        threads.shutdown(cancel_futures=True)
