"""Photos that are only named are looked at at a small size, which the weights know."""

from __future__ import annotations

import pytest

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sizes import Size


def trained_at(tiny: SamClip, trained: bool, sizes: tuple[Size, ...] | None) -> SamClip:
    manifest = tiny.bundle.manifest.model_copy(update={"trained": trained, "trained_at": sizes})
    return SamClip(Bundle(tiny.bundle.folder, manifest))


@pytest.mark.parametrize(
    ("trained", "sizes", "wanted"),
    [
        (True, (256,), 256),
        (True, (128, 256), 128),
        (True, (512,), 128),  # the bundle holds none of them
        (True, None, 128),  # an older bundle, which does not say
        (False, (256,), 128),  # only its masks were trained, by others
    ],
)
def test_the_smallest_that_was_trained(
    tiny: SamClip, trained: bool, sizes: tuple[Size, ...] | None, wanted: int
) -> None:
    assert tiny.sizes == (128, 256)
    assert trained_at(tiny, trained, sizes).names_size == wanted


@pytest.mark.parametrize("size", [128, 256])
def test_classify_and_rank_look_at_it_and_take_a_scene_as_it_is(tiny: SamClip, size: int) -> None:
    model, photo, names = trained_at(tiny, True, (size,)), data.photos()[0], ["cup", "mug"]
    scene, other = model.look(photo, size), model.look(photo, 384 - size)
    assert (scene.size, other.size) == (size, 384 - size)
    assert model.classify(photo, names) == scene.classify(names) != other.classify(names)
    assert model.classify(other, names) == other.classify(names)
    assert model.rank([photo], "cup") == model.rank([scene], "cup") != model.rank([other], "cup")
