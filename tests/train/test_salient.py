"""Photos whose main thing a network marks: what it is shown, which photos it is trusted with, and what is made of them.

Not U²-Net: a graph that answers with the red of what it is shown, once its normalisation is undone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from samclip_edge.errors import InputError
from samclip_edge.train import compose
from samclip_edge.train.data.salient import Salient, marked, thing_of


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """(1,3,64,64), normalised as ImageNet's classifiers want it, to its red channel (1,1,64,64), 0..1."""
    values = {"weight": np.array([0.229, 0, 0], np.float32).reshape(1, 3, 1, 1), "bias": np.array([0.485], np.float32)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", *values], ["map"])],
        "red",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, 64, 64])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    path = tmp_path_factory.mktemp("network") / "red.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def photo(path: Path, square: tuple[int, int, int], around: tuple[int, int, int]) -> Path:
    """96 x 128, RGB, with a square of 40 from row 20 and column 30 on."""
    pixels = np.full((96, 128, 3), around, np.uint8)
    pixels[20:60, 30:70] = square
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def test_the_mask_of_a_photo_is_where_the_network_is_sure(red: Path, tmp_path: Path) -> None:
    clear = photo(tmp_path / "clear.png", (255, 0, 0), (0, 255, 255))
    photo(tmp_path / "dim.png", (140, 0, 0), (30, 255, 255))  # 0.55 and 0.12: all of it may be salient
    photo(tmp_path / "none.png", (0, 0, 255), (0, 255, 0))
    found = marked(sorted(tmp_path.glob("*.png")), red)
    assert [each.photo for each in found] == [clear]
    layers = found[0].read()
    assert [(each.name, each.thing, each.crowd) for each in layers.segments] == [("", True, False)]
    inside = np.zeros((96, 128), bool)
    inside[20:60, 30:70] = True
    differs = np.flatnonzero((layers.labels == 1) != inside)
    rows, columns = np.unravel_index(differs, inside.shape)
    near = (np.isin(rows, (18, 19, 20, 21, 58, 59, 60, 61))) | (np.isin(columns, (28, 29, 30, 31, 68, 69, 70, 71)))
    assert near.all()  # the map is 64 x 64, so that its edges are a pixel or two off
    assert layers.pixels[30, 40].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("share", "kept"), [(0.005, False), (0.02, True), (0.75, True), (0.9, False)])
def test_a_map_that_shows_next_to_nothing_or_next_to_all_has_no_thing(share: float, kept: bool) -> None:
    saliency = np.zeros((100, 100), np.float32)
    saliency.reshape(-1)[: round(share * 10_000)] = 1
    assert (thing_of(saliency) is not None) == kept


def test_a_map_is_sure_where_seven_tenths_of_what_may_be_salient_is() -> None:
    saliency = np.zeros((100, 100), np.float32)
    saliency[:20], saliency[20:28] = 1, 0.3
    bits = thing_of(saliency)
    assert bits is not None
    assert bits.sum() == 2000
    saliency[28:29] = 0.3
    assert thing_of(saliency) is None


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "u2.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"--salient .*u2\.onnx: is no U²-Net in ONNX"):
        marked([], tmp_path / "u2.onnx")


@pytest.mark.parametrize(
    ("given", "answer", "spread"),
    [
        ([1, 1, 64, 64], [1, 1, 64, 64], 0.25),  # grey
        ([1, 3, 64, 64], [1, 3, 64, 64], 0.25),  # three maps
        ([1, 3, 64, 64], [1, 1, 64, 64], 9.0),  # a map beyond 0 and 1
    ],
)
def test_a_network_of_another_kind_is_refused(
    given: list[int], answer: list[int], spread: float, tmp_path: Path
) -> None:
    weight = np.full((answer[1], given[1], 1, 1), 0.25, np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight", "bias"], ["map"])],
        "other",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, answer)],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.full(answer[1], spread, np.float32), "bias"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "o.onnx")
    with pytest.raises(InputError, match=r"o\.onnx: is no U²-Net"):
        marked([], tmp_path / "o.onnx")


def test_salient_photos_teach_their_thing_and_lend_it(
    red: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The annotated photo has a grey map without segments, so that what is on images is salient, or rendered."""
    for folder in ("maps", "photos", "plain"):
        (tmp_path / folder).mkdir()
    photo(tmp_path / "photos/0.png", (90, 90, 90), (60, 60, 60))
    photo(tmp_path / "maps/0.png", (0, 0, 0), (0, 0, 0))
    for number in range(2):
        photo(tmp_path / f"plain/{number}.png", (255, 0, 0), (0, 255, 255))
    listed = {
        "images": [{"id": 0, "file_name": "0.png"}],
        "annotations": [{"image_id": 0, "file_name": "0.png", "segments_info": []}],
        "categories": [],
    }
    (tmp_path / "panoptic.json").write_text(json.dumps(listed))
    told = ["--panoptic", *(str(tmp_path / each) for each in ("panoptic.json", "maps", "photos"))]
    told += ["--photos", str(tmp_path / "plain"), "--salient", str(red), "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["compose", *told, "--count", "30", "--held-out", "0"])
    compose.main()
    found = {"own": 0, "pasted": 0}
    for path in sorted((tmp_path / "out/train").glob("*.json")):
        names = [each["name"] for each in json.loads(path.read_text())["annotations"]]
        pixels = cv2.imread(str(path.with_suffix(".jpg")))
        cyan = np.abs(pixels[2, 2].astype(int) - (255, 255, 0)).max() < 120
        found["own" if cyan else "pasted"] += "" in names
    assert found["own"] >= 3
    assert found["pasted"] >= 3


def test_a_salient_photo_has_one_thing_without_a_name(tmp_path: Path) -> None:
    each = Salient(tmp_path / "photo.jpg", {"size": [1, 1], "counts": "01"})
    assert [(segment.name, segment.thing) for segment in each.segments.values()] == [("", True)]
