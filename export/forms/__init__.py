"""The export-friendly form of each module of `model/`: the same weights and answers, but only ops that engines take.

A test compares every form with the module that it stands for. Nothing here writes a file or knows a target's tools.
"""
