"""The weights of others that a model is made of: what they are for, where they are from, and under which licence."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field

from samclip_edge.bundle.encoder_spec import Frozen
from samclip_edge.files import sha256

MASKS, NAMES = "image encoder and masks", "names"  # what weights are for
ENCODER = "image encoder and adaptors"  # of C-RADIO
CLASSIFIER = "image encoder and names"  # of EfficientNet-Lite
SEEN, READ = "teacher of names", "teacher of words"  # of models that only taught

# Of files that are known by their bytes: by their sha256, which many programs that fetch them hold them against.
LICENSES = {
    "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912": "Apache-2.0",  # sam_vit_b_01ec64.pth
    "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622": "Apache-2.0",  # sam_vit_l_0b3195.pth
    "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e": "Apache-2.0",  # sam_vit_h_4b8939.pth
    "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f": "Apache-2.0",  # mobile_sam.pt
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": "Apache-2.0",  # efficientnet-lite0-57934424.pth
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": "Apache-2.0",  # efficientnet-lite2-9656183e.pth
    # sentence-transformers/all-MiniLM-L6-v2, model.safetensors
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": "Apache-2.0",
    # laion/CLIP-ViT-B-32-laion2B-s34B-b79K, open_clip_model.safetensors
    "ac4f8c4b88af6d963118cbf40ad93176d092abbedfcb752601ae1866352656e6": "MIT",
    # timm/MobileCLIP2-S0-OpenCLIP, open_clip_model.safetensors
    "ab91a1a0c4330d6b1913e24d5035dfdea15423316aaec649610c6b1c6ddd0e95": "apple-amlr",
}
# Licences that let nobody ship what is made of the weights, by the hub's names for them.
_RESEARCH_ONLY = ("apple-amlr", "nsclv1", "nvidia-source-code-license")


def bars_products(license: str | None) -> bool:
    """Whether a licence is known to allow research only, and no product."""
    name = (license or "").lower()
    return name in _RESEARCH_ONLY or name.startswith("cc-by-nc")


class Weights(Frozen):
    """One file of weights that went into a model."""

    what: str  # what they are for
    file: str  # its name; or MODEL:TAG, where open_clip fetched it
    repository: str | None = None  # of the Hugging Face hub, ORG/NAME
    revision: str | None = None  # the commit of it
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    license: str | None = None  # as SPDX or the hub calls it; None: not known

    def __str__(self) -> str:
        """For people, in a line."""
        place = f"{self.repository} at {(self.revision or '?')[:12]}, " if self.repository else ""
        terms = f"licence {self.license}" if self.license else "licence not known"
        research = ", FOR RESEARCH ONLY" if bars_products(self.license) else ""
        return f"{place}{self.file}; {terms}{research}{f'; sha256 {self.sha256[:16]}' if self.sha256 else ''}"


def weights_of(sam: str | Path | None, clip: str | None, radio: Path | None = None) -> tuple[Weights, ...]:
    """What is known of the files that a model is made of.

    sam: SAM's file. clip: FILE, MODEL:FILE or MODEL:TAG; radio: the folder of C-RADIO; see `model.public.merged`. None
    where there is none.
    """
    given = ((MASKS, None if sam is None else str(sam)), (NAMES, clip))
    files = () if radio is None else _in_folder(radio)
    return (*files, *(described(what, name) for what, name in given if name is not None))


def _in_folder(radio: Path) -> tuple[Weights, ...]:
    """C-RADIO's files. The licence is what the hub page's README.md names, if it lies beside them."""
    page = radio / "README.md"
    text = page.read_text("utf-8", "replace") if page.is_file() else ""
    # `license` is "other" where `license_name` says which.
    found = [re.search(rf"^{field}:[ \t]*[\"']?([^\s\"']+)", text, re.M) for field in ("license_name", "license")]
    named = next((each[1] for each in found if each), None)
    return tuple(
        Weights(what=ENCODER, file=path.name, sha256=sha256(path), license=named)
        for path in sorted(radio.glob("*.safetensors"))
    )


def described(what: str, name: str) -> Weights:
    """What is known of one file: FILE, MODEL:FILE or MODEL:TAG."""
    path = Path(name if os.path.isfile(name) else name.partition(":")[2])
    if not path.is_file():
        return Weights(what=what, file=name)
    digest = sha256(path)
    return Weights(what=what, file=path.name, sha256=digest, license=LICENSES.get(digest))


def research_only(weights: tuple[Weights, ...]) -> str | None:
    """A line about those of the weights that are for research only; None where there are none."""
    bound = [f"{each.repository or each.file} ({each.license})" for each in weights if bars_products(each.license)]
    return f"for research only, by the licence of {' and '.join(bound)}" if bound else None
