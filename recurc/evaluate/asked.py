"""Runs of puzzles and of their other forms, each computed once: any number of policies are scored on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from recurc.evaluate.runs import Progress, Run, record
from recurc.evaluate.stepping import Stepper
from recurc.solve import Answer, Policy, Tokens, solve
from recurc.symmetries import Form, Forms, forms_for


class _NotRunYet(Exception):
    """A policy needs another run of a puzzle."""


@dataclass
class Asked:
    """What a model answers n puzzles, tokens [n, seq] and identifiers [n], asked in one form after the other.

    A form is run when a policy first needs it, with all of the steps that any policy may take of it: `steps` of the puzzle
    itself, `restart_steps` of other forms. first: the run of the puzzles themselves where it is there already; its steps count.
    threads: batches that run beside each other.
    """

    stepper: Stepper
    inputs: np.ndarray
    puzzle_ids: np.ndarray
    forms: Forms
    steps: int
    restart_steps: int
    first: Run | None = None
    threads: int = 1
    _runs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.first is not None:
            self.steps = len(self.first.margins)
            self._take(0, np.arange(len(self.inputs)), self.first)

    @property
    def plain(self) -> Run:
        """The run of the puzzles themselves, all of its steps."""
        self._need(0, list(range(len(self.inputs))))
        pairs = [self._runs[0, i] for i in range(len(self.inputs))]
        return Run(
            np.stack([tokens for tokens, _ in pairs], axis=1),
            np.stack([margins for _, margins in pairs], axis=1),
            np.zeros((0, 0, 0, 0), np.float32),
        )

    def answers(self, policy: Policy, puzzles: Sequence[int] | None = None, progress: Progress | None = None) -> list[Answer]:
        """Answers of the puzzles (numbers; default: all), in order: those of `recurc.solve.solve`.

        Args:
            progress: called with 1 after each puzzle.
        """
        assert policy.steps <= self.steps and (not policy.restarts or policy.restart_steps <= self.restart_steps)
        wanted = list(range(len(self.inputs))) if puzzles is None else list(puzzles)
        found: dict[int, Answer] = {}
        left, form = wanted, 0
        while left:
            self._need(form, left)
            for i in left:
                with suppress(_NotRunYet):
                    found[i] = solve(partial(self._steps, i), self._forms(i), policy)
            if progress:
                progress(sum(i in found for i in left))
            left, form = [i for i in left if i not in found], form + 1
        return [found[i] for i in wanted]

    def _forms(self, puzzle: int) -> tuple[Form, ...]:
        return forms_for(self.forms, self.inputs[puzzle], int(self.puzzle_ids[puzzle]))

    def _steps(self, puzzle: int, form: int) -> Iterator[tuple[Tokens, float]]:
        if (form, puzzle) not in self._runs:
            raise _NotRunYet
        tokens, margins = self._runs[form, puzzle]
        yield from zip(tokens, map(float, margins))

    def _need(self, form: int, puzzles: list[int]) -> None:
        """Run what has not been run yet."""
        missing = np.array([i for i in puzzles if (form, i) not in self._runs], dtype=int)
        if not len(missing):
            return
        steps = self.restart_steps if form else self.steps
        inputs, ids = self.inputs[missing], self.puzzle_ids[missing]
        if form:
            its = [self._forms(i)[form - 1] for i in missing]
            inputs = np.stack([f.present(row) for f, row in zip(its, inputs)])
            ids = np.array([f.row(int(puzzle)) for f, puzzle in zip(its, ids)], ids.dtype)
        run = record(self.stepper, inputs, ids, steps, threads=self.threads)
        self._take(form, missing, run)

    def _take(self, form: int, puzzles: np.ndarray, run: Run) -> None:
        tokens = run.tokens.astype(np.uint8)
        self._runs |= {(form, int(i)): (tokens[:, at], run.margins[:, at]) for at, i in enumerate(puzzles)}
