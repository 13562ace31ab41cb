"""Instances on trees in COCO's and LVIS's layouts, against `eval synthetic`, pycocotools and arithmetic by hand."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trees_instances as trees
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support import Ran

from samclip_edge import SamClip
from samclip_edge.accuracy.synthetic import prompted
from samclip_edge.benchmarks.evaluation.instances import instances
from samclip_edge.benchmarks.evaluation.run import measure
from samclip_edge.benchmarks.evaluation.task import Asked, Sample
from samclip_edge.benchmarks.evaluation.true_instances import Annotated, read_instances, thickest
from samclip_edge.data import TINY
from samclip_edge.errors import InputError
from samclip_edge.photo.masks import Mask, encode_rle
from samclip_edge.photo.pictures import draw_masks
from samclip_edge.rendered import RenderedScene, render

COUNT = 6


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(TINY)


@pytest.fixture(scope="module")
def scenes() -> list[RenderedScene]:
    return [render(20_000 + number, 256, most=4) for number in range(COUNT)]  # the first ones of `prompted`


def coco(folder: Path, scenes: Sequence[RenderedScene], category: Callable[[str], int] = lambda shape: 1) -> Path:
    return trees.write_coco(folder, trees.of_scenes(scenes, category), [scene.image for scene in scenes])


def test_one_category_of_rendered_scenes_gives_the_numbers_of_eval_synthetic(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    asked = Asked(model, coco(tmp_path, scenes), (256,))
    (task,) = instances("coco", asked)
    found = measure(task, asked)
    iou, precision = prompted(model, COUNT, "box")
    assert found.measures["mIoU of true boxes"] == pytest.approx(iou, abs=1e-9)
    assert found.measures["mAP"] == pytest.approx(precision, abs=1e-9)
    # OpenCV's distances, by which `prompted` clicks, are not exact.
    assert found.measures["mIoU of a click"] == pytest.approx(prompted(model, COUNT, "point")[0], abs=0.02)
    assert task.column == "true boxes, 256"
    assert task.details(list(found.outcomes.values()))["things"] == sum(len(scene.things) for scene in scenes)


def test_a_detectors_boxes_prompt_and_their_scores_rank(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    data = coco(tmp_path, scenes, trees.SHAPE_IDS.__getitem__)
    random = np.random.default_rng(1)
    boxes: list[dict[str, Any]] = []
    for image, scene in enumerate(scenes, 1):
        for thing in scene.things:
            x0, y0, x1, y1 = trees.mask_box(thing.mask) + random.normal(0, 6, 4)
            own = {"image_id": image, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            right = trees.SHAPE_IDS[thing.shape]
            boxes += [own | {"category_id": each, "score": random.random()} for each in (right, right, 2)]
    detections = tmp_path / "detections.json"
    detections.write_text(json.dumps(boxes))
    asked = Asked(model, data, (256,), boxes=detections)
    (task,) = instances("coco", asked)
    found = measure(task, asked)

    looked = [model.look(scene.image, 256) for scene in scenes]
    results = []
    for each in boxes:
        x, y, width, height = each["bbox"]
        (mask,) = looked[each["image_id"] - 1].segment(boxes=[x, y, x + width, y + height])
        results.append(trees.result(each["image_id"], each["category_id"], mask.bits, each["score"]))
    expected = by_pycocotools(data / "annotations" / "instances_val2017.json", results)
    names = ("mAP", "AP50", "AP75", "AP small", "AP medium", "AP large")
    known = {name: each for name, each in zip(names, expected, strict=False) if each > -1}
    assert {name: each for name, each in found.measures.items() if "AP" in name} == pytest.approx(known)
    assert 0 < found.measures["mAP"] < 1
    assert task.column == "boxes of detections.json, 256"


def by_pycocotools(path: Path, results: list[dict[str, Any]]) -> list[float]:
    """Its twelve numbers, of files."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(path)
        run = COCOeval(truth, truth.loadRes(results), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(each) for each in run.stats]


def write_boxes(folder: Path, boxes: Any) -> Path:
    (folder / "detections.json").write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    return folder / "detections.json"


BOX = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.5}


@pytest.mark.parametrize(
    ("boxes", "line"),
    [
        ("[1", r"holds no list of boxes \(Invalid JSON: .*\); give a detector's answers in COCO's result format"),
        ([], "holds no box; give"),
        ({"annotations": []}, r"holds no list of boxes \(.*\); give"),
        ([BOX, BOX | {"bbox": [1, 2, 3]}], r"its box 1 is in another form \(bbox\.3: Field required\); give"),
        ([{"image_id": 1}], r"its box 0 is in another form \(category_id: Field required\); give"),
        ([BOX | {"score": "high"}], r"its box 0 is in another form \(score: .*\); give"),
        ([BOX | {"image_id": float("nan")}], r"its box 0 is in another form \(image_id: .*\); give"),
        ([BOX | {"category_id": None}], r"its box 0 is in another form \(category_id: .*\); give"),
        ([BOX | {"image_id": 139}], "its box 0 is of image 139, which instances_val2017.json does not have; give"),
        ([BOX | {"category_id": 90}], "its box 0 is of category 90, which instances_val2017.json does not have; give"),
    ],
)
def test_boxes_of_another_form_or_data_set_are_refused_in_one_line(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip, boxes: Any, line: str
) -> None:
    asked = Asked(model, coco(tmp_path, scenes[:1]), (128,), boxes=write_boxes(tmp_path, boxes))
    with pytest.raises(InputError, match=f"^boxes .*detections.json: {line}") as raised:
        instances("coco", asked)
    assert "\n" not in str(raised.value)


def test_boxes_that_cannot_prompt_are_left_out_and_counted(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    faulty = [
        BOX | {"bbox": [10, 10, 0, 20]},
        BOX | {"bbox": [10, 10, 20, -1]},
        BOX | {"bbox": [256, 10, 20, 20]},
        BOX | {"bbox": [float("nan"), 10, 20, 20]},
        BOX | {"score": float("nan")},
        BOX | {"score": 10**400},
        BOX | {"bbox": [-5, -5, 300, 300]},  # reaches over the border, which is cut off
    ]
    asked = Asked(model, coco(tmp_path, scenes[:1]), (128,), boxes=write_boxes(tmp_path, faulty))
    (task,) = instances("coco", asked)
    told = "2 empty, 1 outside the photo, 1 not finite, 2 without a finite score"
    assert task.protocol["boxes left out"] == told
    assert len(measure(task, asked).outcomes["val2017/000000000001.jpg"]["masks"]) == 1


def test_no_box_that_can_prompt_gives_an_average_precision_of_0(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    boxes = write_boxes(tmp_path, [BOX | {"bbox": [10, 10, 0, 0]}])
    asked = Asked(model, coco(tmp_path, scenes[:1]), (128,), boxes=boxes)
    (task,) = instances("coco", asked)
    assert measure(task, asked).measures["mAP"] == 0


def test_crowds_prompt_nothing_and_photos_of_another_size_are_skipped_and_named(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    document = trees.of_scenes(scenes[:3], lambda shape: 1)
    crowd = trees.annotation(99, 1, 1, np.ones((256, 256), bool), trees.runs) | {"iscrowd": 1}
    document["annotations"].append(crowd)
    data = trees.write_coco(tmp_path, document, [scene.image for scene in scenes[:3]])
    turned = Image.fromarray(scenes[1].image[:, :100])
    exif = turned.getexif()
    exif[0x0112] = 6  # lies on its side
    document["images"][1] |= {"height": 256, "width": 100}  # in the file's own pixels
    trees.write_coco(tmp_path, document, [scene.image for scene in scenes[:3]])
    turned.save(data / "val2017" / "000000000002.jpg", "PNG", exif=exif)
    asked = Asked(model, data, (128,))
    (task,) = instances("coco", asked)
    found = measure(task, asked)
    assert len(found.outcomes["val2017/000000000001.jpg"]["by_box"]) == len(scenes[0].things)
    assert list(found.skipped) == ["val2017/000000000002.jpg"]
    assert "has 256x100 pixels, upright, and 100x256 in the annotations" in found.skipped["val2017/000000000002.jpg"]


def test_every_form_of_a_published_mask_is_read_as_pycocotools_reads_it(tmp_path: Path) -> None:
    bits = np.zeros((20, 30), bool)
    bits[4:9, 6:21] = True
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    forms = [trees.annotation(1, 1, 1, bits, form) for form in (trees.compressed, trees.runs, trees.polygon)]
    seen = read_instances(Sample("a", tmp_path / "a.png", Annotated(1, 20, 30, forms, None)))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
    truth.imgs = {1: {"height": 20, "width": 30}}
    for each, thing in zip(forms, seen.things, strict=True):
        theirs = truth.annToRLE(each)
        assert thing.rle["counts"] == theirs["counts"].decode() if isinstance(theirs["counts"], bytes) else bits.any()
        assert thing.box == (6, 4, 21, 9)


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 1e9, 4, 5, 6]],
        {"counts": [1]},
        {"size": [2, 2], "counts": [4]},
        {"size": [20, 30], "counts": [900]},
        {"size": [20, 30], "counts": "no run"},
        None,
    ],
)
def test_a_mask_that_cannot_be_read_names_its_annotation(tmp_path: Path, segmentation: Any) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    faulty = trees.annotation(17, 1, 1, np.ones((20, 30), bool)) | {"segmentation": segmentation}
    with pytest.raises(InputError, match=r"a\.png: its annotation 17 cannot be read"):
        read_instances(Sample("a", tmp_path / "a.png", Annotated(1, 20, 30, [faulty], None)))


def test_the_masks_of_crowds_are_read_too_for_average_precision_reads_them(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    crowd = trees.annotation(17, 1, 1, np.ones((20, 30), bool), trees.runs) | {"iscrowd": 1}
    assert not read_instances(Sample("a", tmp_path / "a.png", Annotated(1, 20, 30, [crowd], None))).things
    crowd["segmentation"]["counts"][-1] += 1
    with pytest.raises(InputError, match=r"a\.png: its annotation 17 cannot be read \(.*pixels of its size"):
        read_instances(Sample("a", tmp_path / "a.png", Annotated(1, 20, 30, [crowd], None)))


def test_an_annotation_may_have_the_id_0_and_none_need_say_that_it_is_no_crowd(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    """pycocotools takes a match with the id 0 for none."""
    found = []
    for number in (0, 1):
        document = trees.of_scenes(scenes[:1], lambda shape: 1)
        for place, each in enumerate(document["annotations"], number):
            each["id"] = place
        data = trees.write_coco(tmp_path / str(number), document, [scenes[0].image])
        listed = data / "annotations" / "instances_val2017.json"
        listed.write_text(json.dumps(document))
        asked = Asked(model, data, (128,))
        (task,) = instances("coco", asked)
        found.append(measure(task, asked).measures)
    assert found[0] == found[1]
    assert found[0]["mAP"] > 0


def test_the_click_is_the_pixel_farthest_from_the_edge(scenes: list[RenderedScene]) -> None:
    for scene in scenes[:2]:
        for thing in scene.things:
            small = np.pad(thing.mask[::4, ::4], 1)
            outside = np.argwhere(~small)
            depths = {(x, y): ((outside - (y, x)) ** 2).sum(axis=1).min() for y, x in np.argwhere(small)}
            x, y = thickest(small[1:-1, 1:-1])
            assert depths[x + 1, y + 1] == max(depths.values())


def test_the_picture_shows_the_answers_and_beside_them_the_truth(
    tmp_path: Path, scenes: list[RenderedScene], model: SamClip
) -> None:
    asked = Asked(model, coco(tmp_path, scenes[:1]), (128,))
    (task,) = instances("coco", asked)
    (outcome,) = measure(task, asked).outcomes.values()
    assert task.goodness(outcome) == pytest.approx(np.mean(outcome["by_box"]))
    answers, truth = np.split(task.picture(task.samples[0], outcome), 2, axis=1)
    nothing, same = np.split(task.picture(task.samples[0], outcome | {"masks": []}), 2, axis=1)
    np.testing.assert_array_equal(nothing, draw_masks(scenes[0].image, []))
    things = [Mask(encode_rle(thing.mask), None, label="thing") for thing in scenes[0].things]
    np.testing.assert_array_equal(truth, draw_masks(scenes[0].image, things))
    np.testing.assert_array_equal(truth, same)
    assert not np.array_equal(answers, nothing)


def test_a_wrong_folder_is_answered_with_how_the_data_set_must_lie(tmp_path: Path, model: SamClip) -> None:
    with pytest.raises(InputError, match=r"holds no annotations/instances_val2017\.json .* photos lie in val2017/"):
        instances("coco", Asked(model, tmp_path))


def test_the_command_tells_what_prompted_and_what_the_paper_has(
    tmp_path: Path, scenes: list[RenderedScene], run: Callable[..., Ran]
) -> None:
    asked = ("eval", "coco", "--data", coco(tmp_path, scenes[:2]), "--bundle", TINY, "--size", "128")
    ran = run(*asked, "--json")
    assert ran.json["columns"]["true boxes, 128"]["protocol"]["prompts"] == "true boxes, crowds left out"
    assert 0 < ran.json["measures"]["true boxes, 128"]["mAP"] < 1
    assert ran.json["paper"] == {}, "which prompts with a detector's boxes"
    held = json.loads((tmp_path / "annotations" / "instances_val2017.json").read_text())["annotations"]
    boxes = [{key: each[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9} for each in held]
    ran = run(*asked, "--boxes", write_boxes(tmp_path, boxes), "--json")
    assert ran.json["paper"]["SAM-CLIP"] == {"mAP": 0.409}
    ran = run(*asked, "--boxes", write_boxes(tmp_path, []))
    assert (ran.code, ran.out) == (2, "")
    assert f"error: --boxes {tmp_path / 'detections.json'}: holds no box; give" in ran.err
