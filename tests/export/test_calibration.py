"""Rivals and chances of a bundle: what export measures, what a checkpoint brings, what older bundles fall back to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samclip_edge import SamClip, data
from samclip_edge.bundle.manifest import Chances, Logistic
from samclip_edge.export.parity import parity_photos
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint
from samclip_edge.text.judge import Judge
from samclip_edge.text.names import read_names


def test_one_rival_in_twenty_passes_on_photos_that_nobody_described(tiny: SamClip) -> None:
    calibration = tiny.bundle.manifest.calibration
    assert calibration is not None
    assert "without knowing" in calibration.measured_on
    names = tiny.judge.rivals.names
    assert names == read_names(data.RIVALS)
    np.testing.assert_allclose(tiny.judge.rivals.features, tiny.words.features(names), atol=2e-5)
    for size in tiny.sizes:
        looked = [tiny.look(photo, size) for photo in parity_photos()]
        scores = np.array([[guess.score for guess in scene.classify(names)] for scene in looked])
        assert (scores > 0.5).mean() == pytest.approx(0.05, abs=1.5 / scores.size)
        found = [mask for scene in looked for mask in scene.find(names, refine=False)]
        assert len(found) / scores.size == pytest.approx(0.05, abs=1.5 / scores.size)


def test_a_checkpoints_own_chances_go_into_its_bundles(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Its rivals are read with the templates of the bundle; a vocabulary changes nothing of it."""
    model, _ = checkpoint.load(tiny_checkpoint)
    sizes = tuple(
        Chances(size=size, patches=Logistic(slope=2), mask=Logistic(offset=size), photo=Logistic(slope=0.5, offset=-1))
        for size in model.spec.sizes
    )
    measured = checkpoint.Calibrated(rivals=("red ring", "blue star"), measured_on="a test", sizes=sizes)
    path = checkpoint.save(model, tmp_path / "m.safetensors", checkpoint.Origin(note="a test", calibrated=measured))
    made = SamClip.load(export_onnx(path, tmp_path / "m", [128], ["cup"], templates=["a {}."]).folder)
    calibration = made.bundle.manifest.calibration
    assert calibration is not None
    assert (calibration.measured_on, calibration.sizes) == ("a test", sizes[:1])
    rivals = made.judge.rivals
    assert rivals.names == ["red ring", "blue star"]
    assert float(rivals.features[0] @ rivals.features[1]) < rivals.same
    # By hand: the odds of the one name against both rivals and the background, of a photo.
    scene = made.look(data.photos()[0])
    words = made.words.features(["cup", "background"])
    cosines = np.concatenate([words, rivals.features]) @ scene.encoded.image_features
    logits = made.words.logit_scale * cosines.astype(np.float64)
    log_odds = logits[0] - np.log(np.exp(logits[1:]).sum())
    (guess,) = scene.classify(["cup"])
    assert guess.score == pytest.approx(1 / (1 + np.exp(1 - 0.5 * log_odds)), rel=1e-4)


def test_older_bundles_have_their_vocabulary_or_cocos_names_for_rivals(tiny: SamClip, vocabulary_folder: Path) -> None:
    words = SamClip.load(vocabulary_folder)
    assert words.judge.rivals.names == read_names(data.RIVALS)
    for model, names in ((words, words.words.vocabulary), (tiny, read_names(data.RIVALS))):
        judge = Judge(model.words, model.bundle.manifest.model_copy(update={"calibration": None}))
        assert judge.rivals.names == names
        assert judge.chance("patches", 128, 0.0) == 0.5
        assert judge.chance("mask", 128, np.log(3)) == pytest.approx(0.75)
