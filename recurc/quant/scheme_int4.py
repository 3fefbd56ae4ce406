"""int4: per-output-channel asymmetric weights, 0..15 with a uint4 zero point; the default precision.

Three calibrations end in the same stored form:

* "min-max": the range of each row, no data (what the study's released code calls calibrated).
* "mse": the range of each row is shrunk to the clip that has the least squared error, weighted by the inputs' energy.
* "gptq": "mse" ranges, then columns are rounded one after the other and each column's rounding error is fed into the
  columns not yet rounded, so that the layer's output error on the calibration inputs is least (Frantar et al., 2022).
"""

from __future__ import annotations

from typing import Optional

import numpy as np

from recurc.quant.weights import IntWeights, Precision

LEVELS = 15
_CLIPS = np.linspace(1.0, 0.6, 21).astype(np.float32)
_ROWS_AT_ONCE = 64
_DAMPING = 0.01


def _grid(lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of rows whose values lie in [lo, hi]; the range always holds 0. Zero range: scale 1."""
    lo, hi = np.minimum(lo, 0), np.maximum(hi, 0)
    span = hi - lo
    scale = np.where(span > 0, np.maximum(span / LEVELS, 2.0 ** -96), 1.0).astype(np.float32)
    zero = np.clip(np.rint(-lo / scale), 0, LEVELS).astype(np.float32)
    return scale, zero


def _round(w: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(w / scale[..., None]) + zero[..., None], 0, LEVELS)


def _search_clip(w: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per row, the shrink of [min, max] with the least energy-weighted squared rounding error."""
    scales, zeros = [], []
    energy = energy.astype(np.float32)
    for start in range(0, len(w), _ROWS_AT_ONCE):  # few rows at a time stay in the cache
        scale, zero = _search_rows(w[start:start + _ROWS_AT_ONCE], energy)
        scales.append(scale)
        zeros.append(zero)
    return np.concatenate(scales), np.concatenate(zeros)


def _search_rows(w: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Rows are searched at magnitude 1 (a power of two apart, so exactly alike): squares neither vanish nor overflow.
    exponent = np.frexp(np.abs(w).max(axis=1))[1]
    w = np.ldexp(w, -exponent[:, None])
    lo, hi = w.min(axis=1), w.max(axis=1)
    scale, zero = _grid(lo, hi)
    best = np.full(len(w), np.inf, dtype=np.float32)
    rounded = np.empty_like(w)
    for clip in _CLIPS:
        s, z = _grid(lo * clip, hi * clip)
        np.multiply(w, (1 / s)[:, None], out=rounded)
        np.rint(rounded, out=rounded)
        np.clip(rounded, -z[:, None], (LEVELS - z)[:, None], out=rounded)
        rounded *= s[:, None]
        rounded -= w
        np.square(rounded, out=rounded)
        error = rounded @ energy
        better = error < best
        best = np.where(better, error, best)
        scale, zero = np.where(better, s, scale), np.where(better, z, zero)
    return np.maximum(np.ldexp(scale, exponent), np.float32(2.0 ** -96)), zero


def _feed_back(w: np.ndarray, moment: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Column-by-column rounding with error feedback. w [N, K], moment [K, K] -> q [N, K]."""
    k = w.shape[1]
    h = moment.astype(np.float64).copy()
    dead = np.diag(h) <= 0
    h[dead, dead] = 1.0
    h += np.eye(k) * _DAMPING * np.mean(np.diag(h))
    order = np.argsort(-np.diag(h), kind="stable")  # columns that matter most are rounded first
    h = h[np.ix_(order, order)]
    upper = np.linalg.cholesky(np.linalg.inv(h)).T  # inverse = upper^T upper
    rest = w[:, order].astype(np.float64)
    q = np.empty_like(rest)
    block = 64
    for b0 in range(0, k, block):
        b1 = min(b0 + block, k)
        errors = np.empty((len(w), b1 - b0))
        for i in range(b0, b1):
            q[:, i] = np.clip(np.rint(rest[:, i] / scale) + zero, 0, LEVELS)
            errors[:, i - b0] = (rest[:, i] - (q[:, i] - zero) * scale) / upper[i, i]
            rest[:, i + 1:b1] -= np.outer(errors[:, i - b0], upper[i, i + 1:b1])
        rest[:, b1:] -= errors @ upper[b0:b1, b1:]
    result = np.empty_like(q)
    result[:, order] = q
    return result


def quantize(w: np.ndarray, moment: Optional[np.ndarray], method: str) -> IntWeights:
    """Quantize w [N, K] float32.

    Args:
        moment: sum of outer products of the layer's calibration inputs [K, K]; None means no data (then "mse" weighs
            all inputs alike and "gptq" falls back to it).
        method: "min-max", "mse" or "gptq".
    """
    w = np.asarray(w, dtype=np.float32)
    if method == "min-max":
        scale, zero = _grid(w.min(axis=1), w.max(axis=1))
    else:
        energy = np.ones(w.shape[1]) if moment is None else np.diag(moment) / max(float(np.trace(moment)), 1e-30)
        scale, zero = _search_clip(w, energy)
    if method == "gptq" and moment is not None:
        q = _feed_back(w, moment, scale.astype(np.float64), zero.astype(np.float64))
    else:
        q = _round(w, scale, zero)
    q = np.where((w == 0).all(axis=1)[:, None], zero[:, None], q)
    return IntWeights(4, q.astype(np.int16), scale.astype(np.float32), zero.astype(np.uint8))


PRECISION = Precision(
    "int4", 4, quantize, methods=("gptq", "mse", "min-max"),
    summary="int4 per channel, calibrated, int8 activations per row",
)
