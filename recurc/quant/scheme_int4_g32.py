"""int4-g32: symmetric weights -8..7 in groups of 32 inputs of a channel, a scale a group.

A group's scale is an integer, 0..255, of the channel's binary32 scale: four bits and a quarter a weight. So products with the
weights stay integers, exact in any order, and outliers of a channel coarsen only their own group. There is no zero point, but
-8..7 reaches further on one side: a channel's scale is negative where that fits its weights better.
"""

from __future__ import annotations

import numpy as np

from recurc.quant import asymmetric
from recurc.quant.weights import Precision
from recurc.storage import GROUPED
from recurc.storage.grouped import GroupWeights, spread
from recurc.storage.packings.packing import GROUP
from recurc.types import F32Array

_LEVELS, _ZERO = 15, 8  # as unsigned levels with a zero point, which error feedback takes
_MOST = np.float32(255)
_LEAST = np.float32(2.0**-96)
_FITS = 2  # of the groups' scales to the rounded weights, each followed by a descent


def _groups(w: np.ndarray) -> np.ndarray:
    """w [N, K] -> [N, groups, 32], zeros behind the last input."""
    full = np.zeros((len(w), -(-w.shape[1] // GROUP) * GROUP), dtype=np.float32)
    full[:, : w.shape[1]] = w
    return full.reshape(len(w), -1, GROUP)


def _ranges(groups: F32Array) -> F32Array:
    """Step of each group so that -8..7 of them hold all of its weights, float32 [N, groups]."""
    most, least = np.asarray(groups.max(axis=2)), np.asarray(groups.min(axis=2))
    return np.maximum(most / np.float32(7), least / np.float32(-8)).astype(np.float32)


def _rounded(groups: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Weights [N, groups, 32] as levels -8..7 of their group's step; 0 where that is 0."""
    q = np.divide(groups, step[..., None], out=np.zeros_like(groups), where=step[..., None] > 0)
    return np.asarray(np.clip(np.rint(q), -_ZERO, _LEVELS - _ZERO))


def _searched(groups: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(steps [N, groups], the ranges shrunk to the least squared error, each input weighted by `energy` [groups, 32]; that
    error of each channel [N])."""
    ranges = _ranges(groups)
    step, best = ranges, np.full(ranges.shape, np.inf, np.float32)
    for clip in asymmetric.CLIPS:
        s = ranges * clip
        error = (np.square(_rounded(groups, s) * s[..., None] - groups) * energy).sum(axis=2)
        step, best = np.where(error < best, s, step), np.minimum(error, best)
    return step, best.sum(axis=1)


def _turned(groups: np.ndarray, energy: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """(+1 or -1 for each channel, so that the weights times it fit -8..7 better; the steps [N, groups] of those)."""
    found = []
    for way in (groups, -groups):
        ranges = _ranges(way)
        found.append((ranges, np.square(ranges).sum(axis=1)) if method == "min-max" else _searched(way, energy))
    (ahead, error), (back, other) = found
    better = other < error
    return np.where(better, np.float32(-1), np.float32(1)), np.where(better[:, None], back, ahead)


def _stored(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps [N, groups] as (scale float32 [N], m [N, groups]); a channel of zeros has scale 1."""
    most = step.max(axis=1)
    scale = np.where(most > 0, np.maximum(most / _MOST, _LEAST), 1).astype(np.float32)
    m = np.clip(np.ceil(step / scale[:, None]), step > 0, _MOST)
    return scale, m.astype(np.uint8)


def _calibrated(w: np.ndarray, moment: np.ndarray, steps: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """(q, scale, m) with the least output error on the calibration inputs, each row by its best of several `steps`."""
    feedback = asymmetric.Feedback(moment, _LEVELS)
    k, zero, best = w.shape[1], np.full(len(w), float(_ZERO)), np.full(len(w), np.inf)
    q, scale, m = np.zeros(w.shape), np.ones(len(w), np.float32), np.zeros(steps[0].shape, np.uint8)
    for step in steps:
        s, groups = _stored(step)
        wide = _wide(s, groups, k)
        candidate = feedback.round(w, wide, zero)
        loss = feedback.loss(w, candidate, wide, zero)
        better = loss < best
        best = np.where(better, loss, best)
        scale = np.where(better, s, scale)
        q, m = (np.where(better[:, None], new, old) for new, old in ((candidate, q), (groups, m)))
    q = feedback.descend(w, q, _wide(scale, m, k), zero)
    for _ in range(_FITS):
        m = _fitted(feedback.moment, w, q - _ZERO, scale, m)
        q = feedback.descend(w, q, _wide(scale, m, k), zero)
    return q - _ZERO, scale, m


def _fitted(moment: np.ndarray, w: np.ndarray, q: np.ndarray, scale: np.ndarray, m: np.ndarray) -> np.ndarray:
    """The groups' scales, each in turn moved to the integer with the least output error, rounded weights and others held."""
    k, m = w.shape[1], m.astype(np.float64)
    slope = (q * spread(m, k) * scale[:, None] - w) @ moment
    for group in range(m.shape[1]):
        cut = slice(group * GROUP, min((group + 1) * GROUP, k))
        own = q[:, cut] * scale[:, None]
        curve = ((own @ moment[cut, cut]) * own).sum(axis=1)
        move = np.divide((slope[:, cut] * own).sum(axis=1), curve, out=np.zeros(len(w)), where=curve > 0)
        new = np.where(m[:, group] > 0, np.clip(np.rint(m[:, group] - move), 1, _MOST), 0)
        slope += ((new - m[:, group])[:, None] * own) @ moment[cut]
        m[:, group] = new
    return m.astype(np.uint8)


def _wide(scale: np.ndarray, m: np.ndarray, k: int) -> np.ndarray:
    """Scale of each weight [N, k]; 1 in groups of zeros, whose weights all round to 0 then."""
    wide = spread(m, k) * scale[:, None].astype(np.float64)
    return np.where(wide > 0, wide, 1.0)


def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> GroupWeights:
    """Quantize w [N, K] float32 by one of `asymmetric.METHODS`."""
    w = np.asarray(w, dtype=np.float32)
    k = w.shape[1]
    # Rows are searched at magnitude 1 (a power of two apart, so exactly alike): squares neither vanish nor overflow.
    exponent = np.frexp(np.abs(w).max(axis=1))[1]
    groups = _groups(np.ldexp(w, -exponent[:, None]))
    energy = np.ones(k) if moment is None else np.diag(moment) / max(float(np.trace(moment)), 1e-30)
    sign, step = _turned(groups, _groups(energy[None])[0], method)
    w = w * sign[:, None]
    ranges = _ranges(groups * sign[:, None, None])

    def stored_size(steps: np.ndarray) -> np.ndarray:
        return np.asarray(np.ldexp(steps, exponent[:, None]))

    if method == "gptq" and moment is not None:
        clips = asymmetric.FEEDBACK_CLIPS if w.size <= asymmetric.LARGE else asymmetric.FEEDBACK_CLIPS[::2]
        q, scale, m = _calibrated(w, moment, [stored_size(s) for s in (step, *(ranges * c for c in clips))])
    else:
        scale, m = _stored(stored_size(step))
        q = _rounded(_groups(w), m * scale[:, None]).reshape(len(w), -1)[:, :k]
    q = np.where(spread(m, k) > 0, q, 0)
    return GroupWeights(q.astype(np.int16), (scale * sign).astype(np.float32), m.astype(np.uint8))


PRECISION = Precision(
    "int4-g32",
    GROUPED,
    quantize,
    methods=asymmetric.METHODS,
    advised=False,
    summary="int4 with a scale for each 32 inputs of a channel, calibrated, int8 activations per row",
)
