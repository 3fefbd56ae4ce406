"""How long a variant reasons: step counts and halting rules, all scored from one run of the most steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recurc.evaluate.halting import Halt, stayed_text
from recurc.evaluate.scores import mean_difference
from recurc.study.variants import Outcome

THRESHOLDS = tuple(float(q) for q in np.arange(-4, 8.5, 0.5))
MIN_STEPS = (1, 2, 3, 4)
PATIENCE = (0, 1, 2)
AIMS = ("exact", "phi")


@dataclass(frozen=True)
class Setting:
    """Most supervision steps; threshold of the halting head (None: all steps are run), the steps before it is asked, and the
    steps that the tokens must have stayed."""

    steps: int
    threshold: float | None = None
    min_steps: int = 1
    patience: int = 0

    @property
    def halt(self) -> Halt | None:
        """The rule; None: all steps are run."""
        return None if self.threshold is None else Halt(self.threshold, self.min_steps, self.patience)

    def __str__(self) -> str:
        if self.threshold is None:
            return f"{self.steps} step{'s' * (self.steps > 1)}"
        after = f" from step {self.min_steps}" if self.min_steps > 1 else ""
        return f"halting above {self.threshold:g}{stayed_text(self.patience)}{after}, {self.steps} at most"

    def stops(self, outcome: Outcome) -> np.ndarray:
        """Index [n] of the step at which each puzzle of an outcome ends."""
        last = np.full(outcome.n, self.steps - 1)
        return last if self.halt is None else np.minimum(outcome.stops(self.halt), last)


@dataclass(frozen=True)
class Aim:
    """What is to be kept of the fp32 model at full depth: puzzles exact, or without labels the direction of z_H.

    kind: of AIMS. limit: share of puzzles exact that may be lost; for phi, 1 - phi.
    """

    kind: str
    limit: float

    @property
    def least_puzzles(self) -> int:
        """Puzzles that it takes at least to tell that no more than the limit is lost; a phi tells by itself."""
        return int(np.ceil(1 / self.limit)) if self.limit > 0 and self.kind == "exact" else 1

    def mean_and_error(self, deficits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of `deficits` [..., n], over puzzles."""
        return mean_difference(deficits, whole=self.kind == "exact")

    def deficits(self, outcome: Outcome, full: Outcome) -> np.ndarray:
        """What each puzzle loses against fp32 at full depth after each step: float32 [steps, n].

        `outcome` was measured against the full depth (see `Workbench`).
        """
        if self.kind == "phi":
            return 1 - outcome.part.phi
        return np.asarray(full.solved[-1].astype(np.float32) - outcome.solved)


@dataclass(frozen=True)
class Measured:
    """A setting of a variant on n puzzles: deficit with its standard error, mean steps, and what its answers scored.

    exact, kept (the answer is the one that fp32 gives at full depth): shares. phi: mean cosine to that model's z_H.
    """

    setting: Setting
    n: int
    mean_steps: float
    deficit: float
    error: float
    exact: float
    kept: float
    phi: float

    def as_dict(self) -> dict[str, Any]:
        s = self.setting
        return {
            "max_steps": s.steps,
            "halt_threshold": s.threshold,
            "min_steps": s.min_steps if s.threshold is not None else None,
            "patience": s.patience if s.threshold is not None else None,
            "n": self.n,
            "mean_steps": self.mean_steps,
            "deficit": self.deficit,
            "deficit_se": self.error,
            "exact": self.exact,
            "kept": self.kept,
            "phi": self.phi,
        }


def measure_setting(setting: Setting, outcome: Outcome, full: Outcome, aim: Aim) -> Measured:
    """Score one setting."""
    at = (setting.stops(outcome), np.arange(outcome.n))
    mean, error = aim.mean_and_error(aim.deficits(outcome, full)[at])
    return Measured(
        setting,
        outcome.n,
        float(at[0].mean() + 1),
        float(mean),
        float(error),
        float(outcome.solved[at].mean()) if outcome.labelled else float("nan"),
        float(outcome.part.kept[at].mean()),
        float(outcome.part.phi[at].mean(dtype=np.float64)),
    )


@dataclass(frozen=True)
class Scored:
    """All settings of a variant's outcome against fp32 at full depth."""

    outcome: Outcome
    full: Outcome
    aim: Aim

    @cached_property
    def _table(self) -> tuple[list[Setting], np.ndarray, np.ndarray, np.ndarray]:
        """Settings with mean steps, deficits and standard errors; the simplest of equals comes first."""
        found: list[tuple[list[Setting], np.ndarray, np.ndarray, np.ndarray]] = []
        deficits, n = self.aim.deficits(self.outcome, self.full), self.outcome.n
        last = np.arange(self.outcome.steps)[:, None]
        for halt in self._policies():
            stop = np.broadcast_to(last, (len(last), n)) if halt is None else np.minimum(self.outcome.stops(halt)[None], last)
            mean, error = self.aim.mean_and_error(np.take_along_axis(deficits, stop, axis=0))
            rule = () if halt is None else (halt.threshold, halt.min_steps, halt.patience)
            found.append(([Setting(int(s) + 1, *rule) for s in last[:, 0]], stop.mean(axis=1) + 1, mean, error))
        settings, steps, means, errors = zip(*found)
        return [s for group in settings for s in group], np.concatenate(steps), np.concatenate(means), np.concatenate(errors)

    def _policies(self) -> Iterator[Halt | None]:
        yield None
        least = [k for k in MIN_STEPS if k < self.outcome.steps]
        waits = [p for p in PATIENCE if p < self.outcome.steps]
        yield from (Halt(t, k, p) for t in reversed(THRESHOLDS) for k in least for p in waits if not p or k == 1)

    def fewest_steps(self, sigmas: float) -> Measured | None:
        """The setting of fewest steps whose deficit plus so many standard errors is within the aim's limit; None: none is."""
        settings, steps, deficit, error = self._table
        good = np.flatnonzero(deficit + sigmas * error <= self.aim.limit)
        return self._measured(settings[good[steps[good].argmin()]]) if len(good) else None

    def best(self) -> Measured:
        """The setting of the lowest deficit; of equals the one of fewest steps."""
        settings, steps, deficit, _ = self._table
        return self._measured(settings[np.lexsort((steps, deficit))[0]])

    def front(self) -> list[Measured]:
        """Settings that no other one beats in both mean steps and deficit, fewest steps first."""
        settings, steps, deficit, _ = self._table
        found, least = [], np.inf
        for i in np.lexsort((deficit, steps)):
            if deficit[i] < least:
                least = deficit[i]
                found.append(self._measured(settings[i]))
        return found

    def _measured(self, setting: Setting) -> Measured:
        return measure_setting(setting, self.outcome, self.full, self.aim)
