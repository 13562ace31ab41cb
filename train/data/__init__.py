"""The data of a run. Nothing here imports a model, a loss or a trainer.

`places` finds the files that a recipe names, `shards` opens tar shards, and `annotations` reads masks beside images.
`files` reads images from all of them. `sources` says which image, crop and masks belong to a number.
`batches` makes the batches of each step. `prompts` draws a prompt for each mask, and `regions` finds the regions that
patches learn from. `stored` reads the stored answers of the teachers.
"""

from samclip_edge.moved import old_names

__getattr__ = old_names(__name__)
