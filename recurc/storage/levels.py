"""Two bits a weight: four levels for each output channel, and a zero point on a level or half way between two.

Half steps matter where there are so few: of the four levels, two then lie on either side of zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recurc.storage.channel import IntWeights, PerChannel
from recurc.storage.form import Form, Weights

LARGEST = 6  # of q and zero: levels lie 2 apart


@dataclass(frozen=True)
class FourLevels(PerChannel):
    """w = scale * (q - zero): q 0, 2, 4 or 6, zero 0..6."""

    width: int = 2

    @property
    def kernel_form(self) -> PerChannel:
        return self

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        return LevelWeights(2, fields["q"], fields["scale"], fields["zero"])

    def misfit(self, weights: Weights) -> str:
        q, zero = weights.integers, weights.zero
        if zero.max(initial=0) > LARGEST:
            return f"zero leaves 0..{LARGEST}"
        fits = q.min(initial=0) >= 0 and q.max(initial=0) <= LARGEST and not (q & 1).any()
        return "" if fits else "q is not one of 0, 2, 4, 6"


INT2 = FourLevels()


@dataclass(frozen=True)
class LevelWeights(IntWeights):
    """w = scale * (q - zero) per output channel; q [N, K] int16 0, 2, 4 or 6, scale float32 [N], zero uint8 [N] 0..6."""

    @property
    def form(self) -> Form:
        return INT2
