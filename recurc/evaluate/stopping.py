"""What stopping early does to the answers, and what it saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recurc.dataset import Dataset
from recurc.evaluate.halting import Halt, stop_index
from recurc.evaluate.scores import Scores, mean_difference, score

if TYPE_CHECKING:
    from recurc.evaluate.runs import Run


@dataclass(frozen=True)
class Halting:
    """What stopping early does: scores at the step where each input stops, steps on average, the share of inputs exact that is
    lost against all steps (negative: gained), with its standard error on the same inputs, and the share of inputs whose answer
    is that of all steps."""

    scores: Scores
    mean_steps: float
    lost: float
    error: float
    kept: float = float("nan")

    @property
    def costs(self) -> bool:
        """Whether it loses more than a standard error, so that another threshold is worth a search."""
        return self.lost > self.error


def halting(run: Run, data: Dataset, halt: Halt) -> Halting:
    """Score what a run answers at the step where its halting head stops."""
    at = stop_index(run.margins, run.same, halt)
    answers = run.tokens[at, np.arange(len(at))]
    valid = data.valid
    counts = valid.any(axis=1)
    full, early = (((t == data.labels) | ~valid).all(axis=1)[counts].astype(float) for t in (run.tokens[-1], answers))
    lost, error = mean_difference(full - early) if counts.any() else (float("nan"), float("nan"))
    kept = float((answers == run.tokens[-1]).all(axis=-1).mean())
    return Halting(score(answers, data.labels, valid), float(at.mean() + 1), float(lost), float(error), kept)
