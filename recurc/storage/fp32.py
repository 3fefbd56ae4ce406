"""fp32: weights as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recurc.ir.program import LinearRef
from recurc.storage.form import Form, LayerSection, Weights, in_parts, of_parts
from recurc.storage.packings.packing import Codec, Packing
from recurc.types import F32Array


@dataclass(frozen=True)
class Fp32(Form):
    """binary32 weights; inputs are not quantized."""

    suffix = "f32"
    integer = False

    @property
    def bits(self) -> float:
        return 32

    def bytes_of(self, n: int, k: int, pad: int = 4) -> int:
        return 4 * n * k

    def beside(self, k: int, packing: Packing) -> int:
        return 0

    def codec(self, packing: Packing) -> Codec:
        return packing.floats(packing)

    def sections(self, ref: LinearRef, packing: Packing) -> tuple[LayerSection, ...]:
        codec = self.codec(packing)
        return (LayerSection(
            "weights", "w", codec.part_bytes(ref.part_n, ref.k) * ref.parts,
            lambda weights: in_parts(ref.parts, codec.pack, weights.dequantized()),
            lambda data: of_parts(ref.parts, lambda part: codec.unpack(part, ref.part_n, ref.k), data),
        ),)  # fmt: skip

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        return FloatWeights(fields["w"])


FP32 = Fp32()


@dataclass(frozen=True)
class FloatWeights(Weights):
    """Plain fp32 weights w [N, K]."""

    w: np.ndarray

    @property
    def form(self) -> Form:
        return FP32

    @property
    def shape(self) -> tuple[int, int]:
        return self.w.shape[0], self.w.shape[1]

    def dequantized(self) -> F32Array:
        return self.w
