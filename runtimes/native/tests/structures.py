"""The structures of samclip_edge.h, by the names that they have there, without `samclip_`."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

FORMATS = ("rgb", "bgr", "rgba", "bgra", "grey", "nv12", "nv21", "i420", "yuyv", "planes")


class Size(ctypes.Structure):
    _fields_ = (("width", ctypes.c_int), ("height", ctypes.c_int))


class Plane(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("row_stride", ctypes.c_size_t),
        ("pixel_stride", ctypes.c_size_t),
    )


class Image(ctypes.Structure):
    """`samclip_image`."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("format", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("planes", Plane * 3),
        ("bt709", ctypes.c_int),
        ("full_range", ctypes.c_int),
        ("turn", ctypes.c_int),
        ("mirror", ctypes.c_int),
    )

    @classmethod
    def of(cls, kind: str, width: int, height: int, *planes: npt.NDArray[np.uint8], **more: int) -> Image:
        """A picture whose planes lie without gaps. more: its other fields."""
        kept = [np.ascontiguousarray(plane) for plane in planes]
        image = cls(format=FORMATS.index(kind), width=width, height=height, **more)
        for place, plane in zip(image.planes, kept, strict=False):
            place.data, place.bytes = plane.ctypes.data, plane.nbytes
        image.kept = kept
        return image

    @classmethod
    def rgb(cls, pixels: npt.NDArray[np.uint8]) -> Image:
        """A picture (H,W,3)."""
        return cls.of("rgb", pixels.shape[1], pixels.shape[0], pixels)


class Names(ctypes.Structure):
    _fields_ = (("names", ctypes.POINTER(ctypes.c_char_p)), ("count", ctypes.c_size_t))


class Naming(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("background", ctypes.POINTER(Names)),
        ("min_score", ctypes.c_double),
        ("has_min_score", ctypes.c_int),
    )


class Prompts(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("prompts", ctypes.c_size_t),
        ("points_each", ctypes.c_size_t),
        ("points", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("masks", ctypes.c_void_p),
    )


class Grid(ctypes.Structure):
    """`samclip_grid`."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("points_per_side", ctypes.c_int),
        ("predicted_iou", ctypes.c_double),
        ("stability", ctypes.c_double),
        ("offset", ctypes.c_double),
        ("overlap", ctypes.c_double),
    )


class Finding(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("naming", ctypes.POINTER(Naming)),
        ("no_refine", ctypes.c_int),
        ("points", ctypes.c_int),
        ("threshold", ctypes.c_double),
        ("has_threshold", ctypes.c_int),
        ("grid", ctypes.POINTER(Grid)),
    )


class Guess(ctypes.Structure):
    _fields_ = (
        ("label", ctypes.c_char_p),
        ("score", ctypes.c_double),
        ("similarity", ctypes.c_double),
        ("share", ctypes.c_double),
    )


class Mask(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("area", ctypes.c_int64),
        ("box", ctypes.c_int * 4),
        ("predicted_iou", ctypes.c_double),
        ("label", ctypes.c_char_p),
        ("score", ctypes.c_double),
        ("similarity", ctypes.c_double),
        ("point", ctypes.c_double * 2),
        ("rle", ctypes.c_char_p),
        ("logits", ctypes.POINTER(ctypes.c_float)),
    )


class Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("threads", ctypes.c_int),
        ("device", ctypes.c_char_p),
        ("engine", ctypes.c_void_p),
    )


class File(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("descriptor", ctypes.c_int),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_int64),
    )
