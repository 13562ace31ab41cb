"""The export-friendly forms of an image encoder: those of the file here that has the name of the encoder's kind.

Such a file has three things, each made of an encoder and the rows and columns of its tokens: `fixed`, a module for one
input size; `NeuralEngine`, the same in the layout of Apple's Neural Engine; and `mobile_gpu`, the same for the GPUs of
phones (`forms.batch_of_one`). All turn `image` into `tokens` and `embedding`, with the weights and the answers of the
encoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from samclip_edge.bundle.sizes import Size, grid
from samclip_edge.model.merged import MergedModel


def fixed_encoder(model: MergedModel, size: Size) -> nn.Module:
    """The image encoder of a model for one input size."""
    form: nn.Module = _forms(model).fixed(model.image_encoder, *grid(size))
    return form


def neural_engine_encoder(model: MergedModel, size: Size) -> nn.Module:
    """The image encoder of a model for one input size, in the layout of the Neural Engine."""
    form: nn.Module = _forms(model).NeuralEngine(model.image_encoder, *grid(size))
    return form


def mobile_gpu_encoder(model: MergedModel, size: Size) -> nn.Module:
    """The image encoder of a model for one input size, for the GPUs of phones."""
    form: nn.Module = _forms(model).mobile_gpu(model.image_encoder, *grid(size))
    return form


def _forms(model: MergedModel) -> Any:
    return import_module(f"samclip_edge.export.forms.{model.spec.encoder.kind}")
