"""Masks for prompts: points, boxes, and masks of the step before."""

from __future__ import annotations

import numpy as np

from samclip_edge.encoded import Encoded, Prompts
from samclip_edge.photo.masks import Mask


def segment(encoded: Encoded, prompts: Prompts) -> list[Mask]:
    """The best mask for each prompt; none for no prompt.

    A single click is ambiguous: of its three masks the one with the highest predicted IoU is taken. Anything else is
    answered by the token for unambiguous prompts (SAM's `select_masks`).
    """
    masks, predicted_ious = encoded.decode(prompts)
    best = 1 + predicted_ious[:, 1:].argmax(axis=1) if prompts.ambiguous else np.zeros(len(predicted_ious), int)
    return [encoded.mask(masks[i, k], float(predicted_ious[i, k])) for i, k in enumerate(best)]


def segment_all(encoded: Encoded, prompts: Prompts) -> list[list[Mask]]:
    """The three masks of each prompt, highest predicted IoU first: often the whole, a part, and a part of the part."""
    masks, predicted_ious = encoded.decode(prompts)
    orders = 1 + np.argsort(-predicted_ious[:, 1:], axis=1, kind="stable")
    return [[encoded.mask(masks[i, k], float(predicted_ious[i, k])) for k in order] for i, order in enumerate(orders)]
