"""Fake quantization in torch: schemes whose arithmetic the device does not have, and a check on those that it has.

Weights are replaced by what their stored form reads back as, the inputs of every linear layer (heads too) are rounded
where the device would round them, and everything else is the fp32 reference. Products are fp32, so results agree with
the device's closely, not bit for bit. Inside attention q, k, v, the probabilities and the heads' results are rounded as
the device does it, int8 per row, whatever the scheme of the linear layers' inputs is, but for "fp32".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F

from recurc.models import recursion_of
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.quant.weights import Precision, Quantizer, precisions
from recurc.storage import INT4

ROW_TINY = 2.0**-96  # rows below it become zeros, as in the arithmetic contract
BLOCK = 32


@dataclass(frozen=True)
class Activations:
    """How the inputs of linear layers are rounded: to -levels..levels (0: not at all), a scale for each `scale`.

    scale: "row" (a token, or a channel where tokens are mixed), "tensor" (one puzzle's whole tensor, found anew at every
    call), "static" (one for a layer, from calibration) or "block": 32 neighbours in a row, power-of-two scales, as in
    the OCP Microscaling formats.
    """

    name: str
    levels: int
    scale: str
    summary: str


ACTIVATIONS: dict[str, Activations] = {
    a.name: a
    for a in (
        Activations("fp32", 0, "none", "not quantized"),
        Activations("int8-row", 127, "row", "int8, a fresh scale a row: the device's"),
        Activations("int8-tensor", 127, "tensor", "int8, a fresh scale a tensor"),
        Activations("int8-static", 127, "static", "int8, one scale a layer from calibration: usual static toolchains"),
        Activations("int4-row", 7, "row", "int4, a fresh scale a row"),
        Activations("int4-block32", 7, "block", "int4, a power-of-two scale for 32 neighbours"),
    )
}


@dataclass(frozen=True)
class FakeWeights:
    """Weights that no kernel reads: w float32 [N, K] after rounding, and the bytes that their form would take."""

    w: np.ndarray
    stored_bytes: int

    def dequantized(self) -> np.ndarray:
        return self.w


def _blocks(w: np.ndarray) -> np.ndarray:
    """w [N, K] -> [N, blocks, 32], the last block filled up with zeros."""
    n, k = w.shape
    full = np.zeros((n, -(-k // BLOCK) * BLOCK), dtype=np.float32)
    full[:, :k] = w
    return full.reshape(n, -1, BLOCK)


def _flat(blocks: np.ndarray, k: int) -> np.ndarray:
    return np.ascontiguousarray(blocks.reshape(len(blocks), -1)[:, :k], dtype=np.float32)


def _symmetric(w: np.ndarray, moment: np.ndarray | None, method: str) -> FakeWeights:
    """int4-symmetric: -7..7, a scale a channel."""
    scale = np.abs(w).max(axis=1, keepdims=True) / np.float32(7)
    q = np.divide(w, scale, out=np.zeros_like(w), where=scale > 0)
    return FakeWeights(np.clip(np.rint(q), -7, 7) * scale, len(w) * (4 + -(-w.shape[1] // 8) * 4))


def _microscaled(w: np.ndarray, moment: np.ndarray | None, method: str) -> FakeWeights:
    """int4-mx32: -7..7 in blocks of 32 inputs, a power of two (one byte) a block."""
    blocks = _blocks(w)
    scale = _power_of_two(torch.from_numpy(np.abs(blocks).max(axis=-1, keepdims=True))).numpy()
    q = np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0)
    return FakeWeights(_flat(np.clip(np.rint(q), -7, 7) * scale, w.shape[1]), scale.size * (BLOCK // 2 + 1))


class _FakePrecision(Precision):
    """One whose weights no image holds. They have what is asked of a study's weights: what they stand for, and their bytes."""

    def misfit(self, weights: object, shape: tuple[int, int]) -> str:
        return ""


_FAKE_ONLY = (
    _FakePrecision("int4-symmetric", INT4, cast(Quantizer, _symmetric), summary="int4 a channel, symmetric"),
    _FakePrecision(
        "int4-mx32", INT4, cast(Quantizer, _microscaled), summary="int4 in blocks of 32 inputs with power-of-two scales"
    ),
)


def weight_schemes() -> dict[str, Precision]:
    """All precisions by name: those of the device, then those that only this file knows."""
    return {**{p.name: p for p in _FAKE_ONLY if p.name not in precisions()}, **precisions()}


# -- activations ------------------------------------------------------------------------------------------------------


def _power_of_two(peak: torch.Tensor) -> torch.Tensor:
    """Scale of a block whose largest magnitude is `peak`: 2^(floor(log2 peak) - 2), so that it rounds to 4..7; 0 for 0."""
    exponent = torch.frexp(peak).exponent - 3
    return torch.where(peak >= ROW_TINY, torch.ldexp(torch.ones_like(peak), exponent), torch.zeros_like(peak))


def _rounded(x: torch.Tensor, scale: torch.Tensor, levels: int) -> torch.Tensor:
    inverse = torch.where(scale > 0, 1.0 / scale, torch.zeros_like(scale))
    return (x * inverse).round_().clamp_(-levels, levels).mul_(scale)


def round_rows(x: torch.Tensor, levels: int = 127) -> torch.Tensor:
    """x [..., K] as it reads back from -levels..levels with a scale max|row| / levels for each row."""
    peak = x.abs().amax(dim=-1, keepdim=True)
    return _rounded(x, torch.where(peak >= ROW_TINY, peak / levels, torch.zeros_like(peak)), levels)


def round_activations(x: torch.Tensor, scheme: Activations, peak: float | None = None) -> torch.Tensor:
    """The input x [N, ..., K] of a linear layer as it reads back from a scheme; N puzzles.

    Args:
        peak: largest magnitude of the layer's inputs during calibration; for "static" only.
    """
    if scheme.scale == "row":
        return round_rows(x, scheme.levels)
    if scheme.scale == "tensor":
        flat = x.reshape(len(x), -1)
        return round_rows(flat, scheme.levels).reshape(x.shape)
    if scheme.scale == "static":
        assert peak is not None
        return _rounded(x, torch.tensor(peak / scheme.levels), scheme.levels)
    if scheme.scale == "block":
        k = x.shape[-1]
        blocks = F.pad(x, (0, -k % BLOCK)).reshape(*x.shape[:-1], -1, BLOCK)
        scale = _power_of_two(blocks.abs().amax(dim=-1, keepdim=True))
        return _rounded(blocks, scale, scheme.levels).flatten(-2)[..., :k]
    return x


class Peaks:
    """Observer of the fp32 reference: the largest magnitude of every linear layer's input, for static scales."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def __call__(self, name: str, x: torch.Tensor) -> None:
        self.found[name] = max(self.found.get(name, 0.0), float(x.abs().max()))


class FakeModel(Reference):
    """The reference with rounded weights, rounded activations and a stored carry.

    Args:
        reasoner: the fp32 model.
        weights: linear layer's name -> float32 [N, K] as they read back; others stay as they are.
        activations: one of ACTIVATIONS.
        peaks: layer's name -> largest magnitude, for static scales.
        carry: "fp32", "fp16" or "int8" (a scale a row), as on the device.
        attention: "softmax", or "linear": phi(q) (phi(k)^T v) / (phi(q) sum phi(k)), phi = elu + 1, in fp32.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        weights: Mapping[str, np.ndarray],
        activations: str = "int8-row",
        peaks: Mapping[str, float] | None = None,
        carry: str = "fp32",
        attention: str = "softmax",
    ) -> None:
        super().__init__(reasoner)
        self.attention = attention
        self.activations, self.peaks, self.carry = ACTIVATIONS[activations], dict(peaks or {}), carry
        for name, w in weights.items():
            self.w[name] = torch.from_numpy(np.ascontiguousarray(w, dtype=np.float32))
        for state in recursion_of(self.config).states:
            self.w[state.start.tensor] = self.stored(self.w[state.start.tensor])

    def _round(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """The input of a linear layer as the layer sees it."""
        return round_activations(x, self.activations, self.peaks.get(name))

    def _weights(self, name: str) -> torch.Tensor:
        return self.w[name]

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self._round(name, x), self._weights(name))

    def mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if self.attention == "linear":
            return self._linear_mix(q, k, v)
        return self._rounded_mix(q, k, v) if self.activations.levels else super().mix(q, k, v)

    @staticmethod
    def _linear_mix(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k = F.elu(q) + 1, F.elu(k) + 1
        size = (q * k.sum(dim=-2, keepdim=True)).sum(dim=-1, keepdim=True)
        mixed: torch.Tensor = q @ (k.transpose(-1, -2) @ v) / size.clamp_min(1e-6)
        return mixed

    def _rounded_mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(round_rows(q) @ round_rows(k).transpose(-1, -2) * self.config.head_dim**-0.5, dim=-1)
        # As the device: the values' scales are folded into the probabilities, which are then rounded themselves.
        scale = (v.abs().amax(dim=-1) / 127)[..., None, :]
        inverse = torch.where(scale > 0, 1.0 / scale, torch.zeros_like(scale)).transpose(-1, -2)
        return round_rows(round_rows(p * scale) @ (v * inverse).round_())

    def stored(self, rows: torch.Tensor) -> torch.Tensor:
        if self.carry == "int8":
            return round_rows(rows)
        return rows.clamp(-65504.0, 65504.0).half().float() if self.carry == "fp16" else rows
