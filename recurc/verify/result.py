"""What a comparison of a device with the host yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from recurc.device.frames import Hello
from recurc.documents.commands import DifferenceEntry, PuzzleEntry
from recurc.evaluate.fidelity import mean_and_error
from recurc.targets.boards import Board
from recurc.verify.places import Place
from recurc.verify.proof import Proof


@dataclass(frozen=True)
class Difference:
    """First place where device and host differ: puzzle (from 0), step (from 1), tensor, index in it, both values.

    `index` is None where no element was looked up; the values are then CRCs (or sizes, or halting decisions). `place`: the op
    after which the two first differ, None where it was not traced. `differing` of the tensor's `elements` differ.
    `reproduced` is False when all bits were equal as the puzzle was run again. `run`: of an answer with restarts, the run whose
    step it is: 0 the puzzle itself, i its i-th other form.
    """

    puzzle: int
    step: int
    tensor: str
    index: tuple[int, ...] | None
    host: float | int | None
    device: float | int | None
    place: Place | None = None
    differing: int = 0
    elements: int = 0
    reproduced: bool = True
    run: int = 0

    def __str__(self) -> str:
        where = self.tensor + (f"[{', '.join(map(str, self.index))}]" if self.index is not None else "")
        if self.index is None and self.place is None and self.tensor in ("carry", "logits", "tokens"):
            where += " (checksum)"
        again = f", restart {self.run}" if self.run else ""
        text = f"puzzle {self.puzzle}{again}, step {self.step}: {where} is {_exact(self.host)} on the host and "
        text += f"{_exact(self.device)} on the device"
        if self.place is not None:
            text += f", {self.place}"
        if self.differing:
            text += f"; {self.differing:,} of {self.elements:,} elements differ"
        if not self.reproduced:
            text += "; all bits were equal when the puzzle was run again, so it is not the code: look at memory, clock, power"
        return text

    def as_dict(self) -> DifferenceEntry:
        """For JSON: the fields, `place` as a dictionary or None; `from_dict` reads it."""
        index = None if self.index is None else list(self.index)
        place = None if self.place is None else self.place.as_dict()
        fields = {**vars(self), "index": index, "place": place}
        return cast(DifferenceEntry, fields if self.run else {n: v for n, v in fields.items() if n != "run"})  # the same fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Difference:
        place, index = data["place"], data["index"]
        return cls(
            **{
                **data,
                "index": None if index is None else tuple(index),
                "place": None if place is None else Place.from_dict(place),
            }
        )


def _exact(value: float | int | None) -> str:
    if value is None:
        return "another"
    return f"{value:.9g} ({float(value).hex()})" if isinstance(value, float) else str(value)


_NONE = type(None)


@dataclass(frozen=True)
class PuzzleResult:
    """One puzzle on the device.

    `cells` count for accuracy, `right` of them are; `ticks` of all its steps; `equal_steps`: steps equal in every bit before
    the first one that was not; `stack_used` in bytes, the most since the firmware started. `phi_first`, `phi_last`: fidelity of
    z_H, read back from the device after the first and the last step, to the fp32 reference; None where it was not read.
    """

    puzzle: int
    steps: int
    halted: bool
    matched: bool
    right: int
    cells: int
    ticks: int
    equal_steps: int = 0
    stack_used: int = 0
    phi_first: float | None = None
    phi_last: float | None = None
    difference: Difference | None = None
    tokens: tuple[int, ...] | None = None  # what the device predicts at the end, where it was asked for
    solved: bool | None = (
        None  # of a puzzle that was answered: whether the answer is believed, and how often it was asked again
    )
    restarts: int | None = None

    @property
    def exact(self) -> bool:
        return 0 < self.cells == self.right

    def as_dict(self) -> PuzzleEntry:
        """For JSON: the fields, of the last ones only those that are told; `from_dict` reads it."""
        fields = {**vars(self), "difference": None if self.difference is None else self.difference.as_dict()}
        kept = {name: v for name, v in fields.items() if v is not None or name not in ("tokens", "solved", "restarts")}
        return cast(PuzzleEntry, kept)  # the same fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PuzzleResult:
        """Raises KeyError, TypeError, ValueError: it is none."""
        for name in ("puzzle", "steps", "right", "cells", "ticks", "equal_steps", "stack_used"):
            if type(data[name]) is not int or data[name] < 0:
                raise ValueError(f"{name} is no number from 0")
        if any(type(data[name]) is not bool for name in ("halted", "matched")):
            raise ValueError("halted and matched are true or false")
        if any(type(data[name]) not in (float, int, type(None)) for name in ("phi_first", "phi_last")):
            raise ValueError("phi is a number or null")
        if any(type(data.get(name)) not in kinds for name, kinds in (("solved", (bool, _NONE)), ("restarts", (int, _NONE)))):
            raise ValueError("solved is true or false, restarts a number")
        if (data.get("solved") is None) != (data.get("restarts") is None) or (data.get("restarts") or 0) < 0:
            raise ValueError("solved and restarts are told together, restarts from 0 on")
        d, tokens = data["difference"], data.get("tokens")
        if tokens is not None and not (isinstance(tokens, list) and all(type(t) is int and 0 <= t < 1 << 16 for t in tokens)):
            raise ValueError("tokens are whole numbers from 0")
        return cls(
            **{
                **data,
                "difference": None if d is None else Difference.from_dict(d),
                "tokens": None if tokens is None else tuple(tokens),
            }
        )


@dataclass(frozen=True)
class Fidelity:
    """phi of carries that the device sent, over `n` puzzles: after one step, and after `last_steps` steps (a mean); their
    standard errors, None of a single puzzle."""

    n: int
    first: float
    last: float
    last_steps: float
    first_error: float | None = None
    last_error: float | None = None


@dataclass(frozen=True)
class StepView:
    """What `show` is called with.

    `step` (0: the input itself), `tokens` [seq] as the device predicts them, `input`, `labels`, which cells count; `run` of an
    answer with restarts, whose form `input` and `tokens` are in.
    """

    step: int
    tokens: np.ndarray
    input: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    run: int = 0


@dataclass(frozen=True)
class Answered:
    """How puzzles were answered: called solved, with another answer than their label among those (None: no labels), asked
    again; supervision steps of all runs."""

    solved: int
    wrong_solved: int | None
    restarted: int
    mean_steps: float
    worst_steps: int


class Counted:
    """What follows from the results of `puzzles` alone: sums are over all of them, `cell` and `exact` are 0..1."""

    puzzles: tuple[PuzzleResult, ...]

    @property
    def fidelity(self) -> Fidelity | None:
        """Fidelity of the carries read back from the device; None when none were."""
        read = [p for p in self.puzzles if p.phi_first is not None and p.phi_last is not None]
        if not read:
            return None
        first, last, steps = (
            mean_and_error(np.array([getattr(p, name) for p in read], dtype=float))
            for name in ("phi_first", "phi_last", "steps")
        )
        return Fidelity(len(read), first[0], last[0], steps[0], first[1], last[1])

    @property
    def n(self) -> int:
        return len(self.puzzles)

    @property
    def matched(self) -> int:
        """Puzzles of which every step was equal in every bit."""
        return sum(p.matched for p in self.puzzles)

    @property
    def bit_exact(self) -> bool:
        return self.matched == self.n

    @property
    def cell(self) -> float | None:
        """None where no cell counts: the dataset has no labels."""
        cells = sum(p.cells for p in self.puzzles)
        return sum(p.right for p in self.puzzles) / cells if cells else None

    @property
    def exact(self) -> float | None:
        """Of the puzzles with cells that count; None where none has any."""
        labelled = sum(p.cells > 0 for p in self.puzzles)
        return sum(p.exact for p in self.puzzles) / labelled if labelled else None

    @property
    def answered(self) -> Answered | None:
        """How they were answered; None where they were run."""
        found = [p for p in self.puzzles if p.solved is not None]
        if not found:
            return None
        wrong = sum(bool(p.solved) and not p.exact for p in found if p.cells)
        return Answered(
            sum(bool(p.solved) for p in found),
            wrong if any(p.cells for p in found) else None,
            sum(bool(p.restarts) for p in found),
            sum(p.steps for p in found) / len(found),
            max(p.steps for p in found),
        )

    @property
    def steps(self) -> int:
        return sum(p.steps for p in self.puzzles)

    @property
    def ticks(self) -> int:
        return sum(p.ticks for p in self.puzzles)


@dataclass(frozen=True)
class Tally(Counted):
    """Some puzzles' results."""

    puzzles: tuple[PuzzleResult, ...]


@dataclass(frozen=True)
class VerifyResult(Counted):
    """Outcome over `n` puzzles. `cell` and `exact` are 0..1; `ticks` and `steps` are sums; `stack_used` in bytes.

    `resumed` of the puzzles come from the journal of an earlier run. `proof`: that the device holds the build's weights; None
    where it was not asked for one, so that only checksums speak for them.
    """

    on: str
    board: Board
    info: Hello
    puzzles: tuple[PuzzleResult, ...]
    first_difference: Difference | None
    stack_used: int
    retries: int
    journal: Path | None = None
    resumed: int = 0
    proof: Proof | None = None

    def __repr__(self) -> str:
        found = "bit-exact" if self.bit_exact else f"{self.matched} of {self.n} equal"
        return f"VerifyResult({found}, {self.n} puzzles, {self.steps} steps on {self.board.name})"

    def instructions(self, ticks: int) -> int | None:
        """Instructions that `ticks` stand for; None where ticks are time (real boards, processes), or may be: an emulator
        behind a port need not count instructions."""
        per = self.board.ticks.per_instruction if self.on == "qemu" else None
        return None if per is None else round(ticks / per)

    @property
    def instructions_per_step(self) -> int | None:
        """Instructions of a supervision step, on average; None where ticks are time."""
        return self.instructions(round(self.ticks / max(1, self.steps)))

    @property
    def seconds_per_step(self) -> float | None:
        """Seconds of a supervision step, on average, where a clock measured them; None in emulators."""
        seconds = self.seconds(self.ticks)
        return None if seconds is None else seconds / max(1, self.steps)

    def seconds(self, ticks: int) -> float | None:
        """Seconds that `ticks` stand for, where a clock measured them; None in emulators."""
        return None if self.board.emulator or not self.info.tick_hz else ticks / self.info.tick_hz
