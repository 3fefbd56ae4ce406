"""The cheapest precision, carry, cycles and procedure that asks again which keep what fp32 has, within a tolerance.

1. Every combination of precision, carry and cycles is priced on the target; what does not fit is out, and what costs no less
   than another one of the same depth with no fewer bits.
2. The rest answers a few puzzles by one procedure. Out goes what surely loses too much; of the others the cheapest go on.
3. They answer all search puzzles, each run once, and every procedure is scored on that: steps of a run, restarts, theta,
   patience, and what is believed; where there are no other forms, the noise of restarts too. The cheapest is chosen whose loss
   plus two standard errors is within the tolerance, and whose worst case takes no more steps than allowed. Then restarts that
   are shorter or longer than the first run are tried around it.
4. It is confirmed by the same rule on puzzles that the search has not seen; the next cheapest takes its place where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recurc.arguments import argument
from recurc.dataset import Dataset
from recurc.errors import FidelityError
from recurc.evaluate.asked import Asked
from recurc.evaluate.solving import Solved
from recurc.evaluate.theta import candidates, is_certificate
from recurc.noise import START, STEP, Noise
from recurc.solve import ACCEPT, Policy
from recurc.study.arms import Arm, nearest_fit, undominated
from recurc.study.pricing import Prices
from recurc.study.settings import Aim
from recurc.study.tune import FP32, HELD, OUT, SURE, Stage
from recurc.study.units import Executor, stepper_of
from recurc.study.variants import Outcome, Variant
from recurc.study.workbench import Workbench
from recurc.symmetries import Forms

FIRST, FULL, MOST_TRIES = 32, 3, 3  # puzzles of the first round; variants that all procedures are scored on; choices tried
RUNS, RESTARTS, PATIENCE, THETAS = (3, 4, 6, 8), (0, 1, 2, 4, 8), (0, 1), 6
NOISES = (Noise(1.0, START), Noise(0.5, START), Noise(0.3, STEP))  # the first one in the first round


@dataclass(frozen=True)
class Tried:
    """A variant with a procedure on n puzzles: the loss of exact against fp32 at full depth with its standard error, and what a
    puzzle costs, to be compared (see `Price.cost`)."""

    arm: Arm
    solved: Solved
    deficit: float
    error: float
    cost: tuple[float, ...]

    def within(self, limit: float, sigmas: float) -> bool:
        """Whether the loss, moved by so many standard errors, is within a limit."""
        return self.deficit + sigmas * self.error <= limit

    def as_dict(self) -> dict[str, Any]:
        """For documents."""
        v, p, s = self.arm.variant, self.arm.price, self.solved
        return {
            "stored": v.stored_as,
            "precision": v.precision,
            "carry": v.carry,
            "h_cycles": v.h_cycles,
            "l_cycles": v.l_cycles,
            **s.as_dict(),
            "n": len(s.steps),
            "policy_worst": s.policy.worst_steps,
            "deficit": self.deficit,
            "deficit_se": self.error,
            "seconds": p.seconds and p.seconds * s.mean_steps,
            "seconds_worst": p.seconds and p.seconds * s.policy.worst_steps,
            "macs": p.macs * s.mean_steps,
            "image_bytes": p.image_bytes,
            "ram_bytes": p.ram_bytes,
        }


@dataclass(frozen=True)
class TunedSolving:
    """Result of `SolveSearch.run`. full: fp32 at full depth on the search's puzzles; held_full: its exact on the others."""

    choice: Tried
    held: Tried
    confirmed: bool
    full: Outcome
    held_full: float
    tried: tuple[Tried, ...]
    passed_over: tuple[Tried, ...]


@dataclass(frozen=True)
class SolveSearch:
    """One search; see the module's text.

    bench: measures against the full depth. minimize: of MEASURES. data, held_out: labelled puzzles to search on and to confirm
    with. forms: other forms of them. worst: steps that a puzzle may take at most (None: any number). seed: of noise.
    """

    bench: Workbench
    prices: Prices
    aim: Aim
    minimize: str
    data: Dataset
    held_out: Dataset
    forms: Forms
    worst: int | None
    executor: Executor
    stage: Stage
    seed: int = 0

    def run(self, variants: Sequence[Variant]) -> TunedSolving:
        """Search among variants.

        Raises:
            DoesNotFitError: none fits. FidelityError: none that fits keeps enough, on the search's puzzles or on the others.
        """
        every = [Arm(v, self.prices(v)) for v in map(self.bench.resolve, dict.fromkeys(variants))]
        fitting = [arm for arm in every if arm.price.fits]
        if not fitting:
            raise nearest_fit(every, self.prices)
        arms = sorted(undominated(fitting, self.minimize), key=lambda a: a.price.cost(self.minimize, 1))
        full = self._plain(self.data)
        some = self.data.take(FIRST)
        first = [self._first(arm, some, full) for arm in arms]
        going = sorted((t for t in first if t.within(self.aim.limit, OUT)), key=lambda t: t.cost)[:FULL]
        tried = [best for t in going or first[:1] if (best := self._best(t.arm, full)) is not None]
        choice, held, passed = self._confirmed(sorted(tried, key=lambda t: t.cost))
        confirmed = held.within(self.aim.limit, SURE)
        held_full = self._plain(self.held_out).exact
        return TunedSolving(choice, held, confirmed, full, held_full, tuple(first), tuple(passed))

    def _plain(self, data: Dataset) -> Outcome:
        plain = self.bench.resolve(FP32)
        with self.stage("fp32 at full depth", len(data)) as advance:
            return self.bench.evaluate([plain], self.executor, advance, data)[0]

    def _asked(self, arm: Arm, data: Dataset) -> Asked:
        stepper = stepper_of(self.bench.subject(arm.variant))
        most = max(r for r in RUNS if r <= max(RUNS[0], self._steps(arm)))
        most = min(most, self._steps(arm))
        return Asked(stepper, data.inputs, data.puzzle_ids, self.forms, most, most, threads=self.executor.workers)

    def _steps(self, arm: Arm) -> int:
        steps = arm.variant.steps
        assert steps is not None  # it is resolved
        return steps

    def _first(self, arm: Arm, some: Dataset, full: Outcome) -> Tried:
        """A variant on a few puzzles by the default procedure."""
        asked = self._asked(arm, some)
        policy = Policy(asked.steps, len(self.forms), asked.steps)
        if not self.forms:
            policy = self._with_noise(replace(policy, restarts=RESTARTS[-1]), NOISES[0])
        with self.stage(f"{arm.variant.stored_as}, H {arm.variant.h_cycles} L {arm.variant.l_cycles}", len(some)) as advance:
            answers = asked.answers(policy, progress=advance)
        return self._tried(arm, Solved.of(policy, answers, some), full)

    def _tried(self, arm: Arm, solved: Solved, full: Outcome) -> Tried:
        n = len(solved.steps)
        deficits = full.solved[-1][:n].astype(np.float32) - (solved.right & solved.labelled)
        mean, error = self.aim.mean_and_error(deficits)
        return Tried(arm, solved, float(mean), float(error), arm.price.cost(self.minimize, solved.mean_steps))

    def _with_noise(self, policy: Policy, noise: Noise) -> Policy:
        """The same whose restarts have noise."""
        return replace(policy, noise=noise.sigma, noise_at=noise.at, seed=self.seed)

    def _allowed(self, policy: Policy) -> bool:
        return self.worst is None or policy.worst_steps <= self.worst

    def _policies(self, asked: Asked) -> list[Policy]:
        """Procedures to score whose restarts are as long as the first run: within the worst case that is allowed. A vote is
        left to `_votes`."""
        found = []
        most = len(self.forms) or RESTARTS[-1]
        for steps in dict.fromkeys(min(r, asked.steps) for r in RUNS):
            for restarts in dict.fromkeys(min(k, most) for k in RESTARTS):
                for patience in PATIENCE:
                    base = Policy(steps, restarts, steps, 0.0, patience)
                    if not self._allowed(base):
                        continue
                    thetas = candidates(asked, base)
                    some = dict.fromkeys(thetas[round(i)] for i in np.linspace(0, len(thetas) - 1, THETAS))
                    ways = ACCEPT[:2] if restarts else ACCEPT[:1]
                    made = [replace(base, threshold=t, accept=a) for t in some for a in ways]
                    noises = NOISES if restarts and not self.forms else ()
                    found += [self._with_noise(p, noise) for p in made for noise in noises] if noises else made
        return found

    def _around(self, best: Policy, asked: Asked) -> list[Policy]:
        """The same with other numbers of steps and of restarts, each apart from the others; none where there are no
        restarts."""
        if not best.restarts:
            return []
        most = len(self.forms) or RESTARTS[-1]
        runs = dict.fromkeys(min(r, asked.steps) for r in RUNS)
        tried = [
            replace(best, steps=b, restarts=k, restart_steps=r)
            for b in runs for r in runs for k in dict.fromkeys(min(k, most) for k in RESTARTS[1:]) if b != r
        ]  # fmt: skip
        return [p for p in tried if self._allowed(p)]

    def _best(self, arm: Arm, full: Outcome) -> Tried | None:
        """The cheapest procedure of a variant that keeps enough on all search puzzles; else the nearest. None: none is short
        enough."""
        asked = self._asked(arm, self.data)
        found = self._scored(arm, asked, self._policies(asked), full)
        found += self._scored(arm, asked, self._votes(found), full)
        best = self._cheapest(found)
        return best and self._cheapest(found + self._scored(arm, asked, self._around(best.solved.policy, asked), full))

    def _cheapest(self, found: Sequence[Tried]) -> Tried | None:
        """The cheapest that keeps enough, else the nearest; None of none."""
        good = [t for t in found if t.within(self.aim.limit, SURE)]
        if good:
            return min(good, key=lambda t: (t.cost, t.deficit))
        return min(found, key=lambda t: t.deficit + t.error, default=None)

    def _scored(self, arm: Arm, asked: Asked, policies: Sequence[Policy], full: Outcome) -> list[Tried]:
        found = []
        if policies:
            with self.stage(f"procedures of {arm.variant.stored_as}", len(policies)) as advance:
                for policy in policies:
                    found.append(self._tried(arm, Solved.of(policy, asked.answers(policy), self.data), full))
                    advance(1)
        return found

    def _votes(self, found: Sequence[Tried]) -> list[Policy]:
        """Procedures in which all runs vote, where the margin is no certificate: those that agreement was tried with."""
        margin = [t.solved for t in found if t.solved.policy.accept == "margin"]
        if not margin or is_certificate([min(margin, key=lambda s: s.wrong_solved)]) is not False:
            return []
        agreed = (t.solved.policy for t in found if t.solved.policy.accept == "agreement")
        return [replace(policy, accept="vote") for policy in agreed]

    def _confirmed(self, tried: Sequence[Tried]) -> tuple[Tried, Tried, list[Tried]]:
        """(the cheapest that keeps enough, the same on held-out puzzles, what was passed over)."""
        good = [t for t in tried if t.within(self.aim.limit, SURE)]
        if not good:
            raise self._keeps_nothing(min(tried, key=lambda t: t.deficit, default=None))
        full = self._plain(self.held_out)
        passed: list[Tried] = []
        pairs: list[tuple[Tried, Tried]] = []
        for t in good[:MOST_TRIES]:
            with self.stage(f"confirming {t.arm.variant.stored_as}", len(self.held_out)) as advance:
                answers = self._asked(t.arm, self.held_out).answers(t.solved.policy, progress=advance)
            held = self._tried(t.arm, Solved.of(t.solved.policy, answers, self.held_out), full)
            if held.within(self.aim.limit, SURE):
                return t, held, passed
            passed.append(held)
            pairs.append((t, held))
        for t, held in pairs:
            if held.within(self.aim.limit, HELD):
                return t, held, [p for p in passed if p is not held]
        raise self._keeps_nothing(passed[0])

    def _keeps_nothing(self, nearest: Tried | None) -> FidelityError:
        if nearest is None:
            return FidelityError(
                "no procedure is short enough",
                where=argument("worst_steps"),
                why=f"a puzzle may take {self.worst} steps, and the shortest run that is tried has {RUNS[0]}",
                next="Allow more",
            )
        v = nearest.arm.variant
        return FidelityError(
            f"nothing that fits {self.prices.board.name} keeps within {100 * self.aim.limit:g} points of fp32 at full depth",
            where=f"nearest: {v.stored_as}, H {v.h_cycles}, L {v.l_cycles}",
            why=f"{100 * nearest.deficit:.1f} ± {100 * nearest.error:.1f} points lost on {len(nearest.solved.steps)} puzzles, "
            "and two standard errors more must be within",
            next=f"Allow more, take more puzzles with {argument('limit')}, or a larger board",
        )
