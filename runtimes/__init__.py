"""The engines that run a bundle's graphs: one file or folder for each, behind the protocol in `base`.

A runtime imports its engine and `bundle/`. It knows nothing of photos, words, training or exporting.
"""
