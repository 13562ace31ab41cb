"""What each op of an ML Program does, in torch. Only the ops of our own graphs are here.

An op takes its inputs by the names that Apple gives them in the MIL specification (`coremltools`, converters/mil/mil/
ops/defs). An input is a tensor, or a plain number, string or list where the program holds such a constant. An op
computes in float32 or in whole numbers; `mil` rounds its result to the type that the program declares.
"""

from samclip_edge.runtimes.interpreters.mil_ops import arithmetic, shapes, weights  # noqa: F401  their import fills OPS
from samclip_edge.runtimes.interpreters.mil_ops.registry import OPS

__all__ = ["OPS"]
