"""int4-naive: one symmetric scale for the whole tensor, -7..7. It destroys reasoners; it is here to compare with."""

from __future__ import annotations

import numpy as np

from recurc.quant.weights import Precision
from recurc.storage import INT4
from recurc.storage.channel import IntWeights

_ZERO = 8  # stored form is unsigned


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> IntWeights:
    """scale = max|w| / 7 over the whole tensor."""
    w = np.asarray(w, dtype=np.float32)
    peak = np.abs(w).max()
    scale = np.float32(max(peak / np.float32(7), 2.0**-96)) if peak > 0 else np.float32(1)
    q = np.clip(np.rint(w / scale), -7, 7).astype(np.int16) + _ZERO
    n = len(w)
    return IntWeights(4, q, np.full(n, scale, dtype=np.float32), np.full(n, _ZERO, dtype=np.uint8))


PRECISION = Precision("int4-naive", INT4, quantize, lossy=True, summary="int4 per tensor, for comparison only")
