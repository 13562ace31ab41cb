"""The native library through its C interface, for tests: each class is a handle, each method one call."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import structures
from structures import Grid, Image

ROOT = Path(__file__).parents[3]
BUILD = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", ROOT / "build" / "native"))
Progress = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t)
_Handle = ctypes.c_void_p


class NativeError(Exception):
    """A call failed. `status` is one of samclip_edge.h."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(BUILD / "libsamclip_edge.so"))
    library.samclip_error.restype = ctypes.c_char_p
    for name in ("sizes", "features", "mask_count", "guess_count"):
        getattr(library, f"samclip_{name}").restype = ctypes.c_size_t
    for name in ("names_size", "photo_size", "low_res"):
        getattr(library, f"samclip_{name}").restype = structures.Size
    return library


LIBRARY = _library()


def call(name: str, *arguments: Any) -> None:
    """A call that returns a status. Raises NativeError."""
    status = getattr(LIBRARY, f"samclip_{name}")(*arguments)
    if status:
        raise NativeError(status, LIBRARY.samclip_error().decode())


def _names(names: Sequence[str]) -> structures.Names:
    encoded = [name.encode("utf-8", "surrogateescape") for name in names]
    array = (ctypes.c_char_p * len(encoded))(*encoded)
    made = structures.Names(array, len(encoded))
    made.kept = array
    return made


def _naming(background: Sequence[str] | None, min_score: float | None) -> structures.Naming:
    made = structures.Naming(0, None, min_score or 0.0, min_score is not None)
    if background is not None:
        made.kept = _names(background)
        made.background = ctypes.pointer(made.kept)
    return made


class Task:
    """A task, with a progress function or none."""

    def __init__(self, progress: Callable[[str, int, int], int] | None = None) -> None:
        self._function = Progress(lambda _, what, done, total: progress(what.decode(), done, total) if progress else 0)
        self.handle = _Handle()
        call("make_task", self._function, None, ctypes.byref(self.handle))

    def cancel(self) -> None:
        """`samclip_cancel`."""
        LIBRARY.samclip_cancel(self.handle)

    def __del__(self) -> None:
        LIBRARY.samclip_free_task(self.handle)


def _task(task: Task | None) -> _Handle | None:
    return task.handle if task else None


class Guess(NamedTuple):
    """`samclip_guess`."""

    label: str
    score: float
    similarity: float
    share: float


class Mask(NamedTuple):
    """`samclip_mask`, with the pixels (H,W) that `samclip_draw` gives."""

    bits: npt.NDArray[np.bool_]
    area: int
    box: tuple[int, int, int, int]
    predicted_iou: float
    label: str | None
    score: float
    similarity: float
    point: tuple[float, float]
    rle: str
    logits: npt.NDArray[np.float32] | None


class Masks:
    """A list of masks."""

    def __init__(self, scene: Scene, handle: _Handle) -> None:
        self.scene, self.handle = scene, handle

    def __del__(self) -> None:
        LIBRARY.samclip_free_masks(self.handle)

    def name(
        self,
        labels: Sequence[str],
        background: Sequence[str] | None = None,
        min_score: float | None = None,
        task: Task | None = None,
    ) -> Masks:
        """`samclip_name`."""
        call("name", self.handle, _names(labels), ctypes.byref(_naming(background, min_score)), _task(task))
        return self

    def features(self) -> npt.NDArray[np.float32]:
        """`samclip_mask_features`."""
        count = LIBRARY.samclip_mask_count(self.handle)
        out = np.zeros((count, self.scene.model.features), np.float32)
        call("mask_features", self.handle, None, out.ctypes.data_as(ctypes.c_void_p))
        return out

    def all(self) -> list[Mask]:
        """Each mask."""
        return [self._at(index) for index in range(LIBRARY.samclip_mask_count(self.handle))]

    def _at(self, index: int) -> Mask:
        mask = structures.Mask()
        call("mask_at", self.handle, ctypes.c_size_t(index), ctypes.byref(mask))
        pixels = np.full((mask.height, mask.width), 7, np.uint8)
        call("draw", self.handle, ctypes.c_size_t(index), 255, pixels.ctypes.data_as(ctypes.c_void_p), 0)
        assert set(np.unique(pixels)) <= {0, 255}
        low = self.scene.low_res
        logits = np.ctypeslib.as_array(mask.logits, low).copy() if mask.logits else None
        label = mask.label.decode() if mask.label is not None else None
        told = (mask.predicted_iou, label, mask.score, mask.similarity, tuple(mask.point), mask.rle.decode(), logits)
        return Mask(pixels == 255, mask.area, tuple(mask.box), *told)


class Scene:
    """A photo that was looked at."""

    def __init__(self, model: Model, handle: _Handle) -> None:
        self.model, self.handle = model, handle
        size = LIBRARY.samclip_low_res(handle)
        self.low_res = (size.height, size.width)

    def __del__(self) -> None:
        LIBRARY.samclip_free_scene(self.handle)

    def _masks(self, name: str, *arguments: Any) -> Masks:
        handle = _Handle()
        call(name, self.handle, *arguments, ctypes.byref(handle))
        return Masks(self, handle)

    def _prompted(self, name: str, task: Task | None, points: Any, labels: Any, boxes: Any, masks: Any) -> Masks:
        def array(values: Any, kind: Any, single: int) -> Any:
            made = None if values is None else np.ascontiguousarray(values, kind)
            return made[None] if made is not None and made.ndim == single else made

        where, marks = array(points, np.float64, 2), array(labels, np.int32, 1)
        corners, logits = array(boxes, np.float64, 1), array(masks, np.float32, 2)
        count = next((len(each) for each in (where, corners, logits) if each is not None), 0)
        address = [None if each is None else each.ctypes.data for each in (where, marks, corners, logits)]
        prompts = structures.Prompts(0, count, 0 if where is None else where.shape[1], *address)
        return self._masks(name, ctypes.byref(prompts), _task(task))

    def segment(
        self, points: Any = None, labels: Any = None, boxes: Any = None, masks: Any = None, task: Task | None = None
    ) -> Masks:
        """`samclip_segment`."""
        return self._prompted("segment", task, points, labels, boxes, masks)

    def take(self, rles: Sequence[str]) -> Masks:
        """`samclip_take_masks`."""
        array = (ctypes.c_char_p * len(rles))(*[rle.encode() for rle in rles])
        return self._masks("take_masks", array, ctypes.c_size_t(len(rles)))

    def segment_all(self, points: Any = None, labels: Any = None, boxes: Any = None, masks: Any = None) -> Masks:
        """`samclip_segment_all`."""
        return self._prompted("segment_all", None, points, labels, boxes, masks)

    def find(
        self,
        labels: Sequence[str],
        min_score: float | None = None,
        refine: bool = True,
        points: int = 0,
        background: Sequence[str] | None = None,
        grid: Grid | None = None,
    ) -> Masks:
        """`samclip_find`."""
        naming = _naming(background, min_score)
        how = structures.Finding(0, ctypes.pointer(naming), not refine, points, 0.0, 0)
        if grid is not None:
            how.grid = ctypes.pointer(grid)
        return self._masks("find", _names(labels), ctypes.byref(how), None)

    def everything(
        self,
        labels: Sequence[str] = (),
        grid: Grid | None = None,
        min_score: float | None = None,
        task: Task | None = None,
    ) -> Masks:
        """`samclip_everything`."""
        how = grid or Grid()
        naming = _naming(None, min_score)
        return self._masks("everything", _names(labels), ctypes.byref(naming), ctypes.byref(how), _task(task))

    def classify(
        self, labels: Sequence[str], background: Sequence[str] | None = None, task: Task | None = None
    ) -> list[Guess]:
        """`samclip_classify`."""
        handle, naming = _Handle(), _naming(background, None)
        call("classify", self.handle, _names(labels), ctypes.byref(naming), _task(task), ctypes.byref(handle))
        found = []
        for index in range(LIBRARY.samclip_guess_count(handle)):
            guess = structures.Guess()
            call("guess_at", handle, ctypes.c_size_t(index), ctypes.byref(guess))
            found.append(Guess(guess.label.decode(), guess.score, guess.similarity, guess.share))
        LIBRARY.samclip_free_guesses(handle)
        return found

    def patch_features(self) -> npt.NDArray[np.float32]:
        """`samclip_patch_features`."""
        values, sides = ctypes.POINTER(ctypes.c_float)(), (ctypes.c_size_t * 2)()
        places = [ctypes.byref(sides, 8 * place) for place in range(2)]
        call("patch_features", self.handle, None, ctypes.byref(values), *places)
        return np.ctypeslib.as_array(values, (self.model.features, *sides)).copy()

    def image_features(self) -> npt.NDArray[np.float32]:
        """`samclip_image_features`."""
        out = np.zeros(self.model.features, np.float32)
        call("image_features", self.handle, None, out.ctypes.data_as(ctypes.c_void_p))
        return out


class Model:
    """A bundle: of a folder, or of files that lie in others, each (path, descriptor, offset, length)."""

    def __init__(
        self,
        bundle: Path | str | Sequence[tuple[str, int, int, int]],
        threads: int = 0,
        device: str | None = None,
        engine: int | None = None,
    ) -> None:
        self.handle = _Handle()
        options = structures.Options(
            ctypes.sizeof(structures.Options), threads, device.encode() if device else None, engine
        )
        if isinstance(bundle, str | Path):
            call("load", os.fsencode(bundle), ctypes.byref(options), ctypes.byref(self.handle))
        else:
            files = (structures.File * len(bundle))(*[(path.encode(), *rest) for path, *rest in bundle])
            call("load_files", files, ctypes.c_size_t(len(files)), ctypes.byref(options), ctypes.byref(self.handle))
        self.features = LIBRARY.samclip_features(self.handle)

    def __del__(self) -> None:
        LIBRARY.samclip_free_model(self.handle)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each size."""
        sizes = (structures.Size * 16)()
        count = LIBRARY.samclip_sizes(self.handle, sizes, ctypes.c_size_t(16))
        return [(each.width, each.height) for each in sizes[:count]]

    def look(
        self, photo: npt.NDArray[np.uint8] | Image, size: tuple[int, int] | int | None = None, task: Task | None = None
    ) -> Scene:
        """`samclip_look`. size: S, or width and height."""
        image = photo if isinstance(photo, Image) else Image.rgb(photo)
        chosen = (
            None if size is None else ctypes.byref(structures.Size(*((size, size) if isinstance(size, int) else size)))
        )
        handle = _Handle()
        call("look", self.handle, ctypes.byref(image), chosen, _task(task), ctypes.byref(handle))
        return Scene(self, handle)

    def embed(self, photos: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """`samclip_embed`."""
        images = [Image.rgb(photo) for photo in photos]
        out = np.zeros((len(images), self.features), np.float32)
        array = (Image * len(images))(*images)
        count = ctypes.c_size_t(len(images))
        call("embed", self.handle, array, count, None, None, out.ctypes.data_as(ctypes.c_void_p))
        return out

    def embed_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """`samclip_embed_text`."""
        out = np.zeros((len(texts), self.features), np.float32)
        call("embed_text", self.handle, _names(texts), None, out.ctypes.data_as(ctypes.c_void_p))
        return out

    def rank(self, photos: Sequence[npt.NDArray[np.uint8]], text: str) -> list[tuple[int, float]]:
        """`samclip_rank`."""
        images = [Image.rgb(photo) for photo in photos]
        array = (Image * len(images))(*images)
        order, similarities = (ctypes.c_size_t * len(images))(), (ctypes.c_float * len(images))()
        count = ctypes.c_size_t(len(images))
        call("rank", self.handle, array, count, text.encode(), None, None, order, similarities)
        return list(zip(order, similarities, strict=True))
