"""What the bytes of a photo say before anything decodes them: its format, its size, and whether the file is whole.

A decoder allocates what a header asks for, and fills a truncated photo with grey. So both are checked here first, for
JPEG, PNG, WebP, GIF, BMP and TIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple


class Header(NamedTuple):
    """What a header says. width and height are in stored pixels, before any EXIF rotation."""

    format: str
    width: int
    height: int
    whole: bool  # the data goes on to its end mark


def read_header(data: bytes) -> Header | None:
    """The header of a photo, or None when the bytes are no photo of a known format."""
    for magic, reader in _READERS:
        if data.startswith(magic):
            try:
                return reader(data)
            except (struct.error, IndexError):
                return Header("truncated", 0, 0, whole=False)
    return None


def _png(data: bytes) -> Header:
    width, height = struct.unpack(">II", data[16:24])
    return Header("PNG", width, height, whole=b"IEND" in data[-64:] or b"\0\0\0\0IEND" in data)


def _gif(data: bytes) -> Header:
    width, height = struct.unpack("<HH", data[6:10])
    return Header("GIF", width, height, whole=data.rstrip(b"\0").endswith(b";"))


def _bmp(data: bytes) -> Header:
    length, offset = struct.unpack("<I4xI", data[2:14])
    width, height = struct.unpack("<ii", data[18:26])
    bits = struct.unpack("<H", data[28:30])[0]
    packed = struct.unpack("<I", data[30:34])[0] in (1, 2)  # run-length coded: its length is not known beforehand
    need = length if packed else offset + (width * bits + 31) // 32 * 4 * abs(height)
    return Header("BMP", width, abs(height), whole=len(data) >= need)


def _webp(data: bytes) -> Header:
    length = struct.unpack("<I", data[4:8])[0]
    whole = len(data) >= length + 8
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack("<I", data[21:25])[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[26:30]))
    return Header("WebP", width, height, whole)


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    entries = struct.unpack(order + "I", data[4:8])[0]
    sides = {256: 0, 257: 0}
    strips: dict[int, list[int]] = {}
    for index in range(struct.unpack_from(order + "H", data, entries)[0]):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entries + 2 + 12 * index)
        letter = {3: "H", 4: "I"}.get(kind)
        if letter is None or tag not in (256, 257, 273, 279, 324, 325):
            continue
        at = entries + 10 + 12 * index
        if count * struct.calcsize(letter) > 4:
            at = struct.unpack_from(order + "I", data, at)[0]
        values = list(struct.unpack_from(f"{order}{count}{letter}", data, at))
        if tag in sides:
            sides[tag] = values[0]
        else:
            strips[tag] = values
    ends = [
        at + length
        for starts, lengths in ((273, 279), (324, 325))
        for at, length in zip(strips.get(starts, []), strips.get(lengths, []), strict=False)
    ]
    return Header("TIFF", sides[256], sides[257], whole=bool(ends) and max(ends) <= len(data))


def _jpeg(data: bytes) -> Header:
    at, size = 2, (0, 0)
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xD9:
            return Header("JPEG", size[0], size[1], whole=False)
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            size = (width, height)
        if marker == 0xDA:  # start of scan: in what follows, an end mark can only be one
            return Header("JPEG", size[0], size[1], whole=data.find(b"\xff\xd9", at) >= 0)
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


_READERS: tuple[tuple[bytes, Callable[[bytes], Header]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF8", _gif),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
)
