"""int4: per-output-channel asymmetric weights, 0..15 with one zero point per channel; the default precision."""

from __future__ import annotations

import numpy as np

from recurc.quant import asymmetric
from recurc.quant.weights import Precision
from recurc.storage import INT4
from recurc.storage.channel import IntWeights


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> IntWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    return asymmetric.quantize(w, moment, method, 4)


PRECISION = Precision(
    "int4", INT4, quantize, methods=asymmetric.METHODS, summary="int4 per channel, calibrated, int8 activations per row"
)
