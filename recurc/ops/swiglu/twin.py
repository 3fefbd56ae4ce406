"""A SwiGLU in NumPy with the device's arithmetic."""

from __future__ import annotations

import numpy as np

from recurc.ops.swiglu.shape import SwiGlu
from recurc.quant import arith
from recurc.quant.twin import Twin


def mixed(twin: Twin, op: SwiGlu, x: np.ndarray) -> np.ndarray:
    """norm(x + SwiGLU of x) of rows x [..., k]."""
    gate, up = np.split(twin.linear(op.gate_up, x), 2, axis=-1)
    return arith.rms_norm(x + twin.linear(op.down, arith.silu(gate) * up), op.norm.eps)
