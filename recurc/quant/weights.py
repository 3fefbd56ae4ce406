"""Quantized weights: the stored form that every integer scheme ends in, and the registry of precisions.

A precision is one module in this package that defines `PRECISION` (a `Precision`); nothing else lists them.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Iterable, Optional, Union

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError

GROUP = 32  # inputs of a channel that share a scale in `GroupWeights`
GROUPED_BITS = 4.25  # bits a weight of those: four, and a byte for each group; it tells them from plain int4


@dataclass(frozen=True)
class IntWeights:
    """w = scale * (q - zero) per output channel.

    q [N, K] int16 (int8: -127..127, int4: 0..15, int3: 0..7), scale float32 [N], zero uint8 [N] (0 for int8).
    """

    bits: int
    q: np.ndarray
    scale: np.ndarray
    zero: np.ndarray

    def dequantized(self) -> np.ndarray:
        """float32 [N, K]."""
        centred = self.q.astype(np.float32) - self.zero.astype(np.float32)[:, None]
        return centred * self.scale[:, None]

    @property
    def stored_bytes(self) -> int:
        """Bytes in flash, see `bytes_of`."""
        return bytes_of(*self.q.shape, self.bits)


@dataclass(frozen=True)
class GroupWeights:
    """w = scale * (m * q): an integer scale m for each 32 inputs of an output channel.

    q [N, K] int16 -8..7, scale float32 [N] of either sign, m uint8 [N, ceil(K / 32)]. m * q is an integer, so a product with
    it is exact.
    """

    q: np.ndarray
    scale: np.ndarray
    m: np.ndarray
    bits: float = GROUPED_BITS

    @property
    def integers(self) -> np.ndarray:
        """m * q, int32 [N, K], magnitudes up to 2040."""
        return self.q.astype(np.int32) * spread(self.m, self.q.shape[1]).astype(np.int32)

    def dequantized(self) -> np.ndarray:
        """float32 [N, K]."""
        return self.integers.astype(np.float32) * self.scale[:, None]

    @property
    def stored_bytes(self) -> int:
        """Bytes in flash, see `bytes_of`."""
        return bytes_of(*self.q.shape, self.bits)


def spread(groups: np.ndarray, k: int) -> np.ndarray:
    """Values a group [N, groups] -> a column [N, k]."""
    return np.repeat(groups, GROUP, axis=1)[:, :k]


@dataclass(frozen=True)
class FloatWeights:
    """Plain fp32 weights w [N, K]."""

    w: np.ndarray
    bits: int = 32

    def dequantized(self) -> np.ndarray:
        return self.w

    @property
    def stored_bytes(self) -> int:
        """Bytes in flash, see `bytes_of`."""
        return bytes_of(*self.w.shape, self.bits)


def bytes_of(n: int, k: int, bits: float, pad: int = 4) -> int:
    """Bytes that n channels of k weights take: rows padded to `pad` bytes, channels' scales, zero points or groups' scales."""
    if bits == 32:
        return 4 * n * k
    row = -(-k * int(bits) // (8 * pad)) * pad
    beside = -(-k // GROUP) if bits == GROUPED_BITS else int(bits < 8)
    return n * (row + 4 + beside)


Weights = Union[IntWeights, GroupWeights, FloatWeights]
# (weights [N, K] float32, second moment of the layer's inputs [K, K] or None, method) -> stored weights
Quantizer = Callable[[np.ndarray, Optional[np.ndarray], str], Weights]


@dataclass(frozen=True)
class Precision:
    """One way to store weights.

    bits: a weight takes, what belongs to groups of weights included; no two stored forms have the same number.
    `methods` are the calibrations it knows, best first; `lossy` precisions exist for comparison and `build` refuses
    them unless it is allowed. advised: whether it is proposed where weights do not fit.
    """

    name: str
    bits: float
    quantize: Quantizer
    methods: tuple[str, ...] = ("none",)
    lossy: bool = False
    advised: bool = True
    summary: str = ""

    def method(self, wanted: Optional[str]) -> str:
        """The calibration method that is used where `wanted` is asked for: that one if it is known here, else the best."""
        return wanted if wanted in self.methods else self.methods[0]


@lru_cache(maxsize=1)
def precisions() -> dict[str, Precision]:
    """All precisions by name, found in the modules of this package."""
    found = {}
    package = importlib.import_module(__package__)
    for name in sorted(name for folder in package.__path__ for name in os.listdir(folder)):
        if name.startswith("scheme_") and name.endswith(".py"):
            precision = importlib.import_module(f"{__package__}.{name.removesuffix('.py')}").PRECISION
            found[precision.name] = precision
    return dict(sorted(found.items(), key=lambda item: -item[1].bits))


def weight_bytes(shapes: Iterable[tuple[int, int]]) -> dict[str, int]:
    """Bytes of layers of these shapes [N, K] in every precision that is no mere yardstick, by name; rows end at whole bytes,
    so the alignment of an image comes on top."""
    shapes = tuple(shapes)
    return {name: sum(bytes_of(n, k, p.bits, pad=1) for n, k in shapes) for name, p in precisions().items() if not p.lossy}


def precision_named(name: str) -> Precision:
    """Precision by name.

    Raises:
        UsageError: no such precision.
    """
    known = precisions()
    if name not in known:
        raise UsageError(
            f"unknown precision {name!r}", where=argument("precision"), why="known are " + ", ".join(known),
            next="choose one of them; int4 is the default",
        )
    return known[name]
