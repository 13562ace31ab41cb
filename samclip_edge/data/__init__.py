"""Files that ship with the package: the default model, the CLIP tokenizer, prompt templates, and photos for parity."""

from pathlib import Path

FOLDER = Path(__file__).parent
TOKENIZER = FOLDER / "tokenizer.json"
TEMPLATES = FOLDER / "clip_templates.json"  # CLIP's eighty, which a bundle has unless its export names others
CAPTIONS = FOLDER / "templates.json"  # the sentences that the text tower of the recipe `tiny` learns names in
RIVALS = FOLDER / "rivals.json"  # names that others are compared with, where a model has no rivals of its own
TINY = FOLDER / "tiny"  # the bundle that verbs run where none is named; its weights are a checkpoint
# The checkpoints that ship: tiny's, and that of `photo`, of photographs, whose masks are not good enough yet to run it.
CHECKPOINTS = {name: FOLDER / name / "model.safetensors" for name in ("tiny", "photo")}


def photos() -> list[Path]:
    """The photos that ship with the package, in the order of their names."""
    return sorted((FOLDER / "photos").glob("*.jpg"))
