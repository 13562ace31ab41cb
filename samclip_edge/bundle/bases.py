"""What each preset costs and which weights it takes: what a person wants to know before choosing. Imports nothing."""

from __future__ import annotations

from typing import NamedTuple


class Base(NamedTuple):
    """A preset, as `init --help` lists it."""

    parameters: float  # of the image encoder, in millions
    multiply_adds: (
        float  # of the image encoder, exported, for one photo of 1024 x 1024 pixels, in thousands of millions
    )
    weights: str


BASES = {
    "vit_b": Base(89.7, 470.9, "SAM ViT-B (sam_vit_b_01ec64.pth), and the text tower of a CLIP ViT-L-14"),
    "vit_l": Base(308.3, 1425.4, "SAM ViT-L (sam_vit_l_0b3195.pth), and the same text tower"),
    "vit_h": Base(637.0, 2833.0, "SAM ViT-H (sam_vit_h_4b8939.pth), and the same text tower"),
    "mobile": Base(5.7, 38.4, "MobileSAM (mobile_sam.pt), and the text tower of a CLIP ViT-B-16"),
    "radio": Base(124.1, 767.2, "C-RADIOv3-B (a folder), SAM ViT-H, and the text tower of DFN's CLIP ViT-H-14-378"),
    "photo": Base(3.7, 17.4, "EfficientNet-Lite0, by the recipe of the same name; for photos, at 256 and 384"),
    "tiny": Base(1.5, 16.3, "no public ones: for trying out and for tests, at 128 and 256"),
}
SIDE_BY_SIDE = "sam+clip"  # which has no base of its own
_TWO = (
    "a SAM of a base above and a CLIP of open_clip (MODEL:FILE), as two models: names without training; "
    "what the base costs, and CLIP's part, as 17.6 G for ViT-B-16 and 4.4 G for ViT-B-32"
)


def listed() -> list[tuple[str, str]]:
    """The presets and a line on each."""
    rows = [
        (name, f"{base.parameters:.1f} M, {base.multiply_adds:,.0f} G: {base.weights}") for name, base in BASES.items()
    ]
    return [*rows, (SIDE_BY_SIDE, _TWO)]
