"""The NumPy twin of the C arithmetic (runtime_c/SPEC.md, contract v2): every function here gives the C code's bits.

All floats are IEEE binary32 with one rounding an operation; sums of floats go by index mod 4, then
(s0 + s1) + (s2 + s3); integer sums are exact. Rows lie along the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.types import F32Array, F64Array, I32Array, I64Array

F32 = np.float32
ROW_TINY = F32(2.0**-96)
_MAGIC = F32(12582912.0)
_MAGIC_BITS = 0x4B400000


@dataclass(frozen=True)
class Rows:
    """Quantized activation rows: value = q * a. q [..., K] int32 holding int8 values, a [...] float32."""

    q: I32Array
    a: F32Array

    @property
    def total(self) -> I64Array:
        """Sum of q along each row, int64 [...]."""
        return np.asarray(self.q.sum(axis=-1, dtype=np.int64))


def round_half_even(x: np.ndarray) -> I32Array:
    """Nearest integer, ties to even, for |x| < 2^22; int32."""
    return (np.asarray(x, dtype=F32) + _MAGIC).astype(F32).view(np.int32) - np.int32(_MAGIC_BITS)


def sum_mod4(x: F32Array) -> F32Array:
    """Sum along the last axis in the contract's order. x [..., n] -> [...]."""
    n = x.shape[-1]
    padded = np.zeros((*x.shape[:-1], 4 + -(-n // 4) * 4), dtype=F32)
    padded[..., 4 : 4 + n] = x  # four leading zeros: the accumulators' initial value
    lanes = padded.reshape(*x.shape[:-1], -1, 4)
    s: F32Array = np.cumsum(lanes, axis=-2, dtype=F32)[..., -1, :]
    return (s[..., 0] + s[..., 1]) + (s[..., 2] + s[..., 3])


def quantize_rows(x: np.ndarray) -> Rows:
    """Dynamic symmetric int8 per row: a = max|x| / 127, q = round(x * (1 / a)); rows below 2^-96 become zeros, and rows that
    are not finite have q = 0 and a = NaN."""
    x = np.asarray(x, dtype=F32)
    peak = np.abs(x).max(axis=-1)  # NaN is the largest
    finite = np.isfinite(peak)
    live = finite & (peak >= ROW_TINY)
    scale = np.where(live, peak / F32(127.0), np.where(finite, F32(0.0), F32("nan"))).astype(F32)
    inverse = np.zeros_like(scale)
    np.divide(F32(1.0), scale, out=inverse, where=live)
    q = round_half_even(np.where(live[..., None], x, F32(0.0)) * inverse[..., None])
    return Rows(q.astype(np.int32), scale)


def stored_rows(x: F32Array, kind: str) -> F32Array:
    """float32 rows as they read back after being stored as "fp32", "fp16" or "int8" with a scale a row."""
    if kind == "int8":
        rows = quantize_rows(x)
        return rows.q.astype(F32) * rows.a[..., None]
    if kind == "fp16":
        return np.clip(x, F32(-65504.0), F32(65504.0)).astype(np.float16).astype(F32)
    return x


def exp(x: F32Array) -> F32Array:
    """e^x by the contract's polynomial, argument clamped to [-87, 88]."""
    x = np.asarray(x, dtype=F32)
    x = np.where(x < F32(-87.0), F32(-87.0), x)
    x = np.where(x > F32(88.0), F32(88.0), x)
    t = x * F32(1.44269504088896341) + _MAGIC
    n = t - _MAGIC
    e = t.view(np.int32) - np.int32(_MAGIC_BITS)
    r = (x - n * F32(0.693359375)) - n * F32(-2.12194440e-4)
    p: F32Array = np.full_like(r, F32(1.9875691500e-4))
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + F32(c)
    p = (p * (r * r) + r) + F32(1.0)
    power: F32Array = ((e + np.int32(127)) << np.int32(23)).astype(np.int32).view(F32)
    return p * power


def silu(x: F32Array) -> F32Array:
    """x / (1 + e^-x)."""
    x = np.asarray(x, dtype=F32)
    return x / (F32(1.0) + exp(-x))


def rms_norm(x: F32Array, eps: float) -> F32Array:
    """x * (1 / sqrt(mean(x^2) + eps)) along the last axis; NaN where the mean is not finite."""
    x = np.asarray(x, dtype=F32)
    mean = sum_mod4(x * x) / F32(x.shape[-1])
    r = np.where(np.isfinite(mean), F32(1.0) / np.sqrt(mean + F32(eps)), F32("nan"))
    return x * r[..., None]


def softmax(x: F32Array) -> F32Array:
    """Softmax along the last axis."""
    e = exp(x - x.max(axis=-1, keepdims=True))
    return e * (F32(1.0) / sum_mod4(e))[..., None]


def rope(x: F32Array, cosine: F32Array, sine: F32Array) -> F32Array:
    """Rotary embedding: x [..., S, 2*half], tables [S, half]."""
    half = x.shape[-1] // 2
    lo, hi = x[..., :half], x[..., half:]
    return np.concatenate((lo * cosine - hi * sine, hi * cosine + lo * sine), axis=-1)


def int_matmul(x: np.ndarray, w: np.ndarray) -> I64Array:
    """Exact integer product x [..., K] w [N, K] -> int64 [..., N] (float64 holds every partial sum below 2^53)."""
    product: F64Array = np.matmul(x.astype(np.float64), w.astype(np.float64).T)
    return np.rint(product).astype(np.int64)


def linear_int(x: Rows, q: np.ndarray, scale: F32Array, zero: np.ndarray) -> F32Array:
    """y = float(sum q x - zero * sum x) * (a * scale). q [N, K], scale float32 [N], zero [N] -> float32 [..., N]."""
    acc = int_matmul(x.q, q) - zero.astype(np.int64) * x.total[..., None]
    return acc.astype(np.int32).astype(F32) * (x.a[..., None] * scale)


def linear_f32(x: F32Array, w: F32Array) -> F32Array:
    """fp32 product with the contract's order of summation. x [..., K], w [N, K] -> [..., N]."""
    x = np.asarray(x, dtype=F32)
    k = x.shape[-1]
    lanes: list[F32Array] = [np.zeros((*x.shape[:-1], w.shape[0]), dtype=F32) for _ in range(4)]
    for i in range(k):
        lanes[i % 4] += x[..., i, None] * w[:, i]
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
