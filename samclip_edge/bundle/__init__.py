"""The bundle: what a model is made of, what its graphs take and give, the folder they lie in, and running them.

`spec` and `contract` say what there is, `manifest` and `folder` where it lies, `sessions` runs it, `verify` checks it.
Nothing here reads a photo, a word or a checkpoint, and nothing imports torch.
"""

from samclip_edge.moved import old_names

__getattr__ = old_names(__name__)
