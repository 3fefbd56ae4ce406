"""Per-channel integers: one scale, and below 8 bits one zero point, for each output channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recurc.ir.program import LinearRef
from recurc.storage.form import Dequantization, Form, LayerSection, Weights, floats_section, in_parts, of_parts
from recurc.storage.packings.packing import Integers, Packing
from recurc.types import F32Array, I16Array, U8Array

KERNEL_WIDTHS = (3, 4, 8)


@dataclass(frozen=True)
class PerChannel(Form):
    """w = scale * (q - zero): int8 -127..127 without zero points, n bits below 0..2^n - 1 with them.

    Kernels exist for 8, 4 and 3 bits; other widths are stored and computed as the next wider one.
    """

    width: int

    @property
    def bits(self) -> float:
        return self.width

    @property
    def suffix(self) -> str:
        return f"s{self.kernel_form.width}"

    @property
    def kernel_form(self) -> PerChannel:
        return PerChannel(min(w for w in KERNEL_WIDTHS if w >= self.width))

    def bytes_of(self, n: int, k: int, pad: int = 4) -> int:
        return n * (-(-k * self.kernel_form.width // (8 * pad)) * pad + 4 + (self.width < 8))

    def beside(self, k: int, packing: Packing) -> int:
        return 4 + self.codec(packing).zeros_stored

    def codec(self, packing: Packing) -> Integers:
        return packing.integers(packing, self.kernel_form.width)

    def sections(self, ref: LinearRef, packing: Packing) -> tuple[LayerSection, ...]:
        codec = self.codec(packing)
        found = [
            LayerSection(
                "weights", "q", codec.part_bytes(ref.part_n, ref.k) * ref.parts,
                lambda weights: in_parts(ref.parts, codec.pack, weights.integers),
                lambda data: of_parts(ref.parts, lambda part: codec.unpack(part, ref.part_n, ref.k), data),
            ),
            floats_section("scales", "scale", ref.n, lambda weights: weights.scale),
        ]  # fmt: skip
        if codec.zeros_stored:
            found.append(LayerSection(
                "zeros", "zero", ref.n,
                lambda weights: codec.zeros(weights.zero).tobytes(),
                lambda data: np.frombuffer(data, np.uint8),
            ))  # fmt: skip
        return tuple(found)

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        zero = fields["zero"] if self.width < 8 else np.zeros(len(fields["scale"]), np.uint8)
        return IntWeights(self.width, fields["q"], fields["scale"], zero)


INT3, INT4, INT8 = PerChannel(3), PerChannel(4), PerChannel(8)


@dataclass(frozen=True)
class IntWeights(Weights):
    """w = scale * (q - zero) per output channel.

    q [N, K] int16 (int8: -127..127, int4: 0..15, int3: 0..7), scale float32 [N], zero uint8 [N] (0 for int8).
    """

    bits: int
    q: I16Array
    scale: F32Array
    zero: U8Array

    @property
    def form(self) -> Form:
        return PerChannel(self.bits)

    @property
    def shape(self) -> tuple[int, int]:
        return self.q.shape[0], self.q.shape[1]

    @property
    def integers(self) -> I16Array:
        """q."""
        return self.q

    def dequantized(self) -> F32Array:
        """float32 [N, K]."""
        centred: F32Array = self.q.astype(np.float32) - self.zero.astype(np.float32)[:, None]
        return centred * self.scale[:, None]

    def dequantization(self) -> Dequantization:
        if self.bits == 8:
            return Dequantization(self.q, "int8", self.scale)
        return Dequantization(self.q, "uint4" if self.bits <= 4 else "uint8", self.scale, self.zero)
