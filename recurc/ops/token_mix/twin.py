"""Token mixing in NumPy with the device's arithmetic."""

from __future__ import annotations

import numpy as np

from recurc.ops.swiglu.twin import mixed
from recurc.ops.token_mix.op import TokenMix
from recurc.quant.twin import OpTwin, Twin


def apply(twin: Twin, op: TokenMix, z: np.ndarray) -> np.ndarray:
    return mixed(twin, op, np.ascontiguousarray(z.transpose(0, 2, 1))).transpose(0, 2, 1)


PART = OpTwin(apply)
