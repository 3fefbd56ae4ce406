"""int8: per-output-channel symmetric weights, -127..127."""

from __future__ import annotations

import numpy as np

from recurc.quant.weights import Precision
from recurc.storage import INT8
from recurc.storage.channel import IntWeights


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> IntWeights:
    """scale = max|row| / 127; a zero row gets scale 1."""
    w = np.asarray(w, dtype=np.float32)
    peak = np.abs(w).max(axis=1)
    scale = np.where(peak > 0, np.maximum(peak / np.float32(127), np.float32(2.0**-96)), 1).astype(np.float32)
    q = np.clip(np.rint(w / scale[:, None]), -127, 127).astype(np.int16)
    return IntWeights(8, q, scale, np.zeros(len(w), dtype=np.uint8))


PRECISION = Precision("int8", INT8, quantize, summary="int8 per channel, int8 activations per row")
