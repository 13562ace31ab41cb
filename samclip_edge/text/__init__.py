"""Text: names and templates as people give them, the tokenizer, and words as features by a bundle's text encoder."""

from samclip_edge.moved import old_names

__getattr__ = old_names(__name__)
