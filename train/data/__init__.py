"""The data of a run. Nothing here imports a model, a loss or a trainer.

`places` finds the files that a recipe names, `shards` opens tar shards, `annotations` reads masks beside images, and
`pairs` brings the two together. `files` reads images by number, and `sources` says which image, crop and masks belong
to a number. `stream` reads tar shards from beginning to end instead. `batches` makes the batches of each step from
either, and `loading` has them made ahead. `prompts` draws a prompt for each mask, and `regions` finds the regions that
patches learn from. `stored` reads the stored answers of the teachers.
"""

from samclip_edge.moved import old_names

__getattr__ = old_names(__name__)
