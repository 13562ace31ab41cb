"""Cases for every op of the MIL interpreter: a program of that op, and what torch makes of the same inputs."""

from mil_cases import arithmetic, shapes, weights

CASES = {**arithmetic.CASES, **shapes.CASES, **weights.CASES}

__all__ = ["CASES"]
