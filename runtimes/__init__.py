"""The engines that run a bundle's graphs, one file or folder each, behind the protocol in `base`.

A runtime imports its engine and the core. It knows nothing of photos, words, training or exporting.
"""
