"""How right the answers of a loaded model are, on rendered scenes: needs no data set and no torch.

`export` tells by it what int8 costs, and `eval` and `train` what a model can do, so it lies below all of them.
"""
