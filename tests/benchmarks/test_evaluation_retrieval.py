"""Retrieval on trees in the published layouts: what is read of them, and recall against torchmetrics and by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trees_captions as trees
from PIL import Image
from torchmetrics.retrieval import RetrievalHitRate, RetrievalRecall

from samclip_edge import SamClip
from samclip_edge.accuracy import synthetic
from samclip_edge.benchmarks.evaluation.caption_sets import CAPTION_SETS
from samclip_edge.benchmarks.evaluation.retrieval import places, retrieval
from samclip_edge.benchmarks.evaluation.run import measure
from samclip_edge.benchmarks.evaluation.task import Asked
from samclip_edge.data import TINY
from samclip_edge.errors import InputError
from samclip_edge.photo.resize import Floats
from samclip_edge.rendered import render

COUNT = 6


@pytest.fixture(scope="module")
def model() -> SamClip:
    return SamClip.load(TINY)


@pytest.fixture
def flickr(tmp_path: Path) -> dict[str, list[str]]:
    captions = trees.captions_of(COUNT + 1)
    trees.write_photos(tmp_path / "flickr30k-images", list(captions))
    return captions


def said(data: Path, name: str = "flickr30k") -> dict[str, tuple[str, ...]]:
    return {sample.photo.name: sample.truth.texts for sample in CAPTION_SETS[name](data)}


@pytest.mark.parametrize("form", [trees.karpathy, trees.table, trees.lines])
def test_each_list_of_karpathys_split_gives_his_test_photos_with_five_captions(
    tmp_path: Path, flickr: dict[str, list[str]], form: Callable[[Path, dict[str, list[str]]], None]
) -> None:
    form(tmp_path, flickr)
    assert said(tmp_path) == {name: tuple(texts) for name, texts in list(flickr.items())[:-1]}


def test_kaggles_layout_has_its_photos_two_folders_deep(tmp_path: Path) -> None:
    captions = trees.captions_of(2)
    trees.write_photos(tmp_path / "flickr30k_images" / "flickr30k_images", list(captions))
    trees.karpathy(tmp_path, captions, rest="test")
    assert all(sample.photo.is_file() for sample in CAPTION_SETS["flickr30k"](tmp_path))


def test_a_list_without_the_split_is_refused_with_what_is_missing(tmp_path: Path, flickr: dict[str, list[str]]) -> None:
    (tmp_path / "results.csv").write_text("image_name| comment_number| comment\n1000.jpg| 0| a star\n")
    with pytest.raises(InputError, match=r"results\.csv does not say which photos .* dataset_flickr30k\.json"):
        said(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dataset_flickr30k.json", '{"images": [{"filename": "1.jpg"}]}'),
        ("dataset_flickr30k.json", "[1]"),
        ("flickr_annotations_30k.csv", "raw,filename\nx,1.jpg\n"),
        ("flickr_annotations_30k.csv", "raw,sentids,split,filename,img_id\n[5],[],test,1.jpg,0\n"),
        ("flickr_annotations_30k.csv", 'raw,sentids,split,filename,img_id\n"[""a""]",[],test,/1.jpg,0\n'),
        ("flickr30k_test_karpathy.txt", "image,caption\n../1.jpg,a star\n"),
        ("flickr_annotations_30k.csv", "raw,sentids,split,filename,img_id\n['a'],[],test,1.jpg,0\n"),
        ("flickr30k_test_karpathy.txt", "image,caption\n1.png,a star\n"),
    ],
)
def test_a_list_in_another_form_is_refused_in_one_line(
    tmp_path: Path, flickr: dict[str, list[str]], name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name}: is not as it was published \(.*\); fetch it again$"):
        said(tmp_path)


def test_of_cocos_captions_the_first_five_of_a_photo_count(tmp_path: Path) -> None:
    captions = trees.captions_of(3)
    trees.write_photos(tmp_path / "val2017", list(captions))
    trees.coco(tmp_path, captions)
    assert said(tmp_path, "coco-captions") == {name: tuple(texts) for name, texts in captions.items()}


def test_a_wrong_folder_is_answered_with_how_the_data_set_must_lie(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no annotations/captions_val2017\.json .* photos lie in val2017/"):
        said(tmp_path, "coco-captions")


def test_recall_is_that_of_torchmetrics_on_features_taken_one_by_one(
    tmp_path: Path, flickr: dict[str, list[str]], model: SamClip
) -> None:
    trees.karpathy(tmp_path, flickr, rest="test")
    asked = Asked(model, tmp_path, (128,))
    (task,) = retrieval("flickr30k", asked)
    found = measure(task, asked)

    # Rendered scenes are squares of 128 pixels, which nothing resizes.
    photos = np.stack([model.look(render(trees.FIRST + n, 128).image, 128).image_features for n in range(COUNT + 1)])
    texts = model.words.encode([text for own in flickr.values() for text in own])
    # torchmetrics finds nothing whose score is not above 0.
    similarities, own = torch.tensor(texts @ photos.T).double() + 1, torch.arange(len(texts)) // 5
    relevant = own[:, None] == torch.arange(len(photos))
    for k in (1, 5, 10):
        # Recall of one relevant photo is a hit; of five relevant captions any is.
        for way, metric, scores, right in (
            ("text to image", RetrievalRecall(top_k=k), similarities, relevant),
            ("image to text", RetrievalHitRate(top_k=k), similarities.T, relevant.T),
        ):
            queries = torch.arange(scores.shape[0])[:, None].expand_as(scores)
            expected = float(metric(scores.flatten(), right.flatten(), indexes=queries.flatten()))
            assert found.measures[f"{way} R@{k}"] == pytest.approx(expected, abs=1e-6)
    assert found.measures["text to image R@1"] < 1


def test_places_are_those_of_a_stable_sort(rng: np.random.Generator) -> None:
    photos, counts = spread(rng, 600), rng.integers(1, 6, 600)
    photos[300:] = photos[:300]  # ties
    captions = [spread(rng, count) for count in counts]
    by_text, by_photo = places(photos, captions)
    texts, start = np.concatenate(captions), 0
    for number, own in enumerate(captions):
        for text, place in zip(own, by_text[number], strict=True):
            assert np.argsort(-(photos @ text), kind="stable").tolist().index(number) == place
        order = np.argsort(-(texts @ photos[number]), kind="stable").tolist()
        assert min(order.index(start + each) for each in range(len(own))) == by_photo[number]
        start += len(own)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def spread(rng: np.random.Generator, count: int) -> Floats:
    """Features of small whole numbers, so that products are exact and often equal."""
    return rng.integers(-2, 3, (count, 6)).astype(np.float32)


def test_a_hit_is_any_of_a_photos_captions_by_hand() -> None:
    # Photo 0 points along x, photo 1 along y. Both captions of photo 1 and one of photo 0's point along y.
    x, y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    by_text, by_photo = places(np.stack([x, y]), [np.stack([y, 0.9 * x]), np.stack([0.5 * y, 0.8 * y])])
    assert [each.tolist() for each in by_text] == [[1, 0], [0, 0]]
    assert by_photo.tolist() == [0, 1]  # photo 1: caption 0 of photo 0 comes first, then its own second


def test_the_best_and_the_worst_photos_are_told_and_drawn(
    tmp_path: Path, flickr: dict[str, list[str]], model: SamClip
) -> None:
    trees.karpathy(tmp_path, flickr, rest="test")
    asked = Asked(model, tmp_path, (128,))
    (task,) = retrieval("flickr30k", asked)
    found = measure(task, asked)
    sample = task.samples[0]
    # Four of five captions find their photo first, the fifth finds the next photo.
    assert -1.0 <= task.goodness(found.outcomes[sample.key]) <= -0.2
    assert task.picture(sample, found.outcomes[sample.key]).shape == (960, 960, 3)


def test_a_tree_of_rendered_scenes_gives_the_recall_of_eval_synthetic(tmp_path: Path, model: SamClip) -> None:
    """Where the protocol is the same: scenes with one caption each, at the smallest size."""
    count = 60
    chosen: dict[str, Floats] = {}
    for scene in synthetic.scenes(20_000, 4 * count, 128, most=4):
        chosen.setdefault(scene.caption, scene.image)
    captions = {f"{number}.jpg": [text] for number, text in enumerate(list(chosen)[:count])}
    (tmp_path / "val2017").mkdir()
    for name, (text,) in captions.items():
        Image.fromarray(chosen[text]).save(tmp_path / "val2017" / name, "PNG")
    trees.coco(tmp_path, captions)
    asked = Asked(model, tmp_path, (128,))
    (task,) = retrieval("coco-captions", asked)
    assert measure(task, asked).measures["text to image R@1"] == synthetic.retrieval(model, count)
