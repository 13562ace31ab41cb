"""The pairs of public weights that `get` makes a bundle of: a SAM for masks and a CLIP for names, both on the hub."""

from __future__ import annotations

from typing import NamedTuple

from samclip_edge.bundle.weights import bars_products


class Remote(NamedTuple):
    """A file of weights on the Hugging Face hub."""

    repository: str
    file: str
    megabytes: int
    license: str
    revision: str | None = None  # the commit to fetch; None: the latest
    sha256: str | None = None  # which it must have; None: the one that the hub publishes
    model: str = ""  # of a CLIP: its name in open_clip


class Pair(NamedTuple):
    """A SAM and a CLIP, and what the two are good for."""

    sam: Remote
    clip: Remote
    good_for: str

    @property
    def megabytes(self) -> int:
        """What is downloaded, where the hub's cache holds nothing of it."""
        return self.sam.megabytes + self.clip.megabytes

    @property
    def bound(self) -> Remote | None:
        """That of the two whose licence must be accepted first, because it allows research only."""
        return next((each for each in (self.sam, self.clip) if bars_products(each.license)), None)


_MOBILE_SAM = Remote(
    "dhkim2810/MobileSAM",
    "mobile_sam.pt",
    41,
    "Apache-2.0",
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
)
_SAM_VIT_B = Remote(
    "facebook/sam-vit-base",
    "model.safetensors",
    375,
    "Apache-2.0",
    revision="70c1a07f894ebb5b307fd9eaaee97b9dfc16068f",
)
_VIT_B_32 = Remote(
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "open_clip_model.safetensors",
    605,
    "MIT",
    revision="1a25a446712ba5ee05982a381eed697ef9b435cf",
    sha256="ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6",
    model="ViT-B-32",
)
_VIT_B_16 = Remote(
    "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
    "open_clip_model.safetensors",
    599,
    "MIT",
    revision="7288da5a0d6f0b51c4a2b27c624837a9236d0112",
    model="ViT-B-16",
)
_MOBILE_CLIP = Remote(  # the repository from which open_clip itself takes it
    "timm/MobileCLIP2-S0-OpenCLIP",
    "open_clip_model.safetensors",
    299,
    "apple-amlr",
    revision="095906d28bf54d7584dc411e8ffe448f34289e05",
    sha256="ab91a1a0c4330d6b1913e24d5035dfdea15423316aaec649610c6b1c6ddd0e95",
    model="MobileCLIP2-S0",
)

PAIRS = {
    "mobilesam+vit-b-32": Pair(_MOBILE_SAM, _VIT_B_32, "apps: the fastest that may be shipped"),
    "mobilesam+vit-b-16": Pair(_MOBILE_SAM, _VIT_B_16, "apps: better names; CLIP's part is four times the work"),
    "sam-vit-b+vit-b-16": Pair(_SAM_VIT_B, _VIT_B_16, "better masks, by twelve times the work of the encoder"),
    "mobilesam+mobileclip2-s0": Pair(_MOBILE_SAM, _MOBILE_CLIP, "research on phones, not products: the fastest"),
}
