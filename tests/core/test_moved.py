"""Names that programs imported before the rooms: they are still found, and say where they are now."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from samclip_edge import SamClip, moved
from samclip_edge.tasks.everything import Settings

# Every public class, function and constant of the modules that are no more, as they stood in the commit before.
BEFORE = {
    "bundle": "FORMAT MANIFEST Target BuilderName Precision File Parity Reference Step Graph Text Engines Manifest "
    "Bundle read_steps sha256 describe new_bundle",
    "contract": "GraphName SIZED Array Arrays Tensor Signature MEANINGS sized signature probe sample",
    "everything": "Settings",
    "export.coreml": "export_coreml Options",
    "export.export": "export_onnx",
    "export.tensorrt": "export_tensorrt",
    "formats": "Header read_header",
    "graphs": "INTERPRETERS Units on_a_mac gpus runs_here Engine Graphs",
    "image": "Pixels Floats Photo MAX_PIXELS read_photo check_photo check_photo_file resize clip_square Frame",
    "masks": "Bits Floats Box Rle Mask encode_rle decode_rle mask_box stability suppress",
    "pictures": "check_output save_picture color draw_masks draw_names",
    "prompts": "Floats NOTHING BACKGROUND FOREGROUND TOP_LEFT BOTTOM_RIGHT Prompts prepare points_of labels_of "
    "boxes_of mask_of",
    "spec": "PATCH CHANNELS MASK_STRIDE PIXEL_MEAN PIXEL_STD CLIP_MEAN CLIP_STD Activation Count Frozen EncoderSpec "
    "DecoderSpec ClipHeadSpec ClipVisionSpec TextSpec ModelSpec PRESETS",
    "text": "BACKGROUND clean tokenizer_json Tokenizer read_templates check_labels",
    "verify": "MAX_ERROR MIN_COSINE Row compare compare_to passes reference_of verify question",
    "words": "Floats vocabulary_names Words",
}


def test_every_old_module_is_held_here() -> None:
    assert set(BEFORE) == set(moved.HOMES)


@pytest.mark.parametrize("module", BEFORE)
def test_old_names_are_found_and_tell_the_new_ones(module: str) -> None:
    old = import_module(f"samclip_edge.{module}")
    for name in BEFORE[module].split():
        with pytest.warns(DeprecationWarning, match=rf"samclip_edge\.{module}\.{name} is samclip_edge\.\S+ now"):
            assert getattr(old, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        old.nothing_of_the_kind  # noqa: B018


def test_old_arguments_and_attributes_still_work(tiny: SamClip) -> None:
    assert Settings(score=0.5) == Settings(predicted_iou=0.5)
    assert tiny.graphs is tiny.sessions
    pixels = np.random.RandomState(0).randint(0, 255, (20, 30, 3)).astype(np.uint8)
    (mask,) = tiny.look(pixels).segment(points=[[3, 3]])
    assert mask.score == mask.predicted_iou == mask.to_json()["score"] == mask.to_json()["predicted_iou"]
