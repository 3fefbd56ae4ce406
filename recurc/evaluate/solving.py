"""How `recurc.solve` does on puzzles, in the device's arithmetic on this computer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurc.dataset import Dataset
from recurc.evaluate.runs import Progress
from recurc.evaluate.scores import Scores, Share, score
from recurc.evaluate.stepping import Engine, EngineStepper
from recurc.solve import Answer, Policy, form_of, solve
from recurc.symmetries import Forms, forms_for


@dataclass(frozen=True)
class Solved:
    """What solving did on N puzzles: tokens uint8 [N, seq], solved bool [N], steps and restarts int [N], margins float32 [N].

    scores: of all answers. right: bool [N], whether the answer is exact; only puzzles in `labelled` bool [N] have labels.
    """

    policy: Policy
    tokens: NDArray[np.uint8]
    solved: NDArray[np.bool_]
    steps: NDArray[np.intp]
    restarts: NDArray[np.intp]
    margins: NDArray[np.float32]
    scores: Scores
    right: NDArray[np.bool_]
    labelled: NDArray[np.bool_]

    @classmethod
    def of(cls, policy: Policy, answers: Sequence[Answer], data: Dataset) -> Solved:
        """What answers to the puzzles of a dataset come to."""
        tokens = np.stack([a.tokens for a in answers])
        return cls(
            policy,
            tokens,
            np.array([a.solved for a in answers]),
            np.array([a.steps for a in answers]),
            np.array([a.restarts for a in answers]),
            np.array([a.margin for a in answers], dtype=np.float32),
            score(tokens, data.labels, data.valid),
            np.asarray(((tokens == data.labels) | ~data.valid).all(axis=1)),
            np.asarray(data.valid.any(axis=1)),
        )

    @property
    def mean_steps(self) -> float:
        """Supervision steps of a puzzle, restarts counted, on average."""
        return float(self.steps.mean())

    @property
    def mean_error(self) -> float:
        """Standard error of `mean_steps`; NaN of one puzzle."""
        return float(self.steps.std(ddof=1) / np.sqrt(len(self.steps))) if len(self.steps) > 1 else float("nan")

    @property
    def wrong_solved(self) -> int:
        """Puzzles that were called solved, with another answer than their label."""
        return int((self.solved & ~self.right & self.labelled).sum())

    @property
    def right_unsure(self) -> int:
        """Puzzles that were called unsure, with the right answer."""
        return int((~self.solved & self.right & self.labelled).sum())

    @property
    def right_if_solved(self) -> Share:
        """How many of the puzzles that were called solved are right: how far "solved" is a certificate."""
        called = self.solved & self.labelled
        return Share(int((called & self.right).sum()), int(called.sum()))

    @property
    def right_if_unsure(self) -> Share:
        """How many of those that were called unsure are."""
        called = ~self.solved & self.labelled
        return Share(int((called & self.right).sum()), int(called.sum()))

    def as_dict(self) -> Mapping[str, Any]:
        """For documents."""
        p = self.policy
        return {
            "exact": self.scores.exact,
            "exact_error": self.scores.exact_error,
            "cell": self.scores.cell,
            "mean_steps": self.mean_steps,
            "mean_steps_error": self.mean_error,
            "worst_steps": int(self.steps.max()),
            "solved": int(self.solved.sum()),
            "wrong_solved": self.wrong_solved,
            "right_unsure": self.right_unsure,
            "restarted": int((self.restarts > 0).sum()),
            "accept": p.accept,
            "theta": p.threshold,
            "patience": p.patience,
            "first_steps": p.steps,
            "restarts": p.restarts,
            "restart_steps": p.restart_steps,
            **p.noise_dict(),
        }


def solve_puzzle(engine: Engine, tokens: NDArray[Any], puzzle_id: int, forms: Forms, policy: Policy) -> Answer:
    """Answer one puzzle: tokens [seq] and its identifier."""
    its = forms_for(forms, tokens, puzzle_id)

    def steps(run: int) -> Iterator[tuple[NDArray[np.uint8], float]]:
        form = form_of(run, its)
        asked, row = (tokens, puzzle_id) if form is None else (form.present(tokens), form.row(puzzle_id))
        stir = None if policy.noisy is None else (policy.noisy, run)
        for state in EngineStepper(engine).steps(asked[None], np.array([row]), policy.budget(run), stir):
            yield state.tensor("tokens")[0], float(state.margin[0])

    return solve(steps, its, policy)


def solve_puzzles(
    engine: Engine, data: Dataset, forms: Forms, policy: Policy, *, progress: Progress | None = None, threads: int | None = None
) -> Solved:
    """Answer the puzzles of a dataset, several at a time.

    Args:
        forms: of the puzzles, none where they have no symmetry.
        progress: called with 1 after each puzzle.
    """
    n = len(data)
    workers = max(1, min(threads or os.cpu_count() or 1, n))
    engines = [engine.clone() for _ in range(workers)]

    def work(lane: int) -> list[tuple[int, Answer]]:
        found = []
        for i in range(lane, n, workers):
            found.append((i, solve_puzzle(engines[lane], data.inputs[i], int(data.puzzle_ids[i]), forms, policy)))
            if progress:
                progress(1)
        return found

    with ThreadPoolExecutor(workers) as pool:
        answers = dict(pair for part in pool.map(work, range(workers)) for pair in part)
    ordered = [answers[i] for i in range(n)]
    return Solved.of(policy, ordered, data)
