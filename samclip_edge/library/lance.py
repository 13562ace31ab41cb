"""Searching a Lance data set, which `index --ray` writes and LanceDB serves: one of any size, that lies anywhere.

LanceDB finds the rows that come nearest; the photos that they are of are then ranked and judged as those of a library
file are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from samclip_edge.bundle.sizes import Size, of_sides, sides
from samclip_edge.errors import InputError, one_line
from samclip_edge.library import made_by
from samclip_edge.library.answering import Answering
from samclip_edge.library.matches import Match
from samclip_edge.library.rows import Floats, Ids, Rows, rows_of
from samclip_edge.library.searching import Asked, Searched
from samclip_edge.library.store import Kind, Thing
from samclip_edge.pipeline import SamClip
from samclip_edge.progress import Progress, silent

LANCE = "lance://"  # before the place of a data set
_CANDIDATES = 64  # photos that are ranked, at least; and for each that is asked for, `_EACH`
_EACH = 3
_THINGS = 4  # things that are looked at for each of these photos
_COLUMNS = ["kind", "photo", "width", "height", "box", "predicted_iou", "mask_height", "mask_width", "mask", "feature"]


class LanceLibrary(Answering):
    """A Lance data set that may be asked as a `Library` may."""

    def __init__(self, address: str, model: SamClip) -> None:
        """address: `lance://` and the place of the data set, a path or an address of a store, which ends in `.lance`.

        Raises InputError where there is none, and where another model made it.
        """
        self.address, self.model = address, model
        import lancedb  # of an extra

        place = address.removeprefix(LANCE).rstrip("/")
        folder, _, name = place.rpartition("/")
        if not name.endswith(".lance"):
            raise InputError(f"{address}: name a data set that ends in .lance")
        if "://" not in place and not os.path.isdir(place):  # which LanceDB would make
            raise InputError(f"{address}: no such data set; write one with `samclip-edge index --ray`")
        try:
            self._table: Any = lancedb.connect(folder or ".").open_table(name.removesuffix(".lance"))
        except Exception as error:  # LanceDB's own, of many kinds
            raise InputError(f"{address}: no Lance data set ({one_line(error)}); write one with --ray") from None
        self._about = made_by.about_of(self._table.schema.metadata)
        made_by.check(address, self._about, model)

    def close(self) -> None:
        """Let go of the data set."""
        del self._table

    def __len__(self) -> int:
        return int(self._table.count_rows("kind = 'photo'"))

    @property
    def things(self) -> int | None:
        """How many things it holds; None where it was made without."""
        return int(self._table.count_rows("kind = 'thing'")) if int(self._about["things"]) else None

    @property
    def size(self) -> Size:
        """The input size that its photos were looked at in."""
        return of_sides(*sides(self._about["size"]))

    def duplicates(self, progress: Progress = silent) -> list[list[Match]]:
        """Raises InputError: a data set of any size is not compared with itself here."""
        raise InputError("--duplicates: is for a library file; a Lance data set has none")

    @contextmanager
    def near(self, feature: Floats, asked: Asked) -> Iterator[Searched]:
        """See `Answering.near`: the rows of all photos that come near, by themselves or by a thing."""
        count, inside = max(_EACH * asked.n, _CANDIDATES), "" if asked.under is None else f" AND {_inside(asked.under)}"
        paths: dict[str, None] = {}
        for kind, rows in (("photo", count), ("thing", _THINGS * count)):
            if kind == "photo" or asked.things:
                query = self._table.search(feature, vector_column_name="feature").metric("cosine")
                found = (
                    query.where(f"kind = '{kind}'{inside}", prefilter=True).select(["photo", "_distance"]).limit(rows)
                )
                paths |= dict.fromkeys(found.to_arrow()["photo"].to_pylist())
        listed = ", ".join(map(_quoted, paths)) or "''"
        kinds = "" if asked.things else " AND kind = 'photo'"
        rows_ = self._table.search().where(f"photo IN ({listed}){kinds}").select(_COLUMNS).limit(None).to_arrow()
        yield _Candidates(self._about, rows_)


class _Candidates:
    """The rows of some photos, as `searching` takes them."""

    def __init__(self, about: Mapping[str, str], table: Any) -> None:
        self.about = about
        self._rows = table.drop_columns(["feature"]).to_pylist()
        width = int(about["features"])
        features = table["feature"].combine_chunks().flatten().to_numpy().reshape(-1, width)
        self._owners = {row["photo"]: at for at, row in enumerate(self._rows) if row["kind"] == "photo"}
        self._kinds = {}
        for kind in ("photo", "thing"):
            at = [k for k, row in enumerate(self._rows) if row["kind"] == kind and row["photo"] in self._owners]
            at.sort(key=lambda k: self._owners[self._rows[k]["photo"]])  # things of one photo lie together
            owners = [self._owners[self._rows[k]["photo"]] for k in at]
            self._kinds[kind] = rows_of(at, owners, np.asarray(features[at], np.float32))

    def rows(self, kind: Kind) -> Rows:
        """See `searching.Searched`."""
        return self._kinds[kind]

    def photo(self, id_: int) -> tuple[str, int, int]:
        """See `searching.Searched`."""
        row = self._rows[id_]
        return row["photo"], row["width"], row["height"]

    def thing(self, id_: int) -> Thing:
        """See `searching.Searched`."""
        row = self._rows[id_]
        x0, y0, x1, y1 = row["box"]
        size = [row["mask_height"], row["mask_width"]]
        return Thing((x0, y0, x1, y1), row["predicted_iou"], {"size": size, "counts": row["mask"]})

    def within(self, folder: str) -> Ids:
        """See `searching.Searched`: all, because LanceDB gave no others."""
        return np.arange(len(self._rows))


def _inside(folder: str) -> str:
    first = (folder if "://" in folder else os.path.abspath(folder)).rstrip("/") + "/"
    return f"photo >= {_quoted(first)} AND photo < {_quoted(first[:-1] + chr(ord('/') + 1))}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
