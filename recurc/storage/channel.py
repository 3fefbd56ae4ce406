"""Per-channel integers: one scale, and below 8 bits one zero point, for each output channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recurc.ir.program import LinearRef
from recurc.storage.form import Dequantization, Form, LayerSection, Weights, floats_section, in_parts, of_parts
from recurc.storage.packings.narrow import NARROW
from recurc.storage.packings.packing import Integers, Packing
from recurc.types import F32Array, I16Array, U8Array

KERNEL_WIDTHS = (3, 4, 8)


@dataclass(frozen=True)
class PerChannel(Form):
    """w = scale * (q - zero): int8 -127..127 without zero points, n bits below 0..2^n - 1 with them.

    Kernels exist for some widths; the others are stored and computed as the next wider one. So 5, 6 and 7 bits take a byte,
    which holds q - zero: the kernels of 8 bits know no zero points. Such weights may also have none themselves.

    Raises:
        ValueError: width is not 1 to 8.
    """

    width: int

    def __post_init__(self) -> None:
        if not 1 <= self.width <= KERNEL_WIDTHS[-1]:
            raise ValueError(f"there is no form with {self.width} bits a weight: a channel's integers have 1 to 8")

    @property
    def bits(self) -> float:
        return self.width

    @property
    def suffix(self) -> str:
        return f"s{self.kernel_form.width}"

    @property
    def kernel_form(self) -> PerChannel:
        return PerChannel(min(w for w in KERNEL_WIDTHS if w >= self.width))

    @property
    def wide_form(self) -> Form | None:
        return INT4 if self.width in NARROW else None

    @property
    def widen(self) -> str:
        return f"rc_unpack_s{self.width}" if self.width in NARROW else ""

    def bytes_of(self, n: int, k: int, pad: int = 4) -> int:
        width = self.kernel_form.width
        return n * (-(-k * width // (8 * pad)) * pad + 4 + (width < 8))

    def beside(self, k: int, packing: Packing) -> int:
        return 4 + self.codec(packing).zeros_stored

    def codec(self, packing: Packing) -> Integers:
        return packing.integers(packing, self.kernel_form.width)

    def sections(self, ref: LinearRef, packing: Packing) -> tuple[LayerSection, ...]:
        codec = self.codec(packing)
        found = [
            LayerSection(
                "weights", "q", codec.part_bytes(ref.part_n, ref.k) * ref.parts,
                lambda weights: in_parts(ref.parts, codec.pack, self._operands(weights)),
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

    def _operands(self, weights: Weights) -> np.ndarray:
        """What the kernels multiply with, before their own zero points."""
        return weights.integers - weights.zero[:, None].astype(np.int16) if self.kernel_form.width == 8 else weights.integers

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        zero = fields["zero"] if self.kernel_form.width < 8 else np.zeros(len(fields["scale"]), np.uint8)
        return IntWeights(self.width, fields["q"], fields["scale"], zero)

    def misfit(self, weights: Weights) -> str:
        q, zero, top = weights.integers, weights.zero, 2**self.width - 1
        if self.kernel_form.width == 8:
            q = self._operands(weights)
            return "" if abs(q).max(initial=0) <= min(top, 127) else f"q - zero leaves -{min(top, 127)}..{min(top, 127)}"
        fits = q.min(initial=0) >= 0 and max(q.max(initial=0), zero.max(initial=0)) <= top
        return "" if fits else f"q or zero leaves 0..{top}"


INT3, INT4, INT8 = PerChannel(3), PerChannel(4), PerChannel(8)


@dataclass(frozen=True)
class IntWeights(Weights):
    """w = scale * (q - zero) per output channel.

    q [N, K] int16 (int8: -127..127, int4: 0..15, int3: 0..7), scale float32 [N], zero uint8 [N] (0 for int8; for 5 to 7 bits
    too where q has a sign, as they read back from an image).
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
        return super().dequantization() if self.bits > 4 else Dequantization(self.q, "uint4", self.scale, self.zero)
