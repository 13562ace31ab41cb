"""Probing (the paper's Tables 3 and 4): what a small head learns from a frozen backbone, as a measure of the backbone.

`recipe` has the settings, `backbones` the frozen image encoders of the merged model, of SAM and of CLIP, `heads` what
is trained on them, `data` the batches, and `probe` the training and the measuring. Data sets are read elsewhere.
"""
