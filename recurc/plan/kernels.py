"""Which kernels a target gets, and how weights are packed for them.

A kernel set is one entry of `KERNEL_SETS`: the C files, the type of quantized activations, the shape of a weight tile
and the packing of the weights. The first set whose required features a target has is used; all sets give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable

import numpy as np

from recurc.ir.program import LinearRef
from recurc.quant.weights import FloatWeights, IntWeights, Weights

ROW_ELEMENTS = 8  # rows of quantized activations and weights are padded to a multiple of this


def padded(k: int) -> int:
    """k rounded up to a whole number of weight words."""
    return -(-k // ROW_ELEMENTS) * ROW_ELEMENTS


@dataclass(frozen=True)
class KernelSet:
    """Kernels of one kind of target.

    packing: id in the image header. tile: output channels a tile. act: C type of quantized activations.
    style: "rows" (weights row by row, unpacked to int16 tiles) or "panel" (16 channels interleaved, bytes).
    gemm, quantize, f32: names of C functions. sources: files below runtime_c/kernels beyond the common ones.
    """

    name: str
    packing: int
    style: str
    tile: int
    act: str
    gemm: str
    quantize: str
    f32: str
    requires: frozenset[str]
    sources: tuple[str, ...]

    @property
    def rows_type(self) -> str:
        return "rc_rows16_t" if self.act == "int16_t" else "rc_rows8_t"

    # -- packing -------------------------------------------------------------------------------------------------

    def part_bytes(self, ref: LinearRef, bits: int) -> int:
        """Packed bytes of one part of a layer (gate and up are parts of one tensor, as are q, k and v)."""
        n = ref.part_n
        if bits == 32:
            return 4 * ref.k * (-(-n // 16) * 16 if self.style == "panel" else n)
        if self.style == "panel":
            return -(-n // 16) * 16 * padded(ref.k)
        return n * padded(ref.k) * bits // 8

    def has_zero(self, bits: int) -> bool:
        """Whether the image stores a zero point a channel."""
        return bits != 32 and (self.style == "panel" or bits == 4)

    def pack(self, ref: LinearRef, weights: Weights) -> dict[str, bytes]:
        """Sections of one layer: "weights", and for integer weights "scales" and (if any) "zeros"."""
        if isinstance(weights, FloatWeights):
            return {"weights": b"".join(self._pack_f32(w) for w in np.split(weights.w, ref.parts))}
        packed = b"".join(self._pack_int(q, weights.bits) for q in np.split(weights.q, ref.parts))
        sections = {"weights": packed, "scales": weights.scale.astype("<f4").tobytes()}
        if self.has_zero(weights.bits):
            sections["zeros"] = self._zeros(weights).astype(np.uint8).tobytes()
        assert len(packed) == self.part_bytes(ref, weights.bits) * ref.parts
        return sections

    def _zeros(self, weights: IntWeights) -> np.ndarray:
        if self.style == "panel" and weights.bits == 8:
            return np.full(len(weights.zero), 128)  # panels hold unsigned bytes
        return weights.zero

    def _pack_f32(self, w: np.ndarray) -> bytes:
        if self.style == "rows":
            return w.astype("<f4").tobytes()
        full = np.zeros((-(-len(w) // 16) * 16, w.shape[1]), dtype="<f4")
        full[:len(w)] = w
        return np.ascontiguousarray(full.reshape(-1, 16, w.shape[1]).swapaxes(1, 2)).tobytes()

    def _pack_int(self, q: np.ndarray, bits: int) -> bytes:
        n, k = q.shape
        kp = padded(k)
        if self.style == "panel":
            full = np.zeros((-(-n // 16) * 16, kp), dtype=np.uint8)
            full[:n, :k] = q + (128 if bits == 8 else 0)
            return np.ascontiguousarray(full.reshape(-1, 16, kp // 4, 4).swapaxes(1, 2)).tobytes()
        full = np.zeros((n, kp), dtype=np.uint8)
        full[:, :k] = q & 0xFF
        if bits == 8:
            return full.tobytes()
        return (full[:, 0::2] | (full[:, 1::2] << 4)).tobytes()


_COMMON = (
    "portable/rc_dot_f32.c", "portable/rc_dot_s8.c", "portable/rc_rms_norm.c", "portable/rc_silu_mul.c",
    "portable/rc_softmax.c", "portable/rc_rope.c", "portable/rc_quantize_rows8.c",
)
_ROWS = (*_COMMON, "portable/rc_quantize_rows16.c", "portable/rc_unpack_s4.c", "portable/rc_unpack_s8.c",
         "portable/rc_linear_f32.c")

KERNEL_SETS = (
    KernelSet("x86-vnni", 2, "panel", 16, "int8_t", "rc_gemm_panel8_vnni", "rc_quantize_rows8",
              "rc_linear_f32_panel_avx512", frozenset({"avx512vnni"}),
              (*_COMMON, "x86/rc_linear_f32_panel_avx512.c", "x86/rc_gemm_panel8_vnni.c")),
    KernelSet("dsp", 1, "rows", 4, "int16_t", "rc_gemm_tile16_dsp", "rc_quantize_rows16",
              "rc_linear_f32", frozenset({"dsp"}), (*_ROWS, "dsp/rc_gemm_tile16_dsp.c")),
    KernelSet("portable", 1, "rows", 4, "int16_t", "rc_gemm_tile16", "rc_quantize_rows16",
              "rc_linear_f32", frozenset(), (*_ROWS, "portable/rc_gemm_tile16.c")),
)


def choose_kernels(features: Iterable[str]) -> KernelSet:
    """The best kernel set for a target with these features."""
    have = frozenset(features)
    return next(k for k in KERNEL_SETS if k.requires <= have)


def kernel_set(name: str) -> KernelSet:
    """Kernel set by name."""
    return next(k for k in KERNEL_SETS if k.name == name)
