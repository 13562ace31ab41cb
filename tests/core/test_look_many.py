"""Many photos: opened in threads, several in one call of a graph, and answered as each is by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from support import TOLERANCE, off

from samclip_edge import InputError, SamClip, Scene, data
from samclip_edge.bundle.contract import Array, Arrays, Signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.photo.ahead import opened_ahead
from samclip_edge.photo.read import read_photo
from samclip_edge.together import at_once

PHOTOS = data.photos()


class Stacked(Sessions):
    """Runs each photo of a call by itself, and counts them."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.calls: list[tuple[str, int]] = []

    def run(self, name: Any, size: Any = None, /, **inputs: Array) -> Arrays:
        (values,) = inputs.values()
        self.calls.append((name, len(values)))
        said = [super(Stacked, self).run(name, size, **dict.fromkeys(inputs, one[None])) for one in values]
        return {key: np.concatenate([each[key] for each in said]) for key in said[0]}


def taking_several(tiny: SamClip, **says: object) -> SamClip:
    """The model, its graphs of photos with an open first side. says: what its manifest says besides."""

    def opened(signature: Signature) -> Signature:
        inputs, outputs = (
            tuple(t.model_copy(update={"shape": ("I", *t.shape[1:])}) for t in tensors)
            for tensors in (signature.inputs, signature.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs)

    names = ("image_encoder", "clip_head")
    graphs = [
        graph.model_copy(update={"signature": opened(graph.signature)}) if graph.name in names else graph
        for graph in tiny.bundle.manifest.graphs
    ]
    bundle = Bundle(tiny.bundle.folder, tiny.bundle.manifest.model_copy(update={"graphs": tuple(graphs), **says}))
    return SamClip(bundle, sessions=Stacked(bundle))


def scenes(looked: Iterator[Scene | InputError]) -> list[Scene]:
    found = list(looked)
    assert all(isinstance(each, Scene) for each in found)
    return [each for each in found if isinstance(each, Scene)]


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("named", [False, True])
def test_a_photo_among_many_is_answered_as_it_is_alone(tiny: SamClip, size: int, named: bool) -> None:
    photos = [*PHOTOS, *(read_photo(path)[:, ::-1] for path in PHOTOS), *map(str, PHOTOS)]
    for model in (tiny, taking_several(tiny)):
        for photo, scene in zip(photos, scenes(model.look_many(photos, size, named=named)), strict=True):
            alone = tiny.look(photo, size)
            assert (scene.frame, scene.size) == (alone.frame, size)
            assert np.array_equal(scene.pixels, alone.pixels)
            for output in ("embedding", "image_features", "patch_features"):
                assert off(getattr(alone, output), getattr(scene, output)) < TOLERANCE


def test_as_many_photos_go_into_a_call_as_fit(tiny: SamClip) -> None:
    model = taking_several(tiny)
    assert isinstance(model.sessions, Stacked)
    scenes(model.look_many([PHOTOS[0]] * 18, 128, named=True))
    assert model.sessions.calls == [(name, n) for n in (8, 8, 2) for name in ("image_encoder", "clip_head")]
    model.sessions.calls.clear()
    scenes(model.look_many([PHOTOS[0]] * 7, 256))
    assert model.sessions.calls == [("image_encoder", 6), ("image_encoder", 1)]  # 8 * 224**2 pixels in a call


def test_scales_that_a_call_chooses_are_of_one_photo(tiny: SamClip) -> None:
    for says, most in (({"quantisation": "dynamic"}, 1), ({"quantisation": None}, 1), ({"quantisation": "qdq"}, 8)):
        assert at_once(taking_several(tiny, precision="int8", **says).bundle, 128, named=True) == most
    older = Bundle(tiny.bundle.folder, tiny.bundle.manifest.model_copy(update={"precision": "fp32"}))
    fixed = [graph.signature.inputs[0].shape[0] for graph in older.manifest.graphs if graph.name == "image_encoder"]
    assert at_once(older, 128, named=True) == (1 if 1 in fixed else 8)


def test_what_cannot_be_read_stands_in_its_place(tiny: SamClip) -> None:
    scene = tiny.look(PHOTOS[0], 256)
    photos = [PHOTOS[0], "none.jpg", scene, b"no photo", PHOTOS[1]]
    for model in (tiny, taking_several(tiny)):
        first, missing, same, broken, last = model.look_many(photos, 128)
        assert isinstance(first, Scene)
        assert isinstance(last, Scene)
        assert same is scene
        assert isinstance(missing, InputError)
        assert "none.jpg: no such photo" in str(missing)
        assert isinstance(broken, InputError)
    with pytest.raises(InputError, match="the bundle holds"):
        tiny.look_many(photos, 512)


def test_what_a_graph_raises_is_said_of_each_photo_in_the_call(tiny: SamClip, monkeypatch: pytest.MonkeyPatch) -> None:
    model = taking_several(tiny)

    def fails(*_: object, **__: object) -> Arrays:
        raise InputError("no memory")

    monkeypatch.setattr(model.sessions, "run", fails)
    assert list(map(str, model.look_many(PHOTOS[:2], 128))) == ["no memory"] * 2


def test_ending_early_ends_the_threads_and_opens_no_more(tiny: SamClip) -> None:
    before, taken = threading.active_count(), []

    def endless() -> Iterator[object]:
        while True:
            taken.append(PHOTOS[0])
            yield PHOTOS[0]

    looked = tiny.look_many(endless(), 128)
    next(looked)
    looked.close()
    assert threading.active_count() == before
    assert len(taken) <= 2 * 8


def test_no_more_photos_are_opened_than_were_asked_for() -> None:
    opened: list[str] = []

    def open_(photo: str) -> str:
        opened.append(photo)
        return photo.upper()

    def most(names: Sequence[str], ahead: int) -> int:
        opened.clear()
        kept = 0
        for asked, _ in enumerate(opened_ahead(names, open_, ahead)):
            kept = max(kept, len(opened) - asked)
        return kept

    names = [f"photo {number}" for number in range(40)]
    assert list(opened_ahead(names, open_, 3)) == [name.upper() for name in names]
    assert most(names, 3) <= 4
    assert most(names[:2], 8) <= 2


def test_an_array_that_its_owner_fills_again_is_taken_as_it_came(tiny: SamClip) -> None:
    buffer = np.zeros((64, 64, 3), np.uint8)

    def frames() -> Iterator[np.ndarray]:
        for grey in range(0, 240, 40):
            buffer[:] = grey
            yield buffer

    assert [int(scene.pixels[0, 0, 0]) for scene in tiny.look_many(frames(), 128)] == list(range(0, 240, 40))
