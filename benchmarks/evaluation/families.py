"""Every task of `samclip-edge eval` that runs on a data set, and the family that it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from samclip_edge.benchmarks.evaluation.caption_sets import CAPTION_SETS
from samclip_edge.benchmarks.evaluation.class_sets import CLASS_SETS
from samclip_edge.benchmarks.evaluation.classification import classification
from samclip_edge.benchmarks.evaluation.instance_sets import INSTANCE_SETS
from samclip_edge.benchmarks.evaluation.instances import instances
from samclip_edge.benchmarks.evaluation.label_sets import LABEL_SETS
from samclip_edge.benchmarks.evaluation.retrieval import retrieval
from samclip_edge.benchmarks.evaluation.semantic import semantic
from samclip_edge.benchmarks.evaluation.task import Asked, Task
from samclip_edge.benchmarks.evaluation.words import WORD_SETS, words

FAMILIES: dict[str, Callable[[str, Asked], list[Task]]] = {
    **dict.fromkeys(CLASS_SETS, classification),
    **dict.fromkeys(CAPTION_SETS, retrieval),
    **dict.fromkeys(LABEL_SETS, semantic),
    **dict.fromkeys(INSTANCE_SETS, instances),
    **dict.fromkeys(WORD_SETS, words),
}  # by the name of a task: what makes its columns
