"""The file of a library: one SQLite file, which any SQLite opens (docs/library.md, "The file").

One process writes at a time, and holds SQLite's write lock as long as it does; any number may read meanwhile. What is
written stands in the file batch by batch: a stop at any moment loses the batch in hand, and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from samclip_edge.errors import InputError, one_line

APPLICATION = 0x53434C42  # "SCLB", which SQLite keeps at byte 68 of the file
FORMAT = 1
_PAGE = 32_768  # bytes: long values are read faster from large pages
_PATIENCE = 30.0  # seconds that one waits while another's batch is put into the file
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  bytes INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  thumbnail BLOB NOT NULL,
  vanished INTEGER
);
CREATE INDEX photos_by_sha256 ON photos (sha256);
CREATE TABLE things (
  id INTEGER PRIMARY KEY,
  photo INTEGER NOT NULL,
  x0 INTEGER NOT NULL, y0 INTEGER NOT NULL, x1 INTEGER NOT NULL, y1 INTEGER NOT NULL,
  predicted_iou REAL NOT NULL,
  mask_height INTEGER NOT NULL, mask_width INTEGER NOT NULL, mask TEXT NOT NULL
);
CREATE INDEX things_by_photo ON things (photo);
CREATE TABLE blocks (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  ids BLOB NOT NULL,
  photos BLOB NOT NULL,
  vectors BLOB NOT NULL,
  lengths BLOB NOT NULL,
  quarters BLOB NOT NULL
);
CREATE INDEX blocks_by_kind ON blocks (kind);
"""


class NoLibrary(InputError):
    """The file is something else."""


class Busy(InputError):
    """Another process writes to the file."""


class LibraryFile:
    """An open library file. May be used from several threads: one may write while others read."""

    def __init__(self, path: Path) -> None:
        """Open a library that is there. Raises InputError for what is none, is newer, damaged, or cannot be read."""
        self.path = path
        self._reads, self._writes = threading.RLock(), threading.RLock()
        self._reader = self._open()
        self._writer: sqlite3.Connection | None = None  # where a thread writes
        self._writing_thread = 0
        try:
            with self.faults():
                (application,), (version,) = self.row("PRAGMA application_id"), self.row("PRAGMA user_version")
            if application != APPLICATION:
                raise NoLibrary(f"{path}: no library; make one with `samclip-edge index`, in another file")
            if version > FORMAT:
                raise InputError(f"{path}: format {version} is newer than {FORMAT}, which this version reads; upgrade")
        except InputError:
            self.close()
            raise

    @classmethod
    def create(cls, path: Path, about: dict[str, str]) -> LibraryFile:
        """Make an empty library, whole or not at all, and open it; or the one that another process made meanwhile.

        Raises InputError where it cannot be written.
        """
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with suppress(FileNotFoundError):
                partial.unlink()
            connection = sqlite3.connect(partial)
            try:
                connection.executescript(
                    f"PRAGMA page_size = {_PAGE}; PRAGMA application_id = {APPLICATION}; "
                    f"PRAGMA user_version = {FORMAT}; BEGIN; {_SCHEMA}"
                )
                connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
                connection.commit()
            finally:
                connection.close()
            _put_in_place(partial, path)
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"{path}: cannot be written ({one_line(error)}); name a file in a folder of yours"
            ) from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return cls(path)

    def _open(self) -> sqlite3.Connection:
        """For writing where that is allowed, else for reading: a library may lie where nothing can be written."""
        if not self.path.exists():
            make = f"make it with `samclip-edge index FOLDER -o {self.path}`"
            raise InputError(f"{self.path}: no such library; {make}")
        if self.path.is_dir():
            raise NoLibrary(f"{self.path}: is a folder; name the file of a library")
        with self.faults():
            address = f"{self.path.absolute().as_uri()}?mode=rw"
            made = sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            made.execute("PRAGMA trusted_schema = OFF")  # the file may come from anywhere
            return made

    def close(self) -> None:
        """Let go of the file."""
        with self._writes, self._reads:
            self._reader.close()

    @property
    def _connection(self) -> sqlite3.Connection:
        """Of the thread that writes its own, which sees what is not committed yet; of all others one."""
        if self._writer is not None and threading.get_ident() == self._writing_thread:
            return self._writer
        return self._reader

    def rows(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows that a statement gives."""
        return self._connection.execute(statement, values)

    def row(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """The one row that a statement gives; empty where it gives none."""
        return self._connection.execute(statement, values).fetchone() or ()

    def put(self, statement: str, *values: Any) -> int:
        """Run a statement that writes. Returns the id of the row that it made."""
        return self._connection.execute(statement, values).lastrowid or 0

    def put_many(self, statement: str, values: list[tuple[Any, ...]]) -> None:
        """Run a statement that writes, for each of several rows."""
        self._connection.executemany(statement, values)

    @property
    def version(self) -> int:
        """A number that changes whenever something was written."""
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """In the block, all that is read is of one moment. Raises InputError where the file fails."""
        with self._reads, self.faults():
            if self._reader.in_transaction:  # of a block around this one
                yield
                return
            self._reader.execute("BEGIN")
            try:
                yield
            except (InputError, sqlite3.Error):
                raise
            except (LookupError, TypeError, ValueError, OverflowError) as error:  # of odd values in the file
                why = one_line(error)
                raise InputError(f"{self.path}: is damaged ({why}); copy it again, or index with --reindex") from error
            finally:
                _end(self._reader, "COMMIT")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """In the block, this thread is the one that writes. What was written since `commit` is lost if it raises.

        Raises InputError where another process writes, where this one may not, and where the disk is full.
        """
        with self._writes, self.faults():
            self._writer, self._writing_thread = self._open(), threading.get_ident()
            try:
                self.rows("PRAGMA cache_spill = OFF")  # else a large batch would keep readers out before its end
                self._begin()
                yield
                self.rows("COMMIT")
            finally:
                _end(self._writer, "ROLLBACK")
                self._writer.close()
                self._writer = None

    def commit(self) -> None:
        """Put a batch into the file, and go on writing."""
        self.rows("COMMIT")
        self._begin()

    def _begin(self) -> None:
        self.rows("PRAGMA busy_timeout = 0")  # who writes, writes for long
        try:
            self.rows("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Busy(f"{self.path}: another process writes to it; wait until it has ended") from None
            raise
        finally:
            self.rows(f"PRAGMA busy_timeout = {int(20 * _PATIENCE * 1000)}")  # a batch is worth to wait for readers

    @contextmanager
    def faults(self) -> Iterator[None]:
        """In the block, what SQLite raises is raised as InputError, in one line."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def _fault(self, error: sqlite3.Error) -> InputError:
        told = str(error)
        if "full" in told or "disk I/O" in told:
            return InputError(f"{self.path}: the disk is full or fails ({told}); what the library held is there")
        if "readonly" in told:
            return InputError(f"{self.path}: cannot be written; see who may write it and its folder")
        if "locked" in told:
            return InputError(f"{self.path}: is in use for too long by another process; try again")
        if "unable to open" in told:
            return InputError(f"{self.path}: cannot be opened ({told}); see who may read it and its folder")
        if "not a database" in told:
            return NoLibrary(f"{self.path}: no library; make one with `samclip-edge index`, in another file")
        return InputError(f"{self.path}: is damaged or cut short ({told}); copy it again, or index with --reindex")


def _put_in_place(partial: Path, path: Path) -> None:
    """Give a file its name, unless there is one of that name, which another process may write to already."""
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            os.replace(partial, path)


def _end(connection: sqlite3.Connection, statement: str) -> None:
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute(statement)
