"""The device's arithmetic: the product is scaled, then added."""

from __future__ import annotations

import numpy as np

from recurc.quant import arith
from recurc.quant.twin import OpTwin, Twin
from tests.ops.scaled_mix.op import ScaledMix


def apply(twin: Twin, op: ScaledMix, z: np.ndarray) -> np.ndarray:
    return arith.rms_norm(z + twin.constants["scaled_mix.scale"] * twin.linear(op.mix, z), op.norm.eps)


PART = OpTwin(apply)
