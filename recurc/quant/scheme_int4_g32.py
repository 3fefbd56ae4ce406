"""int4-g32: symmetric weights -8..7 in groups of 32 inputs of a channel, a scale a group: four bits and a quarter a weight."""

from __future__ import annotations

import numpy as np

from recurc.quant import asymmetric, grouped
from recurc.quant.weights import Precision
from recurc.storage import GROUPED
from recurc.storage.grouped import GroupWeights

LEVELS = grouped.Levels(15, zero=8)


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> GroupWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    return GroupWeights(*grouped.find(w, moment, method, LEVELS))


PRECISION = Precision(
    "int4-g32",
    GROUPED,
    quantize,
    methods=asymmetric.METHODS,
    advised=False,
    summary="int4 with a scale for each 32 inputs of a channel, calibrated, int8 activations per row",
)
