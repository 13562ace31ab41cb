"""Average precision of masks: by hand, and by the rules of COCO and of LVIS for what counts."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import trees_instances as trees
from lvis import LVIS, LVISEval, LVISResults

from samclip_edge import SamClip
from samclip_edge.benchmarks.evaluation import precision
from samclip_edge.benchmarks.evaluation.instances import instances
from samclip_edge.benchmarks.evaluation.precision import Detected, Metric
from samclip_edge.benchmarks.evaluation.run import measure
from samclip_edge.benchmarks.evaluation.task import Asked
from samclip_edge.data import TINY
from samclip_edge.errors import InputError
from samclip_edge.rendered import render

SIDE = 64
RARE, COMMON = 1, 2  # categories


def square(place: int) -> trees.Bits:
    """One of 16 masks that do not overlap."""
    bits = np.zeros((SIDE, SIDE), bool)
    y, x = divmod(place, 4)
    bits[16 * y : 16 * y + 12, 16 * x : 16 * x + 12] = True
    return bits


def truth(*things: tuple[int, int, int], crowd: trees.Bits | None = None) -> dict[str, Any]:
    """Annotations of things (photo, category, place) in two photos; crowd: of photo 1 and category 1."""
    said = [trees.annotation(number, image, own, square(at)) for number, (image, own, at) in enumerate(things, 1)]
    if crowd is not None:
        said.append(trees.annotation(len(said) + 1, 1, 1, crowd, trees.runs) | {"iscrowd": 1})
    return {
        "images": [{"id": image, "height": SIDE, "width": SIDE} for image in (1, 2)],
        "annotations": [{"iscrowd": 0} | each for each in said],
        "categories": [{"id": RARE, "name": "a"}, {"id": COMMON, "name": "b"}],
    }


def found(*masks: tuple[int, int, int, float]) -> list[dict[str, Any]]:
    """Results (photo, category, place, score)."""
    return [trees.result(image, own, square(at), score) for image, own, at, score in masks]


def lvis(document: dict[str, Any], neg: dict[int, list[int]] | None = None, loose: dict[int, list[int]] | None = None):
    """The same as LVIS has it. neg: what is known not to be in a photo. loose: what is not marked everywhere in it."""
    said = trees.as_lvis(document)
    for each in said["images"]:
        each["neg_category_ids"] = (neg or {}).get(each["id"], [])
        each["not_exhaustive_category_ids"] = (loose or {}).get(each["id"], [])
    return said


@pytest.mark.parametrize("metric", [precision.COCO, precision.LVIS])
def test_the_true_masks_as_answers_have_an_average_precision_of_1(metric: Metric) -> None:
    things = ((1, RARE, 0), (1, COMMON, 5), (2, COMMON, 6))
    document = truth(*things)
    measures = metric.measures(lvis(document), found(*((*each, 0.5) for each in things)))
    assert measures.pop("mAP") == pytest.approx(1)
    assert "AP large" not in measures  # there is none
    assert all(value == pytest.approx(1) for value in measures.values())


@pytest.mark.parametrize("metric", [precision.COCO, precision.LVIS])
def test_half_of_the_things_and_a_wrong_mask_by_hand(metric: Metric) -> None:
    document = truth((1, RARE, 0), (1, RARE, 5))
    # Precision is 1 up to a recall of 0.5, the first 51 of 101 points, and 0 after.
    measures = metric.measures(lvis(document), found((1, RARE, 0, 0.9), (1, RARE, 9, 0.8)))
    assert measures["mAP"] == pytest.approx(51 / 101)
    # The wrong mask first: precision is 1/2 up to there.
    measures = metric.measures(lvis(document), found((1, RARE, 0, 0.8), (1, RARE, 9, 0.9)))
    assert measures["mAP"] == pytest.approx(51 / 101 / 2)
    assert metric.measures(lvis(document), [])["mAP"] == 0


def test_masks_inside_a_crowd_are_no_mistakes() -> None:
    crowd = np.zeros((SIDE, SIDE), bool)
    crowd[32:] = True
    results = found((1, RARE, 0, 0.5), (1, RARE, 9, 0.9), (1, RARE, 10, 0.8))
    assert precision.COCO.measures(truth((1, RARE, 0)), copy.deepcopy(results))["mAP"] == pytest.approx(1 / 3)
    assert precision.COCO.measures(truth((1, RARE, 0), crowd=crowd), results)["mAP"] == pytest.approx(1)


def test_lvis_counts_a_mistake_only_where_a_category_is_known_to_be_absent() -> None:
    document = truth((1, RARE, 0), (2, COMMON, 0))
    results = found((1, RARE, 0, 0.5), (2, COMMON, 0, 0.5), (1, COMMON, 9, 0.9))
    unknown = precision.LVIS.measures(lvis(document), copy.deepcopy(results))
    assert (unknown["AP rare"], unknown["AP common"]) == pytest.approx((1, 1))
    absent = precision.LVIS.measures(lvis(document, neg={1: [COMMON]}), copy.deepcopy(results))
    assert (absent["AP rare"], absent["AP common"], absent["mAP"]) == pytest.approx((1, 0.5, 0.75))
    assert "AP frequent" not in absent


def test_lvis_forgives_a_mistake_where_a_category_is_not_marked_everywhere() -> None:
    document, results = truth((1, RARE, 0)), found((1, RARE, 0, 0.5), (1, RARE, 9, 0.9))
    assert precision.LVIS.measures(lvis(document), copy.deepcopy(results))["mAP"] == pytest.approx(0.5)
    assert precision.LVIS.measures(lvis(document, loose={1: [RARE]}), results)["mAP"] == pytest.approx(1)


@pytest.mark.parametrize(("metric", "count"), [(precision.COCO, 130), (precision.LVIS, 310)])
def test_boxes_that_do_not_count_change_nothing(metric: Metric, count: int) -> None:
    """So their masks need not be made."""
    random = np.random.default_rng(5)
    document = lvis(truth(*((1, RARE, at) for at in range(6)), (2, COMMON, 0)), neg={1: []})
    masks = [
        (1, int(random.choice([RARE, RARE, RARE, RARE, COMMON])), int(random.integers(16)), float(random.integers(50)))
        for _ in range(count)
    ]
    boxes = [Detected(own, (at, 0, 0, number), score) for number, (_, own, at, score) in enumerate(masks)]
    counted = metric.counted(document["images"][0], {RARE}, boxes)
    assert len(counted) < count
    kept = found(*((1, each.category, int(each.box[0]), each.score) for each in counted))
    assert metric.measures(copy.deepcopy(document), kept) == metric.measures(document, found(*masks))


def test_lvis_is_measured_as_lvis_measures_its_file(tmp_path: Path) -> None:
    """On a tree in its layout, whose photos lie in COCO's two folders, with a detector's boxes."""
    scenes = [render(20_000 + number, 128, most=4) for number in range(4)]
    document = trees.as_lvis(trees.of_scenes(scenes, trees.SHAPE_IDS.__getitem__))
    document["images"][0]["neg_category_ids"] = [trees.SHAPE_IDS["star"]]
    document["images"][1]["not_exhaustive_category_ids"] = list(trees.SHAPE_IDS.values())
    trees.write_lvis(tmp_path, document, [scene.image for scene in scenes])
    boxes = [
        {"image_id": each["image_id"], "category_id": own, "bbox": each["bbox"], "score": number / 100}
        for number, each in enumerate(document["annotations"])
        for own in (each["category_id"], trees.SHAPE_IDS["star"])
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    model = SamClip.load(TINY)
    asked = Asked(model, tmp_path, (128,), boxes=tmp_path / "boxes.json")
    (task,) = instances("lvis", asked)
    measures = measure(task, asked).measures

    looked = [model.look(scene.image, 128) for scene in scenes]
    results = []
    for each in boxes:
        x, y, width, height = each["bbox"]
        (mask,) = looked[each["image_id"] - 1].segment(boxes=[x, y, x + width, y + height])
        results.append(trees.result(each["image_id"], each["category_id"], mask.bits, each["score"]))
    with mock.patch.object(np, "float", float, create=True):
        ground = LVIS(str(tmp_path / "lvis_v1_val.json"))
        run = LVISEval(ground, LVISResults(ground, results), "segm")
        run.run()
    names = {"mAP": "AP", "AP50": "AP50", "AP75": "AP75", "AP rare": "APr", "AP common": "APc", "AP frequent": "APf"}
    for ours, theirs in names.items():
        assert measures.get(ours, -1) == pytest.approx(run.results[theirs])
    assert 0 < measures["mAP"] < 1


def test_lvis_needs_all_folders_of_its_photos(tmp_path: Path) -> None:
    scenes = [render(20_000 + number, 128, most=4) for number in range(2)]
    document = trees.as_lvis(trees.of_scenes(scenes, trees.SHAPE_IDS.__getitem__))
    trees.write_lvis(tmp_path, document, [scene.image for scene in scenes])
    asked = Asked(SamClip.load(TINY), tmp_path, (128,))
    (task,) = instances("lvis", asked)
    assert {sample.key for sample in task.samples} == {
        "coco/val2017/000000000001.jpg",
        "coco/train2017/000000000002.jpg",
    }
    assert measure(task, asked).measures["mAP"] > 0
    (tmp_path / "coco" / "train2017").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"holds no train2017/ and no coco/train2017/; LVIS's lvis_v1_val\.json lies"):
        instances("lvis", asked)


def test_where_the_package_lvis_is_missing_one_line_says_how_it_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lvis", None)
    with pytest.raises(InputError, match=r"needs the package lvis; `pip install --no-deps lvis` \(.*\)$"):
        precision.LVIS.check()


def test_measuring_leaves_numpy_as_it_was() -> None:
    precision.LVIS.measures(lvis(truth((1, RARE, 0))), found((1, RARE, 0, 0.5)))
    assert not hasattr(np, "float")
