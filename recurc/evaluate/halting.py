"""When the halting head stops a puzzle: one rule for the reference, the device's arithmetic here and the device itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.models.reasoner import HALT_RULES
from recurc.reading import shown
from recurc.types import BoolArray, F32Array, I64Array


@dataclass(frozen=True)
class Halt:
    """Stop early on the halting head: at the earliest after `min_steps` steps, where its margin exceeds `threshold`."""

    threshold: float = 0.0
    min_steps: int = 1

    def may_stop(self, step: int) -> bool:
        """Whether the head is asked after this step, counted from 1."""
        return step >= self.min_steps

    def stops(self, step: int, margin: F32Array) -> BoolArray:
        """Which puzzles of these margins [n] stop after this step. As on the device, the threshold is a float32."""
        with np.errstate(over="ignore"):
            beyond = np.asarray(margin, np.float32) > np.float32(self.threshold)
        return np.asarray(beyond & self.may_stop(step))


def margin(q: np.ndarray, rule: str) -> F32Array:
    """What a threshold is compared with, by the rule of a model's configuration: float32 q [..., 2] (halt, continue) -> [...],
    as the device has it: q_halt, or q_halt - q_continue."""
    if rule not in HALT_RULES:
        raise ValueError(f"unknown halting rule {rule!r}")
    halt, go_on = np.asarray(q[..., 0], np.float32), np.asarray(q[..., 1], np.float32)
    return halt if rule == HALT_RULES[0] else np.asarray(halt - go_on)


def stop_index(margins: F32Array, halt: Halt) -> I64Array:
    """Index [n] of the step at which each puzzle stops, of margins [steps, n]: the last step at the latest."""
    stop = np.stack([halt.stops(step, row) for step, row in enumerate(margins, start=1)])
    stop[-1] = True
    return np.asarray(stop.argmax(axis=0))


def as_halt(rule: Halt | float | None) -> Halt | None:
    """The halting rule for what a caller passes: a margin stands for itself, False for never, True for the default margin."""
    if rule is None or rule is False or isinstance(rule, Halt):
        return rule or None
    if rule is True:
        return Halt()
    if not isinstance(rule, (int, float, np.number)) or not math.isfinite(rule):
        raise UsageError(
            f"halt is no halting rule: {shown(rule)}",
            where=argument("halt"),
            next="Give True, False, a margin as a number, or a Halt",
        )
    return Halt(float(rule))
