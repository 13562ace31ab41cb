"""Photos into a library: only what is new is decoded, in other processes, and encoded, several at once."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.library.entries import entries_of, wanted_by
from samclip_edge.library.sources import Failed, Listed, listed, tar_of
from samclip_edge.library.store import DISPLACED, Entry, Known, Store
from samclip_edge.photo.elsewhere import Decoded, Decoders, Source
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress
from samclip_edge.together import at_once

BATCH_SECONDS = 5.0  # of work that a stop may cost: then a batch is put into the file
_FEW = 8  # photos that are not worth a process


class Added(NamedTuple):
    """What became of the photos."""

    added: int  # encoded, new or changed
    copied: int  # not encoded, because another photo of the library has the same file
    moved: int  # known by their files, and found in another place
    unchanged: int
    vanished: int  # newly marked: their files are not there any more
    failed: list[Failed]


def add_photos(
    store: Store, model: SamClip, given: Sequence[str | os.PathLike[str]], max_pixels: int, progress: Progress
) -> Added:
    """Bring a library up to date with folders, tars, lists and photos; see `Library.add`."""
    found = listed(given)
    with store.file.writing():
        adding = _Adding(store, model, found, max_pixels)
        todo = [source for source in found.sources if not adding.stands(source)]
        adding.encode_all(todo, progress)
        adding.mark_vanished()
        adding.drop_displaced()
    tally = adding.tally
    return Added(**tally, failed=found.failed)


def not_there(store: Store) -> list[int]:
    """The photos of a library that are marked, or whose files, or tars, are not there any more."""
    gone = (each for each in list(store.every()) if each.vanished or not os.path.exists(each.path))
    return [each.id for each in gone if each.vanished or tar_of(each.path) is None]


class _Adding:
    def __init__(self, store: Store, model: SamClip, found: Listed, max_pixels: int) -> None:
        self.store, self.model, self.found = store, model, found
        self.size: Size = of_sides(*sides(store.about["size"]))
        self.with_things = bool(int(store.about["things"]))
        self.tally = dict.fromkeys(("added", "copied", "moved", "unchanged", "vanished"), 0)
        self._paths = {source.path for source in found.sources}
        self._unsettled: dict[str, Source] = {}  # files that changed, of which it is not known yet what they are
        self._most = at_once(model.bundle, self.size, named=True)
        self._decoded: list[Decoded] = []  # not encoded yet
        self._sources: dict[bytes, list[Source]] = {}  # of the batch, by the sha256 of their files
        self._entries: dict[bytes, Entry] = {}
        self._since = time.monotonic()
        self._wanted = wanted_by(model, self.size, max_pixels)

    def stands(self, source: Source) -> bool:
        """Whether the library has the photo as it is, by its size and time."""
        known = self.store.known(source.path)
        if known is None or (known.size, known.modified) != (source.size, source.modified):
            return False
        if known.vanished:
            self.store.mark(known, source)
        self.tally["unchanged"] += 1
        return True

    def encode_all(self, todo: Sequence[Source], progress: Progress) -> None:
        """Decode and encode photos, batch by batch."""
        self._unsettled = {source.path: source for source in todo}
        decoders = Decoders(self._wanted, self.store.digests(), processes=len(todo) > _FEW)
        with closing(decoders.each(todo, 2 * self._most)) as ready:
            for _, decoded in zip(progress(todo, "indexing"), ready, strict=True):
                self._take(decoded, decoders)
        self._encode()
        self._write()

    def _take(self, decoded: Decoded, decoders: Decoders) -> None:
        source, digest = decoded.source, decoded.sha256
        self._unsettled.pop(source.path, None)
        if decoded.error:
            self._fail(decoded)
        elif digest in self._sources:
            self._displace(source.path)
            self._sources[digest].append(source)
            self.tally["copied"] += 1
        elif alike := self.store.alike(digest):
            self._place(source, digest, alike)
        elif decoded.pixels is None:  # another photo's sha256 begins with the same bytes
            self._take(decoders.decode(source), decoders)
        else:
            self._displace(source.path)
            self._sources[digest] = [source]
            self._decoded.append(decoded)
            self.tally["added"] += 1
            if len(self._decoded) == self._most:
                self._encode()
        if time.monotonic() - self._since > BATCH_SECONDS:
            self._write()
            self.store.file.commit()

    def _fail(self, decoded: Decoded) -> None:
        self.found.failed.append(Failed(decoded.source.path, decoded.error))
        known = self.store.known(decoded.source.path)
        if known is not None and decoded.sha256:  # its bytes are others now, and no photo
            self._mark_gone(known)

    def _place(self, source: Source, digest: bytes, alike: Sequence[Known]) -> None:
        """A photo whose file is that of others of the library: itself, one that was moved here, or one to copy."""
        own = next((each for each in alike if each.path == source.path), None)
        if own is not None:
            self.store.mark(own, source)
            self.tally["unchanged"] += 1
            return
        self._displace(source.path)
        gone = next((each for each in alike if not self._is_there(each, digest)), None)
        if gone is None:
            self.store.add([(source, digest, self.store.entry(alike[0].id))])
            self.tally["copied"] += 1
        else:
            self.store.mark(gone, source)
            self.tally["moved"] += 1

    def _displace(self, path: str) -> None:
        """Give up a path whose file is another now. What was there may be found again, where it was moved to."""
        known = self.store.known(path)
        if known is not None:
            self.store.displace(known)

    def _is_there(self, known: Known, digest: bytes) -> bool:
        """Whether a photo of the library is still where it was."""
        changed = self._unsettled.get(known.path)
        if changed is not None:
            return changed.size == known.size and _sha256(changed) == digest  # it may only have been touched
        if known.path in self._paths or os.path.exists(known.path):
            return True
        if known.path.startswith(tuple(self.found.roots)):
            return False
        return tar_of(known.path) is not None  # which was not listed now, so nothing is known of it

    def _encode(self) -> None:
        entries = entries_of(self.model, self._decoded, self.size, self.with_things)
        self._entries |= {each.sha256: entry for each, entry in zip(self._decoded, entries, strict=True)}
        self._decoded.clear()

    def _write(self) -> None:
        """Put what is encoded into the file."""
        ready = [(source, digest) for digest in self._entries for source in self._sources.pop(digest)]
        self.store.add((source, digest, self._entries[digest]) for source, digest in ready)
        self._entries.clear()
        self._since = time.monotonic()

    def mark_vanished(self) -> None:
        """Mark photos that are not in the folders and tars any more, or not where a list has them."""
        unlisted = tuple(self.found.unlisted)
        for root in self.found.roots:
            for known in list(self.store.under(root)):
                if known.path not in self._paths and not known.path.startswith(unlisted):
                    self._mark_gone(known)
        for path in (each.path for each in self.found.failed if not os.path.lexists(each.path)):
            listed_before = self.store.known(path)
            if listed_before is not None and tar_of(path) is None:
                self._mark_gone(listed_before)

    def _mark_gone(self, known: Known) -> None:
        if not known.vanished:
            self.store.mark(known, None)
            self.tally["vanished"] += 1

    def drop_displaced(self) -> None:
        """Take the photos out whose files are others now, and that were found nowhere else."""
        self.store.remove([known.id for known in self.store.under(DISPLACED)])


def _sha256(source: Source) -> bytes:
    try:
        return hashlib.sha256(source.read()).digest()
    except OSError:
        return b""
