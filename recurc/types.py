"""Names of array types, as annotations have them. Shapes stand in the docstrings."""

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
