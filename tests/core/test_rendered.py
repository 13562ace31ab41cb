"""The renderer: what a scene says is in it can be seen in it."""

from __future__ import annotations

import numpy as np

from samclip_edge.rendered import COLOURS, GROUNDS, SHAPES, SURFACES, RenderedScene, Thing, render


def scenes(count: int) -> list[RenderedScene]:
    return [render(seed) for seed in range(count)]


def test_a_seed_is_a_scene() -> None:
    again, other = render(7), render(8)
    assert np.array_equal(render(7).image, again.image)
    assert render(7).caption == again.caption
    assert not np.array_equal(again.image, other.image)
    assert render(7, size=64).image.shape == (64, 64, 3)


def test_masks_are_of_the_scene_and_do_not_overlap() -> None:
    for scene in scenes(60):
        assert scene.image.shape == (128, 128, 3)
        assert scene.image.dtype == np.uint8
        assert 1 <= len(scene.things) <= 4
        total = np.sum([thing.mask for thing in scene.things], axis=0)
        assert total.max() == 1
        areas = [thing.mask.sum() for thing in scene.things]
        assert areas == sorted(areas, reverse=True)
        assert min(areas) > 20


def test_a_plain_thing_has_the_colour_it_is_called_by() -> None:
    """Judged by the median pixel under its mask: its own colour is the nearest of the eight, by and large."""
    names, values = list(COLOURS), np.array(list(COLOURS.values()))
    right = [
        names[int(np.abs(values - np.median(scene.image[thing.mask], axis=0)).sum(axis=1).argmin())] == thing.colour
        for scene in scenes(150)
        for thing in scene.things
        if thing.surface == "plain"
    ]
    assert len(right) > 100
    assert np.mean(right) > 0.95


def test_a_thing_differs_from_what_is_around_it() -> None:
    for scene in scenes(40):
        ground = ~np.any([thing.mask for thing in scene.things], axis=0)
        if ground.sum() > 500:
            for thing in scene.things:
                inside, outside = (np.median(scene.image[bits], axis=0) for bits in (thing.mask, ground))
                assert np.abs(inside.astype(float) - outside).sum() > 8


def test_everything_there_is_occurs() -> None:
    things = [thing for scene in scenes(300) for thing in scene.things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.surface for thing in things} == set(SURFACES)
    assert {scene.ground for scene in scenes(60)} == set(GROUNDS)
    assert render(3, fewest=0, most=0).things == ()


def test_shapes_have_the_areas_of_geometry() -> None:
    """Shoelace areas of the outlines; a ring is what lies between its two circles."""

    def area(points: np.ndarray) -> float:
        x, y = points.T.astype(float)
        return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2

    wanted = {
        "circle": np.pi,
        "square": 2,
        "triangle": 3 * np.sqrt(3) / 4,
        "hexagon": 3 * np.sqrt(3) / 2,
        "star": 5 * 0.42 * np.sin(np.pi / 5),
        "cross": 4 * 0.34 * (2 - 0.34),
        "arrow": 0.85 + 0.7,
    }
    for name, value in wanted.items():
        (outline,) = SHAPES[name]()
        assert abs(area(outline) - value) < 0.02, name
    outer, inner = SHAPES["ring"]()
    assert abs(area(inner) / area(outer) - 0.55**2) < 1e-4


def test_captions_name_what_is_there_biggest_first() -> None:
    image, mask = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool)
    star, arrow = Thing("star", "red", "striped", mask), Thing("arrow", "orange", "plain", mask)
    assert RenderedScene(image, (), "checked").caption == "a checked background"
    assert RenderedScene(image, (star,), "plain").caption == "a striped red star"
    assert RenderedScene(image, (arrow, star), "plain").caption == "an orange arrow and a striped red star"
    three = RenderedScene(image, (arrow, star, star), "plain")
    assert three.caption == "an orange arrow, a striped red star and a striped red star"
