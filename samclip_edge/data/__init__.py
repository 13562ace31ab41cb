"""Files that ship with the package: two models, the CLIP tokenizer, prompt templates, and photos for parity."""

from pathlib import Path

FOLDER = Path(__file__).parent
TOKENIZER = FOLDER / "tokenizer.json"
TEMPLATES = FOLDER / "clip_templates.json"  # CLIP's eighty, which a bundle has unless its export names others
CAPTIONS = FOLDER / "templates.json"  # the sentences that the text tower of the recipe `tiny` learns names in
RIVALS = FOLDER / "rivals.json"  # names that others are compared with, where a model has no rivals of its own
PHOTO = FOLDER / "photo"  # the bundle that verbs run where none is named
TINY = FOLDER / "tiny"  # the bundle of rendered shapes, for tests
PAGE = FOLDER / "page"  # of `samclip-edge web`, as `make web` builds it
CHECKPOINTS = {bundle.name: bundle / "model.safetensors" for bundle in (PHOTO, TINY)}  # which hold their weights


def photos() -> list[Path]:
    """The photos that ship with the package, in the order of their names."""
    return sorted((FOLDER / "photos").glob("*.jpg"))
