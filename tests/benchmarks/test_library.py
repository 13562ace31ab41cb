"""What `bench --library` measures with: every store answers as an exact search does, and recall is counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees_instances import annotation, write_coco

from samclip_edge import SamClip, data
from samclip_edge.benchmarks.library import queries, stores
from samclip_edge.benchmarks.library.indexing import rates
from samclip_edge.benchmarks.library.vectors import nearest, noisy, real_features
from samclip_edge.benchmarks.library.worth import BOTH, worth
from samclip_edge.progress import silent
from samclip_edge.rendered import render

ROWS = 2_000


@pytest.fixture(scope="module")
def shapes() -> SamClip:
    return SamClip.load(data.TINY)


@pytest.fixture(scope="module")
def features(shapes: SamClip) -> np.ndarray:
    return np.concatenate(list(noisy(real_features(shapes), ROWS, seed=0)))


@pytest.fixture(scope="module")
def folder(features: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    asked = features[:20] + np.float32(0.01)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    np.save(folder / stores.FEATURES, features)
    np.save(folder / stores.QUESTIONS, asked)
    np.save(folder / stores.ANSWERS, np.argsort(-(asked @ features.T), axis=1)[:, : stores.TEN])
    return folder


@pytest.mark.parametrize("name", stores.STORES)
def test_a_store_finds_the_nearest(name: str, folder: Path) -> None:
    queries.remove(folder / stores.STORE)
    written = stores.write(name, ROWS, folder)
    assert written["bytes"] >= ROWS * 128, "a byte a number at least"
    found = stores.ask(name, ROWS, folder)
    assert len(found["seconds"]) == 20
    assert found["recall"] >= (0.8 if "graph" in name else 0.95)


def test_the_true_answer_is_found_in_parts(features: np.ndarray) -> None:
    wanted = np.argsort(-(features[:5] @ features.T), axis=1)[:, :7]
    assert np.array_equal(nearest(iter(np.array_split(features, 3)), features[:5], 7), wanted)


def test_noise_is_as_long_as_it_is_said_to_be() -> None:
    real = np.eye(128, dtype=np.float32)[:1]
    (made,) = noisy(real, 1000, seed=0)
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    assert made[:, 0].mean() == pytest.approx(0.8, abs=0.01), "1 / |(1, 0.75)|"


def test_a_library_of_noise_answers(shapes: SamClip, tmp_path: Path) -> None:
    found = queries.answered(shapes, real_features(shapes), 500, True, tmp_path)
    assert (found.photos, found.things) == (10, 500)
    assert len(found.warm) == 20
    assert min(found.cold) > max(found.warm)


def test_rates_are_of_all_photos(shapes: SamClip, tmp_path: Path) -> None:
    found = rates("tiny", shapes, 128, [str(path) for path in data.photos()], tmp_path, trained=False)
    assert len(found.encoding) == len(found.indexing) == len(found.things) == 3
    assert 1 <= found.found <= 50
    assert found.cost > 1
    assert list(tmp_path.iterdir()) == []


def test_worth_counts_pairs_and_leaves_out_other_photos_that_show_it(shapes: SamClip, tmp_path: Path) -> None:
    scenes = [render(seed, 256, most=1) for seed in range(30_000, 30_008)]
    kinds = sorted({scene.things[0].kind for scene in scenes})
    document = {
        "images": [{"id": k, "file_name": f"{k}.png", "height": 256, "width": 256} for k in range(len(scenes))],
        "annotations": [
            annotation(k, k, kinds.index(scene.things[0].kind), scene.things[0].mask) for k, scene in enumerate(scenes)
        ],
        "categories": [{"id": k, "name": kind} for k, kind in enumerate(kinds)],
    }
    write_coco(tmp_path / "coco", document, [scene.image for scene in scenes])
    found = worth(shapes, tmp_path / "coco", tmp_path, silent)
    assert found.photos == 8
    small = sum(scene.things[0].mask.sum() < 0.02 * 256 * 256 for scene in scenes)
    assert found.pairs == {"small": small, "others": 8 - small}
    assert set(found.recall) == {"photos", "photos, looked at as with things", BOTH}
    assert found.recall[BOTH]["others"] >= 0.75, "of a model that was taught these names"
    assert [each.name for each in tmp_path.iterdir()] == ["coco"]
