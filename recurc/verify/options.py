"""What a comparison runs, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypedDict

import numpy as np

from recurc.build.manifest import BoardArtifact
from recurc.evaluate.halting import Halt
from recurc.solve import Policy
from recurc.targets.boards import Board
from recurc.verify.journal import Journal
from recurc.verify.result import PuzzleResult, StepView


class Meter(Protocol):
    """Measures fidelity of carries that a device sent (recurc.verify.phi.FidelityMeter)."""

    def measure(self, tokens: np.ndarray, puzzle_id: int, carries: Mapping[int, np.ndarray]) -> tuple[float, float]: ...


@dataclass(frozen=True)
class RunOptions:
    """What is run.

    limit: only the first so many examples. steps: supervision steps a puzzle, as compiled when None. halt: stop early on the
    halting head. policy: instead, answer each puzzle by it, restarts included; the device decides by itself. offset: number of
    the dataset's first example, for reports. meter: z_H is read back from the device and held against the fp32 model on the
    first `fidelity` puzzles. tokens: keep what the device predicts at the end in the results, and so in the journal.
    """

    limit: int | None = None
    steps: int | None = None
    halt: Halt | None = None
    policy: Policy | None = None
    offset: int = 0
    meter: Meter | None = None
    fidelity: int = 4
    tokens: bool = False


def _no_progress(puzzle: int, step: int) -> None:
    """Default of `progress`."""


def _no_result(result: PuzzleResult) -> None:
    """Default of `on_result`."""


def _no_op(puzzle: int, step: int, op: int) -> None:
    """Default of `on_op`."""


def _no_journal(board: Board, artifact: BoardArtifact) -> None:
    """Default of `open_journal`."""


@dataclass(frozen=True)
class Listener:
    """Who is told.

    progress: called after each step with puzzle and step. show: called for the first puzzle before the first and after each
    step. on_result: called with each result as it arrives, not with those from the journal. on_op: called with puzzle, step and
    op while the first difference is traced. open_journal: called with the board that answered and its artifact of the build;
    gives the journal that results are appended to as they arrive, and from which those that are there are taken, or None. It is
    closed at the end.
    """

    progress: Callable[[int, int], None] = _no_progress
    show: Callable[[StepView], None] | None = None
    on_result: Callable[[PuzzleResult], None] = _no_result
    on_op: Callable[[int, int, int], None] = _no_op
    open_journal: Callable[[Board, BoardArtifact], Journal | None] = _no_journal


class Keywords(TypedDict, total=False):
    """The fields of both as keywords of a call."""

    limit: int | None
    steps: int | None
    halt: Halt | None
    policy: Policy | None
    offset: int
    meter: Meter | None
    fidelity: int
    tokens: bool
    progress: Callable[[int, int], None]
    show: Callable[[StepView], None] | None
    on_result: Callable[[PuzzleResult], None]
    on_op: Callable[[int, int, int], None]
    open_journal: Callable[[Board, BoardArtifact], Journal | None]


DEFAULTS, NOBODY = RunOptions(), Listener()


def split(keywords: Mapping[str, Any]) -> tuple[RunOptions, Listener]:
    """Keywords of a call, as one of Python's makes it, as options and listener.

    Raises:
        TypeError: neither has one of that name.
    """
    told = {field.name for field in fields(Listener)}
    return (
        RunOptions(**{name: value for name, value in keywords.items() if name not in told}),
        Listener(**{name: value for name, value in keywords.items() if name in told}),
    )
