"""Opening photos in threads while the one before them is looked at: Pillow's decoders let other threads work."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

from samclip_edge.photo.read import is_file

Opened = TypeVar("Opened")
Photo = TypeVar("Photo")


def opened_ahead(
    photos: Iterable[Photo], open_: Callable[[Photo], Opened], ahead: int
) -> Generator[Opened, None, None]:
    """`open_` of each photo, in order; `ahead` of them are at work, or done and not asked for yet.

    What is no file yet, such as an array or Pillow's image, is opened when its turn comes, by the thread that asks.
    """
    left = iter(photos)
    threads = ThreadPoolExecutor(min(ahead, os.cpu_count() or 1))

    def started(photo: Photo) -> Callable[[], Opened]:
        return threads.submit(open_, photo).result if is_file(photo) else partial(open_, photo)

    try:
        waiting = deque(map(started, islice(left, ahead)))
        while waiting:
            opened = waiting.popleft()()
            waiting.extend(map(started, islice(left, 1)))
            yield opened
    finally:
        threads.shutdown(cancel_futures=True)
