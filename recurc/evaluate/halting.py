"""When a puzzle stops early: one rule for the reference, the device's arithmetic here and the device itself (SPEC, Solving)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.models.reasoner import HALT_RULES
from recurc.reading import shown
from recurc.types import BoolArray, F32Array, I64Array, is_float32

MOST_STEPS = 255
MOST_PATIENCE = 255


@dataclass(frozen=True)
class Halt:
    """Stop early: at the earliest after `min_steps` steps, where the halting head's margin exceeds `threshold` and the tokens
    have stayed the same for `patience` steps in a row.

    A head that is sure too early costs answers; one step that changes nothing more is what it takes to keep them. patience 0
    asks the head alone, as the reference does.

    Raises:
        UsageError: a number is out of range, or a threshold that is no float32, as the device has it; infinity is one.
    """

    threshold: float = 0.0
    min_steps: int = 1
    patience: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (("min_steps", 1, MOST_STEPS), ("patience", 0, MOST_PATIENCE)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{value} is out of range", where=argument(name), next=f"Give a number from {low} to {high}")
        if not is_float32(self.threshold):
            raise UsageError(
                f"{shown(self.threshold)} is no halting threshold",
                where=argument("threshold", option="halt-threshold"),
                why="margins are numbers of 32 bits, and so is what they are compared with",
                next="Give a number such as 1.5, or infinity for never",
            )

    def may_stop(self, step: int) -> bool:
        """Whether the head is asked after this step, counted from 1."""
        return step >= self.min_steps

    def stops(self, step: int, margin: F32Array, same: I64Array) -> BoolArray:
        """Which puzzles stop after this step, of these margins [n] and numbers of steps [n] that the tokens have stayed (see
        `Stayed`). As on the device, the threshold is a float32."""
        beyond = np.asarray(margin, np.float32) > np.float32(self.threshold)
        return np.asarray(beyond & (np.asarray(same) >= self.patience) & self.may_stop(step))


class Stayed:
    """Counts, as the device does, for how many steps in a row the tokens of puzzles have stayed the same."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._same = np.zeros(0, np.int64)

    def after(self, tokens: np.ndarray) -> I64Array:
        """The numbers [n] after the next step, which predicts tokens [n, seq]: 0 after the first one."""
        if self._before is None:
            self._same = np.zeros(len(tokens), np.int64)
        else:
            self._same = np.where((tokens == self._before).all(axis=-1), self._same + 1, 0)
        self._before = np.array(tokens)
        return self._same


def stayed(tokens: np.ndarray) -> I64Array:
    """The numbers [steps, n] of a whole run, of its tokens [steps, n, seq]."""
    count = Stayed()
    return np.stack([count.after(now) for now in tokens])


def stayed_text(patience: int) -> str:
    """What a rule asks of the tokens, behind what it asks of the margin; "" where it asks nothing."""
    return f" with tokens that stayed {patience} step{'s' if patience > 1 else ''}" if patience else ""


def margin(q: np.ndarray, rule: str) -> F32Array:
    """What a threshold is compared with, by the rule of a model's configuration: float32 q [..., 2] (halt, continue) -> [...],
    as the device has it: q_halt, or q_halt - q_continue."""
    if rule not in HALT_RULES:
        raise ValueError(f"unknown halting rule {rule!r}")
    halt, go_on = np.asarray(q[..., 0], np.float32), np.asarray(q[..., 1], np.float32)
    return halt if rule == HALT_RULES[0] else np.asarray(halt - go_on)


def stop_index(margins: F32Array, same: I64Array, halt: Halt) -> I64Array:
    """Index [n] of the step at which each puzzle stops, of margins and steps stayed [steps, n]: the last step at the latest."""
    stop = np.stack([halt.stops(step, *row) for step, row in enumerate(zip(margins, same, strict=True), start=1)])
    stop[-1] = True
    return np.asarray(stop.argmax(axis=0))


def as_halt(rule: Halt | float | None) -> Halt | None:
    """The halting rule for what a caller passes: a number is a margin, False is never, True the default rule."""
    if rule is None or rule is False or isinstance(rule, Halt):
        return rule or None
    if rule is True:
        return Halt()
    if not isinstance(rule, (int, float, np.integer, np.floating)) or not _is_finite(rule):
        raise UsageError(
            f"halt is no halting rule: {shown(rule)}",
            where=argument("halt"),
            next="Give True, False, a margin as a number, or a Halt",
        )
    return Halt(float(rule))


def _is_finite(number: float | np.number) -> bool:
    """Whether it is a finite one as a float; a whole number may be too large for any."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
