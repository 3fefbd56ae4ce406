"""What `verify` shows while it runs: a table that grows on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import rich.console
import rich.live
import rich.progress_bar
import rich.table
import rich.text

from recurc.cli.common.output import Console
from recurc.cli.common.tables import fitted
from recurc.cli.common.ticks import Ticks
from recurc.targets.boards import Board
from recurc.verify.result import PuzzleResult
from recurc.words import said

if TYPE_CHECKING:
    from recurc.exchange.onnx_verify import OnnxResult
    from recurc.verify.result import Counted

_REFRESH = 4  # times a second
_AROUND = 8  # lines of the terminal that the rows leave free

COLUMNS = ("puzzle", "steps", "cells", "exact", "CRCs equal", "bits")
ANSWERED = ("restarts", "answer")  # more of them, where puzzles were answered
LEAST = ("exact", "instructions", "ticks", "steps", "cells")  # columns that a narrow page leaves out first


def row(p: PuzzleResult) -> tuple[str, ...]:
    """A puzzle's cells under COLUMNS; "CRCs equal" are steps with equal checksums of carry, logits and tokens."""
    return (
        str(p.puzzle),
        str(p.steps),
        f"{p.right}/{p.cells}",
        exact_text(p.exact, p.cells),
        f"{p.equal_steps}/{p.steps}",
        "all equal" if p.matched else "DIFFER",
        *(() if p.solved is None else (str(p.restarts), "solved" if p.solved else "unsure")),
    )


def columns(results: Sequence[PuzzleResult]) -> tuple[str, ...]:
    """Those of the rows of some results."""
    return (*COLUMNS, *(ANSWERED if any(p.solved is not None for p in results) else ()))


def exact_text(exact: bool, cells: int) -> str:
    """Whether a puzzle came out right; a dash where it has no labels."""
    return "-" if not cells else "yes" if exact else "no"


def accuracy_text(result: Counted | OnnxResult) -> str:
    """A line on a result's `cell` and `exact`; both are None where the dataset has no labels."""
    if result.exact is None or result.cell is None:
        return "accuracy there: not known, the dataset has no labels"
    return f"accuracy there: {100 * result.cell:.1f} % of cells, {100 * result.exact:.1f} % of puzzles exact"


class LiveTable:
    """A context manager; `progress` and `result` are callbacks of `recurc.verify.run.verify`.

    Args:
        what: a few words on what runs where.
        puzzles, steps: how many there are, and of how many steps.
    """

    def __init__(self, console: Console, what: str, puzzles: int, steps: int) -> None:
        self._what, self._puzzles, self._steps = what, puzzles, steps
        self._per_instruction: float | None = None
        self._results: list[PuzzleResult] = []
        self._resumed: set[int] = set()
        self._at, self._tracing, self._start = (0, 0), "", time.monotonic()
        people = console.people
        self._height, self._width = people.height, None if console.wide else people.width
        self._live = rich.live.Live(
            console=people, get_renderable=self._draw, refresh_per_second=_REFRESH, transient=True
        ) if people.is_terminal else None  # fmt: skip
        self._ticks = Ticks(self._said)

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.start()
        else:
            self._ticks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._ticks.__exit__(kind, error, trace)

    def answered(self, board: Board, counts: bool) -> None:
        """The board that has answered, and whether it counts instructions."""
        self._what, self._per_instruction = f"verify on {board.name}", board.ticks.per_instruction if counts else None

    def progress(self, puzzle: int, step: int) -> None:
        """A step of a puzzle is done."""
        self._at = (puzzle, step)

    def traced(self, puzzle: int, step: int, op: int) -> None:
        """An op of the step that differs is done, while the first difference is looked for."""
        self._tracing = f"looking for the difference in puzzle {puzzle}, step {step}: op {op}"

    def result(self, result: PuzzleResult) -> None:
        """A puzzle is done."""
        self._results.append(result)
        self._tracing = ""

    def resumed(self, results: Sequence[PuzzleResult]) -> None:
        """Puzzles that need not be run again."""
        self._results[:0] = results

    def _draw(self) -> rich.console.RenderableType:
        shown = self._results[-max(3, self._height - _AROUND) :]
        table = fitted(
            [said(name) for name in (*columns(self._results), "instructions" if self._per_instruction else "ticks")],
            [(*row(p), f"{round(p.ticks / (self._per_instruction or 1)):,}") for p in shown],
            self._width,
            least=[said(name) for name in LEAST],
        )
        lines = [rich.text.Text(line, style="bold") for line in table.head] + [rich.text.Text(table.rule)]
        for p, made in zip(shown, table.rows, strict=True):
            lines += [rich.text.Text(line, style="" if p.matched else "bold red") for line in made]
        done, (_, step) = len(self._results), self._at
        bar = rich.progress_bar.ProgressBar(
            total=max(1, self._puzzles * self._steps),
            width=30,
            completed=min(done * self._steps + (step if self._running else 0), self._puzzles * self._steps),
        )
        line = rich.table.Table.grid(padding=(0, 1))
        line.add_row(self._what, bar, self._progress(), f"{time.monotonic() - self._start:.0f} s")
        return rich.console.Group(*lines, rich.text.Text(), line)

    def _progress(self) -> str:
        puzzle, step = self._at
        differ = sum(not p.matched for p in self._results)
        told = f"{len(self._results)} of {self._puzzles} puzzles, {differ} differ"
        return said(self._tracing or told + (f"; puzzle {puzzle}, step {step}" if step else ""))

    def _said(self) -> str:
        return f"{self._what}: {self._progress()}"

    @property
    def _running(self) -> bool:
        """Whether the puzzle of the last step is still under way."""
        return not self._results or self._results[-1].puzzle != self._at[0]
