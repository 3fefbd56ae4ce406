"""int2: per-output-channel asymmetric weights, 0..3 with one zero point per channel: half of int4's flash.

Two bits leave a single run far from its model's answers, and runs in other forms of the puzzle (`recurc.solve`) bring them
back. What turns answers into tokens and margins stays at four bits: heads are a small part of the weights, and every answer
passes through them.
"""

from __future__ import annotations

import numpy as np

from recurc.quant import asymmetric
from recurc.quant.weights import Precision
from recurc.storage import INT2
from recurc.storage.channel import IntWeights


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> IntWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    return asymmetric.quantize(w, moment, method, 2)


PRECISION = Precision(
    "int2",
    INT2,
    quantize,
    methods=asymmetric.METHODS,
    heads="int4",
    summary="int2 per channel, calibrated, heads int4, int8 activations per row",
)
