"""Files that ship with the package: the CLIP tokenizer, prompt templates, and photos to measure parity on."""

from pathlib import Path

FOLDER = Path(__file__).parent
TOKENIZER = FOLDER / "tokenizer.json"
TEMPLATES = FOLDER / "templates.json"


def photos() -> list[Path]:
    """The photos that ship with the package, in the order of their names."""
    return sorted((FOLDER / "photos").glob("*.jpg"))
