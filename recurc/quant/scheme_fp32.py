"""fp32: no quantization; the yardstick."""

from __future__ import annotations

import numpy as np

from recurc.quant.weights import Precision
from recurc.storage import FP32
from recurc.storage.fp32 import FloatWeights


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> FloatWeights:
    """Weights as they are, float32 [N, K]."""
    return FloatWeights(np.ascontiguousarray(w, dtype=np.float32))


PRECISION = Precision("fp32", FP32, quantize, summary="fp32 weights and activations")
