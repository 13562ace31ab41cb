"""Text: names and templates as people give them, the tokenizer, and words as features by a bundle's text encoder."""
