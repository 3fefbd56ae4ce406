"""Runs of puzzles, of their other forms and with noise, each computed once: any number of policies are scored on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from recurc.evaluate.runs import Progress, Run, record
from recurc.evaluate.stepping import Stepper
from recurc.noise import Noise
from recurc.solve import Answer, Policy, Tokens, form_of, solve
from recurc.symmetries import Form, Forms, forms_for

_Key = tuple[Noise | None, int, int]  # noise of the run, its number, puzzle


class _NotRunYet(Exception):
    """A policy needs another run of a puzzle."""


@dataclass
class Asked:
    """What a model answers n puzzles, tokens [n, seq] and identifiers [n], asked in one form after the other.

    A run is computed when a policy first needs it, with all of the steps that any policy may take of it: `steps` of the first
    one, `restart_steps` of the others. first: the run of the puzzles themselves where it is there already; its steps count.
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
    _runs: dict[_Key, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.first is not None:
            self.steps = len(self.first.margins)
            self._take(None, 0, np.arange(len(self.inputs)), self.first)

    @property
    def plain(self) -> Run:
        """The run of the puzzles themselves, all of its steps."""
        self._need(None, 0, list(range(len(self.inputs))))
        pairs = [self._runs[None, 0, i] for i in range(len(self.inputs))]
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
        left, run = wanted, 0
        while left:
            self._need(policy.noisy, run, left)
            for i in left:
                with suppress(_NotRunYet):
                    found[i] = solve(partial(self._steps, policy.noisy, i), self._forms(i), policy)
            if progress:
                progress(sum(i in found for i in left))
            left, run = [i for i in left if i not in found], run + 1
        return [found[i] for i in wanted]

    def _forms(self, puzzle: int) -> tuple[Form, ...]:
        return forms_for(self.forms, self.inputs[puzzle], int(self.puzzle_ids[puzzle]))

    def _steps(self, noise: Noise | None, puzzle: int, run: int) -> Iterator[tuple[Tokens, float]]:
        key = _key(noise, run, puzzle)
        if key not in self._runs:
            raise _NotRunYet
        tokens, margins = self._runs[key]
        yield from zip(tokens, map(float, margins))

    def _need(self, noise: Noise | None, run: int, puzzles: list[int]) -> None:
        """Run what has not been run yet."""
        missing = np.array([i for i in puzzles if _key(noise, run, i) not in self._runs], dtype=int)
        if not len(missing):
            return
        inputs, ids = self.inputs[missing], self.puzzle_ids[missing]
        if run:
            its = [form_of(run, self._forms(i)) for i in missing]
            inputs = np.stack([row if f is None else f.present(row) for f, row in zip(its, inputs)])
            ids = np.array([puzzle if f is None else f.row(int(puzzle)) for f, puzzle in zip(its, ids)], ids.dtype)
        stir = None if noise is None or not run else (noise, run)
        steps = self.restart_steps if run else self.steps
        self._take(noise, run, missing, record(self.stepper, inputs, ids, steps, threads=self.threads, stir=stir))

    def _take(self, noise: Noise | None, run: int, puzzles: np.ndarray, found: Run) -> None:
        tokens = found.tokens.astype(np.uint8)
        self._runs |= {_key(noise, run, int(i)): (tokens[:, at], found.margins[:, at]) for at, i in enumerate(puzzles)}


def _key(noise: Noise | None, run: int, puzzle: int) -> _Key:
    """The first run has no noise, whoever has some."""
    return (noise if run else None, run, puzzle)
