"""Groups: 4-bit weights, or fewer bits, with an integer scale for each 32 inputs of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recurc.ir.program import LinearRef
from recurc.storage.form import Dequantization, Form, LayerSection, Weights, floats_section, in_parts, of_parts
from recurc.storage.packings.narrow import Narrow
from recurc.storage.packings.packing import GROUP, Groups, Packing
from recurc.types import F32Array, I16Array, I32Array, U8Array


@dataclass(frozen=True)
class Grouped(Form):
    """w = scale * (m * q): four bits a weight, and a byte for each group of 32.

    A form of fewer bits derives from it: with a way to store them in its `narrow`, a `suffix`, the C function that widens its
    tiles to this one's, and weights of its own.
    """

    narrow: ClassVar[Narrow | None] = None
    suffix = "g32"
    grouped = True

    @property
    def width(self) -> int:
        """Bits of q as it is stored."""
        return 4 if self.narrow is None else 4 * self.narrow.few // self.narrow.many

    @property
    def bits(self) -> float:
        return self.width + 8 / GROUP

    @property
    def wide_form(self) -> Form | None:
        return None if self.narrow is None else GROUPED

    def bytes_of(self, n: int, k: int, pad: int = 4) -> int:
        return n * (-(-k * self.width // (8 * pad)) * pad + 4 + -(-k // GROUP))

    def beside(self, k: int, packing: Packing) -> int:
        return 4 + -(-k // GROUP)

    def codec(self, packing: Packing) -> Groups:
        return packing.groups(packing, self.narrow)

    def sections(self, ref: LinearRef, packing: Packing) -> tuple[LayerSection, ...]:
        codec, parts, n, k = self.codec(packing), ref.parts, ref.part_n, ref.k
        return (
            LayerSection(
                "weights", "q", codec.part_bytes(n, k) * parts,
                lambda weights: in_parts(parts, codec.pack, _grouped(weights).q),
                lambda data: of_parts(parts, lambda part: codec.unpack(part, n, k), data),
            ),
            floats_section("scales", "scale", ref.n, lambda weights: weights.scale),
            LayerSection(
                "groups", "m", codec.scale_bytes(n, k) * parts,
                lambda weights: in_parts(parts, codec.pack_scales, _grouped(weights).m),
                lambda data: of_parts(parts, lambda part: codec.unpack_scales(part, n, k), data),
            ),
        )  # fmt: skip

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        return GroupWeights(fields["q"], fields["scale"], fields["m"])

    def misfit(self, weights: Weights) -> str:
        q = _grouped(weights).q
        return "" if q.min(initial=0) >= -8 and q.max(initial=0) <= 7 else "q leaves -8..7"


GROUPED = Grouped()


def spread(groups: np.ndarray, k: int) -> np.ndarray:
    """One value for each group [N, groups] -> one for each input [N, k]."""
    return np.repeat(groups, GROUP, axis=1)[:, :k]


@dataclass(frozen=True)
class GroupWeights(Weights):
    """w = scale * (m * q): an integer scale m for each 32 inputs of an output channel.

    q [N, K] int16 -8..7, scale float32 [N] of either sign, m uint8 [N, ceil(K / 32)]. m * q is an integer, so a product with
    it is exact.
    """

    q: I16Array
    scale: F32Array
    m: U8Array

    @property
    def form(self) -> Form:
        return GROUPED

    @property
    def shape(self) -> tuple[int, int]:
        return self.q.shape[0], self.q.shape[1]

    @property
    def integers(self) -> I32Array:
        """m * q, int32 [N, K], magnitudes up to 2040."""
        return self.q.astype(np.int32) * spread(self.m, self.q.shape[1]).astype(np.int32)

    @property
    def zero(self) -> U8Array:
        return np.zeros(len(self.q), np.uint8)

    def dequantized(self) -> F32Array:
        """float32 [N, K]."""
        integers: F32Array = self.integers.astype(np.float32)
        return integers * self.scale[:, None]

    def dequantization(self) -> Dequantization:
        return Dequantization(self.q, "int4", (self.m * self.scale[:, None]).astype(np.float32), block=GROUP)


def _grouped(weights: Weights) -> GroupWeights:
    assert isinstance(weights, GroupWeights)  # a form is asked for its own weights
    return weights
