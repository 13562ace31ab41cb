"""The pipeline on the ONNX bundle against SamPredictor and SamAutomaticMaskGenerator, same weights, same photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from support import TOLERANCE, iou, off
from vit_b import VitB

from samclip_edge.photo.masks import Mask
from samclip_edge.progress import silent
from samclip_edge.scene import Scene
from samclip_edge.tasks.everything import Settings

SHAPES = ["landscape", "portrait", "tiny", "very wide"]


@pytest.fixture(scope="module")
def looked(vit_b: VitB, sam: Sam, photos: dict[str, np.ndarray]) -> dict[str, tuple[Scene, SamPredictor]]:
    """Each photo, looked at once by us and once by SAM."""
    both = {}
    for name in SHAPES:
        predictor = SamPredictor(sam)
        predictor.set_image(photos[name])
        both[name] = (vit_b.model.look(photos[name], 1024), predictor)
    return both


def same(masks: list[Mask], theirs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Masks, scores and low-res logits are SAM's. theirs: (M,H,W), (M,), (M,256,256)."""
    bits, scores, logits = theirs
    assert off(logits, np.stack([mask.logits for mask in masks])) < TOLERANCE
    np.testing.assert_allclose([mask.predicted_iou for mask in masks], scores, atol=TOLERANCE * 10)
    for mask, wanted in zip(masks, bits, strict=True):
        assert 0 < mask.area < wanted.size, "an empty or full mask would prove nothing"
        assert np.count_nonzero(mask.bits ^ wanted) <= 1e-4 * wanted.size + 1


def ordered(theirs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
    order = np.argsort(-theirs[1], kind="stable")
    return tuple(part[order] for part in theirs)


@pytest.mark.parametrize("name", SHAPES)
def test_one_click_gives_sams_three_masks_and_its_best(looked: dict[str, Any], name: str) -> None:
    scene, predictor = looked[name]
    height, width = scene.pixels.shape[:2]
    click = np.array([[0.4 * width, 0.6 * height]])
    theirs = ordered(predictor.predict(click, np.array([1]), multimask_output=True))
    same(scene.segment_all(points=click)[0], theirs)
    same(scene.segment(points=click), tuple(part[:1] for part in theirs))


@pytest.mark.parametrize("name", SHAPES)
def test_points_on_and_off_give_sams_single_mask(looked: dict[str, Any], name: str) -> None:
    scene, predictor = looked[name]
    height, width = scene.pixels.shape[:2]
    points = np.array([[0.4, 0.6], [0.1, 0.1], [0.9, 0.5]]) * (width, height)
    labels = np.array([1, 0, 1])
    same(scene.segment(points=points, labels=labels), predictor.predict(points, labels, multimask_output=False))


@pytest.mark.parametrize("name", SHAPES)
def test_a_box_gives_sams_single_mask(looked: dict[str, Any], name: str) -> None:
    scene, predictor = looked[name]
    height, width = scene.pixels.shape[:2]
    box = np.array([0.2 * width, 0.1 * height, 0.8 * width, height])
    same(scene.segment(boxes=box), predictor.predict(box=box, multimask_output=False))


@pytest.mark.parametrize("name", SHAPES)
def test_points_a_box_and_the_mask_before_give_sams(looked: dict[str, Any], name: str) -> None:
    scene, predictor = looked[name]
    height, width = scene.pixels.shape[:2]
    box = np.array([0.2 * width, 0.1 * height, 0.8 * width, height])
    points = np.array([[0.5, 0.5]]) * (width, height)
    both = predictor.predict(points, np.array([1]), box, multimask_output=False)
    same(scene.segment(points=points, boxes=box), both)
    step = scene.segment(points=points, boxes=box)[0].logits
    theirs = predictor.predict(points, np.array([1]), box, mask_input=both[2], multimask_output=False)
    same(scene.segment(points=points, boxes=box, mask=step), theirs)
    alone = predictor.predict(mask_input=both[2], multimask_output=False)
    same(scene.segment(mask=step), alone)


def test_several_prompts_in_one_call_are_several_calls(looked: dict[str, Any]) -> None:
    scene, _ = looked["landscape"]
    boxes = [[10, 20, 300, 200], [50, 60, 500, 390], [0, 0, 600, 400]]
    points = [[[100, 90]], [[300, 200]], [[20, 380]]]
    together = scene.segment(points=points, boxes=boxes)
    for mask, point, box in zip(together, points, boxes, strict=True):
        (alone,) = scene.segment(points=point, boxes=box)
        assert off(alone.logits, mask.logits) < TOLERANCE
    assert len(scene.segment_all(points=points)) == 3


def generate(sam: Sam, pixels: np.ndarray, score: float, stability: float, overlap: float) -> list[dict[str, Any]]:
    generator = SamAutomaticMaskGenerator(
        sam, 6, pred_iou_thresh=score, stability_score_thresh=stability, box_nms_thresh=overlap
    )
    return generator.generate(pixels)


@pytest.mark.parametrize("name", ["landscape", "portrait"])
def test_everything_is_that_of_sams_generator(
    looked: dict[str, Any], sam: Sam, photos: dict[str, np.ndarray], name: str
) -> None:
    scene, _ = looked[name]
    pixels = photos[name]
    every = generate(sam, pixels, 1e-9, 1e-9, 1.0)
    score, stability = (float(np.median([m[key] for m in every])) for key in ("predicted_iou", "stability_score"))
    boxes = {tuple(mask["bbox"]) for mask in every}
    assert len(boxes) > 1, "equal boxes would leave suppression untested"
    for overlap in (1.0, 0.995):
        theirs = generate(sam, pixels, score, stability, overlap)
        ours = scene.everything(settings=Settings(6, score, stability, overlap=overlap))
        assert 1 <= len(theirs) < len(every)
        assert len(ours) == len(theirs)
        for mask, wanted in zip(ours, theirs, strict=True):
            assert iou(mask.bits, wanted["segmentation"]) >= 0.99
            assert mask.predicted_iou == pytest.approx(wanted["predicted_iou"], abs=1e-3)
            assert mask.point == pytest.approx(wanted["point_coords"][0])
            assert mask.area == coco.area(coco.encode(np.asfortranarray(mask.bits.astype(np.uint8))))
    assert len(generate(sam, pixels, score, stability, 0.995)) < len(generate(sam, pixels, score, stability, 1.0))


def test_named_masks_are_the_masks_with_names(looked: dict[str, Any]) -> None:
    scene, _ = looked["landscape"]
    settings = Settings(3, score=-9, stability=0)
    plain, named = scene.everything(settings=settings), scene.everything(["cup", "table", "spoon"], settings, silent)
    assert [mask.rle for mask in plain] == [mask.rle for mask in named]
    assert all(mask.label in ("cup", "table", "spoon", None) for mask in named)
