"""Measures a bundle on the data sets of the paper's tables, as they are published, by the paper's protocols.

A family of tasks is a file: `classification`, `retrieval`, `instances`, `semantic`. A data set is an entry of its
family's table. `task` says what a family gives, `run` measures it, and `report` tells what came out. `families` lists
them all.
"""
