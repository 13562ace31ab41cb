"""Features in .npy files, read by the native code and by NumPy."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Ask = Callable[..., Any]


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


def header(text: str, size: int = 24, major: int = 1) -> bytes:
    length = len(text).to_bytes(2 if major == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((major, 0)) + length + text.encode() + bytes(size)


VALUES = np.float32([[1.5, -2, 3e38], [0, 1e-45, -0.0]])
FINE = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_files(ask: Ask, tmp_path: Path, version: tuple[int, int]) -> None:
    path = tmp_path / "file.npy"
    for array in (VALUES, VALUES[:, :0], VALUES[:0], np.tile(VALUES, (50, 40))):
        path.write_bytes(npy(array, version))
        found = ask("npy", file=path)
        assert (found["rows"], found["columns"]) == array.shape
        np.testing.assert_array_equal(np.float32(found["values"]), array.ravel())


SHAPES = ("(2, -3)", "(2, 3", "(2.0, 3)", "(02, 3)", "(2147483648, 2147483648)", "(2147483647, 2147483647)",
          "(99999999999999999999, 3)", "(0, 2147483647)")  # fmt: skip
ODD_HEADERS = [
    header(FINE), header(FINE + "\n", 24, 2), header(FINE, 25), header(FINE, 23), header(FINE, 0), header(""),
    header('{"shape":(2,3,),"fortran_order":False,"descr":"<f4"}'), header("{'descr': '<f4', 'shape': (2, 3)}"),
    header(FINE)[:-30], header(FINE)[:9], b"", b"\x93NUMPY", b"PK\x03\x04", header(FINE, 24, 4), header(FINE, 24, 0),
    header(FINE[:-1]), header(FINE + "}"), header(FINE + " " * 20_000), header(FINE.replace("shape", "shapes")),
    header(FINE.replace("'<f4'", "'<f4")), header(FINE.replace("'<f4'", "'|O'")), header(FINE.replace("False", "0")),
    header(FINE.replace("}", "'x': 1}")), *(header(FINE.replace("(2, 3)", shape)) for shape in SHAPES),
]  # fmt: skip


@pytest.mark.parametrize("content", ODD_HEADERS, ids=[str(index) for index in range(len(ODD_HEADERS))])
def test_odd_npy_files_are_refused_where_numpy_refuses_them(ask: Ask, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.npy"
    path.write_bytes(content)
    try:
        wanted: np.ndarray | None = np.load(path, allow_pickle=False)
    except Exception:  # of many kinds, by what is wrong
        wanted = None
    found = ask("npy", file=path)
    assert ("error" in found) == (wanted is None)
    if wanted is not None:
        np.testing.assert_array_equal(np.float32(found["values"]), wanted.ravel())


@pytest.mark.parametrize("array", [VALUES.astype(">f4"), np.float64(VALUES), np.int32([[1]]), VALUES[0], VALUES[None],
                                   np.asfortranarray(VALUES), np.float16([[1, 2]])])  # fmt: skip
def test_npy_files_of_other_numbers_are_no_features(ask: Ask, tmp_path: Path, array: np.ndarray) -> None:
    (tmp_path / "file.npy").write_bytes(npy(array))
    assert "error" in ask("npy", file=tmp_path / "file.npy")
