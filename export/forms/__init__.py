"""The export-friendly form of each module: the weights of `model/`, the same answers, and only what an engine takes.

A test holds every form against the module that it stands for. Nothing here writes a file or knows a target's tools.
"""
