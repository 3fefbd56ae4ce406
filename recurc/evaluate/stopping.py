"""What stopping at the halting head does to the answers, and what it saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recurc.dataset import Dataset
from recurc.evaluate.scores import Scores, mean_difference, score

if TYPE_CHECKING:
    from recurc.evaluate.runs import Trajectories


@dataclass(frozen=True)
class Halting:
    """What stopping at the halting head does: scores at the step where each input stops, steps on average, and the share of
    inputs exact that is lost against all steps (negative: gained), with its standard error on the same inputs."""

    scores: Scores
    mean_steps: float
    lost: float
    error: float

    @property
    def costs(self) -> bool:
        """Whether it loses more than a standard error, so that another threshold is worth a search."""
        return self.lost > self.error


def halting(runs: Trajectories, data: Dataset, min_steps: int = 1) -> Halting:
    """Score what runs answer at the step where their halting head stops, at the earliest after `min_steps`."""
    stop = runs.halts.copy()
    stop[:, : min_steps - 1] = False
    stop[:, -1] = True
    at = stop.argmax(axis=1)
    answers = runs.tokens[np.arange(len(at)), at]
    valid = data.valid
    counts = valid.any(axis=1)
    full, early = (((t == data.labels) | ~valid).all(axis=1)[counts].astype(float) for t in (runs.tokens[:, -1], answers))
    lost, error = mean_difference(full - early) if counts.any() else (float("nan"), float("nan"))
    return Halting(score(answers, data.labels, valid), float(at.mean() + 1), float(lost), float(error))
