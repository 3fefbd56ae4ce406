"""int3: per-output-channel asymmetric weights, 0..7 with one zero point per channel: three quarters of int4's flash."""

from __future__ import annotations

import numpy as np

from recurc.quant import asymmetric
from recurc.quant.weights import Precision
from recurc.storage import INT3
from recurc.storage.channel import IntWeights


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> IntWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    return asymmetric.quantize(w, moment, method, 3)


PRECISION = Precision(
    "int3", INT3, quantize, methods=asymmetric.METHODS, summary="int3 per channel, calibrated, int8 activations per row"
)
