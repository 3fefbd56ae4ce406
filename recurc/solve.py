"""The procedure that answers a puzzle: run, and ask again in another form, or with noise, when the model has not halted.

One definition for host, device and page (runtime_c/SPEC.md, "Solving"). A run is a number of supervision steps from the start
of one form of the puzzle; what it needs of a model is the tokens and the halting margin after each step, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.noise import START, Noise
from recurc.symmetries import Form

Tokens = NDArray[np.uint8]
# Run (0: the first) -> (tokens [seq] of its form, margin) after each of its steps, as many as are asked for.
Runs = Callable[[int], Iterable[tuple[Tokens, float]]]

_OF_NOISE = ("noise", "noise_at", "seed")
BELIEVED = {
    "margin": "the first run that halts",
    "agreement": "the answer of the first two runs that agree",
    "vote": "the answer of more than half of all runs",
}
ACCEPT = tuple(BELIEVED)
MOST_STEPS = 255
MOST_RESTARTS = 255


@dataclass(frozen=True)
class Policy:
    """When a run ends, when another one begins, and when an answer is believed.

    steps: of the first run, at most; `restart_steps`: of each other one. restarts: how many there may be. threshold: a run has
    halted when the margin is above it (float32) and the tokens have stayed the same for `patience` steps. accept: "margin": the
    first run that halts gives the answer; "agreement": two runs that end with the same answer do; "vote": more than half of all
    runs that there may be. noise, noise_at, seed: of the noise that all runs but the first have, see `Noise`; 0: none.
    """

    steps: int
    restarts: int = 0
    restart_steps: int = 0
    threshold: float = 0.0
    patience: int = 1
    accept: str = "margin"
    noise: float = 0.0
    noise_at: str = START
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UsageError where a number is out of range."""
        restart_steps = self.restart_steps or self.steps
        object.__setattr__(self, "restart_steps", restart_steps)
        with np.errstate(over="ignore", under="ignore"):
            for name in ("threshold", "noise"):
                object.__setattr__(self, name, float(np.float32(getattr(self, name))))
        for name, low, high in (("steps", 1, MOST_STEPS), ("restart_steps", 1, MOST_STEPS), ("restarts", 0, MOST_RESTARTS),
                                ("patience", 0, MOST_STEPS)):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{value} is out of range", where=argument(name), next=f"Give a number from {low} to {high}")
        if not math.isfinite(self.threshold):
            raise UsageError(
                "the threshold is no finite number of 32 bits",
                where=argument("threshold", option="halt-threshold"),
                next="Give a number, such as 1.5",
            )
        if self.accept not in ACCEPT:
            raise UsageError(f"{self.accept!r} is no way to accept an answer", where=argument("accept"),
                             next=f"Choose {' or '.join(ACCEPT)}")  # fmt: skip
        if self.accept != "margin" and not self.restarts:
            alone = "one run agrees with nobody" if self.accept == "agreement" else "one run is no majority"
            raise UsageError(alone, where=argument("accept"),
                             next=f"Allow restarts with {argument('restarts', 'K')}")  # fmt: skip
        object.__setattr__(self, "noise", self.noise or 0.0)  # -0 is none either
        Noise(self.noise or 1.0, self.noise_at, self.seed)

    @property
    def noisy(self) -> Noise | None:
        """The noise of all runs but the first; None: they have none."""
        return Noise(self.noise, self.noise_at, self.seed) if self.noise else None

    def as_dict(self) -> dict[str, Any]:
        """For documents: the fields, those of the noise where there is some."""
        return {name: value for name, value in vars(self).items() if self.noise or name not in _OF_NOISE}

    def noise_dict(self) -> dict[str, Any]:
        """For documents: the fields of the noise; empty where there is none."""
        return {name: getattr(self, name) for name in _OF_NOISE} if self.noise else {}

    def runs(self, forms: int) -> int:
        """How many runs may follow the first one where there are so many other forms. Without noise a form is asked once: the
        same run again would end the same, and agree with itself."""
        return self.restarts if self.noise else min(self.restarts, forms)

    def budget(self, run: int) -> int:
        """Steps that a run may take; 0 is the first."""
        return self.restart_steps if run else self.steps

    @property
    def most_steps(self) -> int:
        """Steps that the longest run may take."""
        return max(self.steps, self.restart_steps)

    @property
    def worst_steps(self) -> int:
        """Steps of a puzzle that is never solved."""
        return self.steps + self.restarts * self.restart_steps


@dataclass(frozen=True)
class Answer:
    """What `solve` found: tokens uint8 [seq]; whether it is believed; supervision steps of all runs; restarts that began;
    the run that the tokens are from (0: the puzzle itself), and the margin after its last step; how many runs have ended with
    these tokens."""

    tokens: Tokens
    solved: bool
    steps: int
    restarts: int
    run: int
    margin: float
    votes: int = 1


def solve(runs: Runs, forms: Sequence[Form], policy: Policy) -> Answer:
    """Answer one puzzle.

    Args:
        runs: steps of each run; number 0 is of the puzzle, number i of the form that `forms[i - 1]` presents while there is
            one, then of the puzzle itself. Those from 1 on have the policy's noise. At least as many steps as the policy
            allows.
        forms: of the puzzle, all different.

    A run's votes are the runs up to it that have ended with its answer, itself counted. Where no run is accepted, the answer is
    that of the run with the highest margin, the earliest of equal ones; a NaN is less than all else. In a vote it is that of
    the run with most votes, and the margin decides between equal ones.
    """
    best: Answer | None = None
    ends: list[Tokens] = []
    steps, most = 0, 1 + policy.runs(len(forms))
    for run in range(most):
        tokens, margin, taken, halted = _run(runs(run), policy.budget(run), policy)
        steps += taken
        form = form_of(run, forms)
        ends.append(form.back(tokens) if form is not None else forms[0].own(tokens) if forms and most > 1 else tokens)
        votes = sum(np.array_equal(ends[run], end) for end in ends)
        solved = {"margin": halted, "agreement": votes > 1, "vote": votes > 1 and 2 * votes > most}[policy.accept]
        found = Answer(ends[run], solved, steps, run, run, margin, votes)
        if solved:
            return found
        if best is None or _better(found, best, policy):
            best = found
    assert best is not None
    return replace(best, steps=steps, restarts=len(ends) - 1)


def _better(one: Answer, other: Answer, policy: Policy) -> bool:
    """Whether a run that has ended answers rather than an earlier one."""
    if policy.accept == "vote" and one.votes != other.votes:
        return one.votes > other.votes
    return one.margin > other.margin or (math.isnan(other.margin) and not math.isnan(one.margin))


def form_of(run: int, forms: Sequence[Form]) -> Form | None:
    """The form that a run asks; None: the puzzle itself."""
    return forms[run - 1] if 0 < run <= len(forms) else None


def _run(steps: Iterable[tuple[Tokens, float]], most: int, policy: Policy) -> tuple[Tokens, float, int, bool]:
    """(tokens, margin, steps taken, whether it halted) of one run."""
    before: Tokens | None = None
    unchanged = taken = 0
    tokens, margin = np.empty(0, np.uint8), math.nan
    for tokens, margin in steps:
        taken += 1
        unchanged = unchanged + 1 if before is not None and np.array_equal(tokens, before) else 0
        if margin > policy.threshold and unchanged >= policy.patience:
            return tokens, margin, taken, True
        if taken == most:
            break
        before = tokens.copy()
    return tokens, margin, taken, False
