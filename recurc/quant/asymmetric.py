"""Asymmetric weights per output channel, unsigned with a zero point: how int4, int3 and int2 find ranges and round.

Three calibrations end in the same stored form:

* "min-max": the range of each row, no data (what the study's released code calls calibrated).
* "mse": the range of each row is shrunk to the clip that has the least squared error, weighted by the inputs' energy.
* "gptq": columns are rounded one after the other and each column's rounding error is fed into the columns not yet
  rounded, so that the layer's output error on the calibration inputs is small (Frantar et al., 2022); done for several
  clips of the range, of which each row keeps its best, then coordinate descent on the same error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.storage.channel import IntWeights

METHODS = ("gptq", "mse", "min-max")
CLIPS = np.linspace(1.0, 0.6, 21).astype(np.float32)
_ROWS_AT_ONCE = 64
_DAMPING = 0.01
FEEDBACK_CLIPS = np.array([1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7], dtype=np.float32)
LARGE = 200_000  # weights; larger layers try every other clip
_COLUMNS_AT_ONCE = 64
_DESCENTS = 2


@dataclass(frozen=True)
class Levels:
    """Levels 0 to `top` of a channel, w = scale * (level - zero), and how their ranges are sought.

    parts: zero points lie on whole levels (1) or on halves too (2). clips, feedback_clips: shrinks of the row's range that clip
    search and error feedback try.
    """

    top: int
    parts: int = 1
    clips: tuple[float, ...] = tuple(CLIPS.tolist())
    feedback_clips: tuple[float, ...] = tuple(FEEDBACK_CLIPS.tolist())

    @property
    def least(self) -> float:
        """The smallest scale; a part of it is normal too."""
        return float(2.0**-96 * self.parts)


def _grid(lo: np.ndarray, hi: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of rows whose values lie in [lo, hi]; the range always holds 0. Zero range: scale 1."""
    lo, hi = np.minimum(lo, 0), np.maximum(hi, 0)
    span = hi - lo
    scale = np.where(span > 0, np.maximum(span / levels.top, levels.least), 1.0).astype(np.float32)
    zero = np.clip(np.rint(-lo / scale * levels.parts) / levels.parts, 0, levels.top).astype(np.float32)
    return scale, zero


def _nearest(steps: np.ndarray, zero: np.ndarray, top: int) -> np.ndarray:
    """The level, 0 to `top`, next to each weight of `steps` scales from zero."""
    whole = np.floor(zero)
    return np.asarray(np.clip(np.rint(steps + (zero - whole)) + whole, 0, top))


def _search_clip(w: np.ndarray, energy: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Per row, the shrink of [min, max] with the least energy-weighted squared rounding error."""
    scales, zeros = [], []
    energy = energy.astype(np.float32)
    for start in range(0, len(w), _ROWS_AT_ONCE):  # few rows at a time stay in the cache
        scale, zero = _search_rows(w[start : start + _ROWS_AT_ONCE], energy, levels)
        scales.append(scale)
        zeros.append(zero)
    return np.concatenate(scales), np.concatenate(zeros)


def _search_rows(w: np.ndarray, energy: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    # Rows are searched at magnitude 1 (a power of two apart, so exactly alike): squares neither vanish nor overflow.
    exponent = np.frexp(np.abs(w).max(axis=1))[1]
    w = np.ldexp(w, -exponent[:, None])
    lo, hi = w.min(axis=1), w.max(axis=1)
    scale, zero = _grid(lo, hi, levels)
    best = np.full(len(w), np.inf, dtype=np.float32)
    rounded = np.empty_like(w)
    for clip in np.array(levels.clips, np.float32):
        s, z = _grid(lo * clip, hi * clip, levels)
        part = (z - np.floor(z))[:, None]
        np.multiply(w, (1 / s)[:, None], out=rounded)
        rounded += part
        np.rint(rounded, out=rounded)
        rounded -= part
        np.clip(rounded, -z[:, None], (levels.top - z)[:, None], out=rounded)
        rounded *= s[:, None]
        rounded -= w
        np.square(rounded, out=rounded)
        error = rounded @ energy
        better = error < best
        best = np.where(better, error, best)
        scale, zero = np.where(better, s, scale), np.where(better, z, zero)
    return np.maximum(np.ldexp(scale, exponent), np.float32(levels.least)), zero


def _column(scale: np.ndarray, k: int) -> np.ndarray:
    """Scales [N] of column k."""
    return scale if scale.ndim == 1 else scale[:, k]


class Feedback:
    """Column-by-column rounding with error feedback for one layer, given its inputs' second moment [K, K]."""

    def __init__(self, moment: np.ndarray, levels: int) -> None:
        self.levels = levels
        h = moment.astype(np.float64)
        dead = np.diag(h) <= 0
        h[dead, dead] = 1.0
        h = h + np.eye(len(h)) * _DAMPING * np.mean(np.diag(h))
        self.moment = h
        self.order = np.argsort(-np.diag(h), kind="stable")  # columns that matter most are rounded first
        inverse = np.linalg.inv(h[np.ix_(self.order, self.order)])
        self.upper = np.linalg.cholesky(inverse).T  # inverse = upper^T upper

    def round(self, w: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """q [N, K] of w [N, K], zero [N] and scale [N], or [N, K] where a channel has several."""
        upper, k = self.upper, w.shape[1]
        whole = np.floor(zero)
        part = zero - whole
        rest = w[:, self.order].astype(np.float64)
        q = np.empty_like(rest)
        for b0 in range(0, k, _COLUMNS_AT_ONCE):
            b1 = min(b0 + _COLUMNS_AT_ONCE, k)
            errors = np.empty((len(w), b1 - b0))
            for i in range(b0, b1):
                step = _column(scale, self.order[i])
                q[:, i] = np.clip(np.rint(rest[:, i] / step + part) + whole, 0, self.levels)
                errors[:, i - b0] = (rest[:, i] - (q[:, i] - zero) * step) / upper[i, i]
                rest[:, i + 1 : b1] -= np.outer(errors[:, i - b0], upper[i, i + 1 : b1])
            rest[:, b1:] -= errors @ upper[b0:b1, b1:]
        result = np.empty_like(q)
        result[:, self.order] = q
        return result

    def loss(self, w: np.ndarray, q: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """Squared output error of each row on the calibration inputs, [N]."""
        error = (q - zero[:, None]) * scale.reshape(len(w), -1) - w
        return np.asarray(((error @ self.moment) * error).sum(axis=1))

    def descend(self, w: np.ndarray, q: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
        """Coordinate descent on the loss: each q in turn moves to its best level, the others held."""
        q = q.copy()
        slope = ((q - zero[:, None]) * scale.reshape(len(w), -1) - w) @ self.moment
        diagonal = np.diag(self.moment)
        for _ in range(_DESCENTS):
            for k in range(w.shape[1]):
                step = _column(scale, k)
                moved = np.clip(q[:, k] - np.rint(slope[:, k] / (diagonal[k] * step)), 0, self.levels)
                rows = np.flatnonzero(moved != q[:, k])
                if len(rows):
                    slope[rows] += np.outer((moved[rows] - q[rows, k]) * step[rows], self.moment[k])
                    q[rows, k] = moved[rows]
        return q


def _calibrated(w: np.ndarray, moment: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(q, scale, zero) with the least output error on the calibration inputs among a few ranges a row."""
    feedback = Feedback(moment, levels.top)
    lo, hi = w.min(axis=1), w.max(axis=1)
    clips = np.array(levels.feedback_clips, np.float32)[:: 1 if w.size <= LARGE else 2]
    best = np.full(len(w), np.inf)
    q, scale, zero = np.zeros(w.shape), np.ones(len(w)), np.zeros(len(w))
    for clip in clips:
        s, z = (t.astype(np.float64) for t in _grid(lo * clip, hi * clip, levels))
        candidate = feedback.round(w, s, z)
        loss = feedback.loss(w, candidate, s, z)
        better = loss < best
        best = np.where(better, loss, best)
        scale, zero = np.where(better, s, scale), np.where(better, z, zero)
        q = np.where(better[:, None], candidate, q)
    return feedback.descend(w, q, scale, zero), scale, zero


def find(w: np.ndarray, moment: np.ndarray | None, method: str, levels: Levels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring w [N, K] float32 to levels: (level of each weight [N, K], scale float32 [N], zero [N] in levels).

    Args:
        moment: sum of outer products of the layer's calibration inputs [K, K]; None means no data (then "mse" weighs
            all inputs alike and "gptq" falls back to it).
        method: "min-max", "mse" or "gptq".
    """
    w = np.asarray(w, dtype=np.float32)
    if method == "gptq" and moment is not None:
        q, scale, zero = _calibrated(w, moment, levels)
    elif method == "min-max":
        scale, zero = _grid(w.min(axis=1), w.max(axis=1), levels)
        q = _nearest(w / scale[:, None], zero[:, None], levels.top)
    else:
        energy = np.ones(w.shape[1]) if moment is None else np.diag(moment) / max(float(np.trace(moment)), 1e-30)
        scale, zero = _search_clip(w, energy, levels)
        q = _nearest(w / scale[:, None], zero[:, None], levels.top)
    q = np.where((w == 0).all(axis=1)[:, None], zero[:, None], q)
    return q, scale.astype(np.float32), zero


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str, bits: int) -> IntWeights:
    """Quantize w [N, K] float32 to `bits` bits a weight with whole zero points, as `find` takes the arguments."""
    q, scale, zero = find(w, moment, method, Levels((1 << bits) - 1))
    return IntWeights(bits, q.astype(np.int16), scale, zero.astype(np.uint8))
