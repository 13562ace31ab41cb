"""Data of a run. Nothing here knows a model, a loss or a trainer.

`files` finds images, `sources` numbers them, `batches` makes steps of them; `prompts` and `regions` say what is asked
of them; `stored` holds what the teachers answered.
"""
