"""`export --target coreml` leaves no bundle of a faulty conversion or of bad options, and names them in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import Ran

from samclip_edge import data
from samclip_edge.errors import ParityError
from samclip_edge.export.targets.coreml import export_coreml
from samclip_edge.runtimes.interpreters.mil_ops import OPS

SIZE = 128


def test_a_faulty_conversion_leaves_no_bundle_and_names_the_op(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "gelu", lambda x, mode: x)  # as a converter would have it that loses an activation
    with pytest.raises(ParityError, match=r"image_encoder.mlpackage, size_128: .* at gelu 'gelu'"):
        export_coreml(data.CHECKPOINTS["tiny"], tmp_path / "bundle", [SIZE], ["cat"], precision="fp32")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "coreml", "--minimum-target", "iOS15"), "iOS16, iOS17, iOS18"),
        (("--target", "tflite"), "onnx, coreml"),
        (("--precision", "palette6"), "for onnx"),
        (("--image-input",), "--image-input: is of --target coreml only"),
        (("--target", "coreml", "--precision", "int8", "--photo", "x.jpg"), "for onnx"),
    ],
)
def test_bad_options_are_named_in_a_line(
    tmp_path: Path, run: Callable[..., Ran], options: tuple[str, ...], said: str
) -> None:
    ran = run("export", "--model", "tiny", "-o", tmp_path / "bundle", *options)
    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "bundle").exists()
