"""What a comparison of a device with the host yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.device.frames import Hello
from recurc.targets.boards import Board


@dataclass(frozen=True)
class Halt:
    """Stop early on the halting head: at the earliest after `min_steps` steps."""

    threshold: float = 0.0
    min_steps: int = 1


@dataclass(frozen=True)
class Difference:
    """First place where device and host differ: puzzle (from 0), step (from 1), tensor, index in it, both values.

    `index` is None when the difference did not come back while the tensors were read; the values are then CRCs.
    """

    puzzle: int
    step: int
    tensor: str
    index: tuple[int, ...] | None
    host: float | int
    device: float | int

    def __str__(self) -> str:
        place = self.tensor + (f"[{', '.join(map(str, self.index))}]" if self.index is not None else " (checksum)")
        values = f"{_exact(self.host)} on the host and {_exact(self.device)} on the device"
        return f"puzzle {self.puzzle}, step {self.step}: {place} is {values}"


def _exact(value: float | int) -> str:
    return f"{value:.9g} ({float(value).hex()})" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class PuzzleResult:
    """One puzzle on the device: `cells` count for accuracy, `right` of them are; `ticks` of all its steps."""

    puzzle: int
    steps: int
    halted: bool
    matched: bool
    right: int
    cells: int
    ticks: int

    @property
    def exact(self) -> bool:
        return self.right == self.cells


@dataclass(frozen=True)
class StepView:
    """What `show` is called with.

    `step` (0: the input itself), `tokens` [seq] as the device predicts them, `input`, `labels`, which cells count.
    """

    step: int
    tokens: np.ndarray
    input: np.ndarray
    labels: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class VerifyResult:
    """Outcome over `n` puzzles. `cell` and `exact` are 0..1; `ticks` and `steps` are sums; `stack_used` in bytes."""

    on: str
    board: Board
    info: Hello
    puzzles: tuple[PuzzleResult, ...]
    first_difference: Difference | None
    stack_used: int
    retries: int

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
    def cell(self) -> float:
        return sum(p.right for p in self.puzzles) / max(1, sum(p.cells for p in self.puzzles))

    @property
    def exact(self) -> float:
        return sum(p.exact for p in self.puzzles) / max(1, self.n)

    @property
    def steps(self) -> int:
        return sum(p.steps for p in self.puzzles)

    @property
    def ticks(self) -> int:
        return sum(p.ticks for p in self.puzzles)

    def instructions(self, ticks: int) -> int | None:
        """Instructions that `ticks` stand for; None where ticks are time (real boards, processes)."""
        per = self.board.ticks.per_instruction
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
