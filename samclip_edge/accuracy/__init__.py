"""Measures how accurate the answers of a loaded model are on rendered scenes. It needs no data set and no torch.

`export/costs.py` measures with it what int8 costs, and `samclip-edge eval` what a model can do.
"""
