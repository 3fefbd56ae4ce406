"""Weights in groups of 32 inputs of a channel, a scale a group: how int4-g32 and its like find scales and round.

A group's scale is an integer, 0..255, of the channel's binary32 scale: a quarter of a bit a weight. So products with the
weights stay integers, exact in any order, and outliers of a channel coarsen only their own group. There is no zero point. Where
levels reach further on one side of zero, a channel's scale is negative if that fits its weights better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.quant import asymmetric
from recurc.storage.grouped import spread
from recurc.storage.packings.packing import GROUP
from recurc.types import F32Array, I16Array, U8Array

_MOST = np.float32(255)
_LEAST = np.float32(2.0**-96)
_NOTHING = 2.0**-200
_FITS = 2  # of the groups' scales to the rounded weights, each followed by a descent


@dataclass(frozen=True)
class Levels:
    """Levels 0 to `top` of a group, w = step * (level - zero), and how steps are sought.

    zero: a level, or half way between two; what is stored of a weight is `apart` * (level - zero), whole numbers. clips,
    feedback_clips: shrinks of a group's range that clip search and error feedback try.
    """

    top: int
    zero: float
    apart: int = 1
    clips: tuple[float, ...] = asymmetric.Levels.clips
    feedback_clips: tuple[float, ...] = asymmetric.Levels.feedback_clips

    @property
    def above(self) -> float:
        """Steps from zero to the highest level."""
        return self.top - self.zero

    @property
    def half(self) -> float:
        """What zero is above a whole level."""
        return self.zero % 1


def _groups(w: np.ndarray) -> np.ndarray:
    """w [N, K] -> [N, groups, 32], zeros behind the last input."""
    full = np.zeros((len(w), -(-w.shape[1] // GROUP) * GROUP), dtype=np.float32)
    full[:, : w.shape[1]] = w
    return full.reshape(len(w), -1, GROUP)


def _ranges(groups: F32Array, levels: Levels) -> F32Array:
    """Step of each group so that its levels reach all of its weights, float32 [N, groups]."""
    most, least = np.asarray(groups.max(axis=2)), np.asarray(groups.min(axis=2))
    return np.maximum(most / np.float32(levels.above), least / np.float32(-levels.zero)).astype(np.float32)


def _rounded(groups: np.ndarray, step: np.ndarray, levels: Levels) -> np.ndarray:
    """Weights [N, groups, 32] as steps from zero to their level, whole ones and a half where levels are; next to 0 where a
    group's step is 0."""
    q = np.divide(groups, step[..., None], out=np.zeros_like(groups), where=step[..., None] > 0)
    return np.asarray(np.clip(np.rint(q + np.float32(levels.half)) - np.float32(levels.half), -levels.zero, levels.above))


def _searched(groups: np.ndarray, energy: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """(steps [N, groups], the ranges shrunk to the least squared error, each input weighted by `energy` [groups, 32]; that
    error of each channel [N])."""
    ranges = _ranges(groups, levels)
    step, best = ranges, np.full(ranges.shape, np.inf, np.float32)
    for clip in np.array(levels.clips, np.float32):
        s = ranges * clip
        error = (np.square(_rounded(groups, s, levels) * s[..., None] - groups) * energy).sum(axis=2)
        step, best = np.where(error < best, s, step), np.minimum(error, best)
    return step, best.sum(axis=1)


def _turned(groups: np.ndarray, energy: np.ndarray, method: str, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """(+1 or -1 for each channel, so that the weights times it fit the levels better; the steps [N, groups] of those)."""
    found = []  # both ways, though they are alike where levels reach as far below zero as above
    for way in (groups, -groups):
        ranges = _ranges(way, levels)
        found.append((ranges, np.square(ranges).sum(axis=1)) if method == "min-max" else _searched(way, energy, levels))
    (ahead, error), (back, other) = found
    better = other < error
    return np.where(better, np.float32(-1), np.float32(1)), np.where(better[:, None], back, ahead)


def _stored(step: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Steps [N, groups] as (scale of a step float32 [N], m [N, groups]); a channel of zeros has scale 1."""
    most = step.max(axis=1)
    scale = np.where(most > 0, np.maximum(most / _MOST, _LEAST * levels.apart), 1).astype(np.float32)
    m = np.clip(np.ceil(step / scale[:, None]), step > 0, _MOST)
    return scale, m.astype(np.uint8)


def _calibrated(w: np.ndarray, moment: np.ndarray, steps: list[np.ndarray], levels: Levels) -> tuple[np.ndarray, ...]:
    """(steps from zero, scale, m) with the least output error on the calibration inputs, each row by its best of several
    `steps`."""
    feedback = asymmetric.Feedback(moment, levels.top)
    k, zero, best = w.shape[1], np.full(len(w), float(levels.zero)), np.full(len(w), np.inf)
    q, scale, m = np.zeros(w.shape), np.ones(len(w), np.float32), np.zeros(steps[0].shape, np.uint8)
    for step in steps:
        s, groups = _stored(step, levels)
        wide = _wide(s, groups, k)
        candidate = feedback.round(w, wide, zero)
        loss = feedback.loss(w, candidate, wide, zero)
        better = loss < best
        best = np.where(better, loss, best)
        scale = np.where(better, s, scale)
        q, m = (np.where(better[:, None], new, old) for new, old in ((candidate, q), (groups, m)))
    q = feedback.descend(w, q, _wide(scale, m, k), zero)
    for _ in range(_FITS):
        m = fitted(feedback.moment, w, q - levels.zero, scale, m)
        q = feedback.descend(w, q, _wide(scale, m, k), zero)
    return q - levels.zero, scale, m


def fitted(moment: np.ndarray, w: np.ndarray, q: np.ndarray, scale: np.ndarray, m: np.ndarray) -> np.ndarray:
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
    """Step of each weight [N, k]; next to nothing in groups of zeros, whose weights are 0 by whatever level then."""
    wide = spread(m, k) * scale[:, None].astype(np.float64)
    return np.where(wide > 0, wide, _NOTHING)


def find(w: np.ndarray, moment: np.ndarray | None, method: str, levels: Levels) -> tuple[I16Array, F32Array, U8Array]:
    """Bring w [N, K] float32 to levels: (q int16 [N, K], scale float32 [N], m uint8 [N, groups]), w = scale * m * q.

    Args:
        moment, method: as `asymmetric.find` takes them. The q of a group of zeros is one next to zero; its m is 0.
    """
    w = np.asarray(w, dtype=np.float32)
    k = w.shape[1]
    # Rows are searched at magnitude 1 (a power of two apart, so exactly alike): squares neither vanish nor overflow.
    exponent = np.frexp(np.abs(w).max(axis=1))[1]
    groups = _groups(np.ldexp(w, -exponent[:, None]))
    energy = np.ones(k) if moment is None else np.diag(moment) / max(float(np.trace(moment)), 1e-30)
    sign, step = _turned(groups, _groups(energy[None])[0], method, levels)
    w = w * sign[:, None]
    ranges = _ranges(groups * sign[:, None, None], levels)

    def stored_size(steps: np.ndarray) -> np.ndarray:
        return np.asarray(np.ldexp(steps, exponent[:, None]))

    if method == "gptq" and moment is not None:
        clips = np.array(levels.feedback_clips, np.float32)[:: 1 if w.size <= asymmetric.LARGE else 2]
        q, scale, m = _calibrated(w, moment, [stored_size(s) for s in (step, *(ranges * c for c in clips))], levels)
    else:
        scale, m = _stored(stored_size(step), levels)
        q = _rounded(_groups(w), m * scale[:, None], levels).reshape(len(w), -1)[:, :k]
    live = m.max(axis=1) > 0
    q = np.where(spread(m, k) > 0, q, levels.half)
    scale = np.where(live, scale / np.float32(levels.apart), 1) * sign
    return (q * levels.apart).astype(np.int16), scale.astype(np.float32), m.astype(np.uint8)
