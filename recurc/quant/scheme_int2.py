"""int2: four levels per output channel, and a zero point on a level or half way between two: half of int4's flash.

Two bits leave a single run far from its model's answers, and runs in other forms of the puzzle (`recurc.solve`) bring them
back. What turns answers into tokens and margins stays at four bits: heads are a small part of the weights, and every answer
passes through them.
"""

from __future__ import annotations

import numpy as np

from recurc.quant import asymmetric
from recurc.quant.weights import Precision
from recurc.storage import INT2
from recurc.storage.levels import LevelWeights

# With four levels the best range is near 3 standard deviations wide, about half of a row's own.
LEVELS = asymmetric.Levels(
    3, parts=2, clips=tuple(np.linspace(1.0, 0.4, 31).tolist()), feedback_clips=(1.0, 0.9, 0.8, 0.7, 0.62, 0.55, 0.48, 0.42)
)


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> LevelWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    level, scale, zero = asymmetric.find(w, moment, method, LEVELS)
    q, zero = 2 * level, 2 * zero
    plain = (np.asarray(w) == 0).all(axis=1)
    return LevelWeights(2, q.astype(np.int16), np.where(plain, 1, scale / 2).astype(np.float32), zero.astype(np.uint8))


PRECISION = Precision(
    "int2",
    INT2,
    quantize,
    methods=asymmetric.METHODS,
    heads="int4",
    summary="int2 per channel, calibrated, heads int4, int8 activations per row",
)
