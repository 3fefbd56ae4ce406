"""When the halting head stops a puzzle: one rule for the reference, the device's arithmetic here and the device itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.reading import shown

HRM_RULE = "q_halt>q_continue"  # the other rule, TRM's, asks for q_halt alone


@dataclass(frozen=True)
class Halt:
    """Stop early on the halting head: at the earliest after `min_steps` steps."""

    threshold: float = 0.0
    min_steps: int = 1


def margin(q: np.ndarray, rule: str) -> float:
    """By how much the halting head q [2] is for stopping: q_halt, or q_halt - q_continue for HRM's rule."""
    halt, go_on = (np.float32(v) for v in q)
    return float(halt - go_on) if rule == HRM_RULE else float(halt)


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
