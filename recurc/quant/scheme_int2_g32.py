"""int2-g32: four levels, -3, -1, 1 and 3, in groups of 32 inputs of a channel, a scale a group: 2.25 bits a weight.

Levels are as many on either side of zero, and none is zero itself: it is the steps of a group that fit its weights. Heads stay
at four bits, as int2's do and for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recurc.quant import asymmetric, grouped, scheme_int2
from recurc.quant.weights import Precision
from recurc.storage.form import Form, Weights
from recurc.storage.grouped import Grouped, GroupWeights
from recurc.storage.packings.narrow import Narrow
from recurc.types import U32Array

LEVELS = grouped.Levels(3, zero=1.5, apart=2, clips=scheme_int2.LEVELS.clips, feedback_clips=scheme_int2.LEVELS.feedback_clips)


class _Odd(Narrow):
    """One word for every two, as of int2: the middle bits of operands -3, -1, 1 and 3, whose lowest is 1 and whose upper two
    are the sign. Padding, 0 or -8, is stored as 0 and becomes 1; the activations that it meets are 0."""

    many, few = 2, 1
    _middles, _signs, _lowest = np.uint32(0x66666666), np.uint32(0x44444444), np.uint32(0x11111111)
    _one = np.uint32(1)

    def _beyond(self, words: U32Array) -> U32Array:
        some = words | words >> self._one | words >> np.uint32(2)  # else padding
        return np.asarray((words >> np.uint32(3) ^ words >> np.uint32(2)) & some & self._lowest)

    def _join(self, words: U32Array) -> U32Array:
        middles = words & self._middles
        return np.asarray(middles[:, :1] >> self._one | middles[:, 1:] << self._one)

    def _split(self, words: U32Array) -> U32Array:
        middles = np.concatenate((words << self._one & self._middles, words >> self._one & self._middles), axis=1)
        return np.asarray(middles | (middles & self._signs) << self._one | self._lowest)


@dataclass(frozen=True)
class FourLevelGroups(Grouped):
    """w = scale * (m * q), q one of -3, -1, 1, 3: two bits a weight, and a byte for each group of 32."""

    narrow = _Odd()
    suffix = "g2"
    widen = "rc_unpack_g2"

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        return FourLevelGroupWeights(fields["q"], fields["scale"], fields["m"])

    def misfit(self, weights: Weights) -> str:
        assert isinstance(weights, GroupWeights)
        return "" if np.isin(weights.q, (-3, -1, 1, 3)).all() else "q is not one of -3, -1, 1, 3"


FORM = FourLevelGroups()


@dataclass(frozen=True)
class FourLevelGroupWeights(GroupWeights):
    """w = scale * (m * q) as `GroupWeights` has it, q -3, -1, 1 or 3."""

    @property
    def form(self) -> Form:
        return FORM


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> FourLevelGroupWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    return FourLevelGroupWeights(*grouped.find(w, moment, method, LEVELS))


PRECISION = Precision(
    "int2-g32",
    FORM,
    quantize,
    methods=asymmetric.METHODS,
    advised=False,
    heads="int4",
    summary="int2 with a scale for each 32 inputs of a channel, calibrated, heads int4, int8 activations per row",
)
