"""Names of array types, as annotations have them. Shapes stand in the docstrings. What a float32 can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64Array = NDArray[np.float64]
F32Array = NDArray[np.float32]
I64Array = NDArray[np.int64]
I32Array = NDArray[np.int32]
U32Array = NDArray[np.uint32]
I16Array = NDArray[np.int16]
I8Array = NDArray[np.int8]
U8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

_BEYOND = 2.0**128 - 2.0**103  # from here on rounding gives infinity


def is_float32(number: float) -> bool:
    """Whether a number is one of 32 bits once it is rounded, or infinite itself; NaN is none."""
    return abs(number) < _BEYOND or abs(number) == float("inf")
