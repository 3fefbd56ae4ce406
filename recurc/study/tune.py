"""The cheapest schedule, halting rule, precision and carry that keep what fp32 has at full depth, within a tolerance.

1. Every combination is priced on the target (`recurc.study.pricing`); what does not fit is out, and so is what costs no less
   than another one of the same depth with no fewer bits: fewer bits are taken never to gain accuracy. What costs over
   twice as much a step as another one of its depth is run only when nothing else keeps enough.
2. The rest runs on a growing number of puzzles. One run of the most steps scores all step counts and halting rules. Out goes
   what surely loses too much (by two paired standard errors) or costs more than something that surely does not; of the
   others the half that promises least cost goes on. What was dropped and may yet, within one standard error, cost less than
   what is found in the end is brought back.
3. On all search puzzles the cheapest one is chosen whose loss plus two standard errors is within the tolerance: among
   many settings some look better than they are.
4. It is run on puzzles that the search has not seen, and must be within the tolerance there by the same rule. One that is not
   is passed over for the next cheapest, and that is told. When none of a few passes, the cheapest is taken that loses no more
   than the tolerance there, give or take a standard error, and that it is not confirmed is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np

from recurc.arguments import argument
from recurc.dataset import Dataset
from recurc.errors import FidelityError, UsageError
from recurc.evaluate.runs import Progress
from recurc.study.arms import Arm, nearest_fit, undominated, variants_of
from recurc.study.layer_study import LayerStudy
from recurc.study.mixtures import mixtures, pairs
from recurc.study.pricing import Price, Prices
from recurc.study.settings import Aim, Measured, Scored, Setting, measure_setting
from recurc.study.units import Executor
from recurc.study.variants import Outcome, Variant
from recurc.study.workbench import Workbench

FIRST, LEAST_ARMS = 64, 4  # puzzles of the first round; variants that are never halved away
OUT, SURE, HELD, BACK = -2.0, 2.0, -1.0, -1.0  # standard errors
MOST_TRIES, MOST_TIMES = 3, 2.0
LOST = "loses too much"
FP32 = Variant("fp32", "fp32")
Stage = Callable[[str, int], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Tried:
    """An arm as far as it went: `out` says why it went no further, "" when it was there to the end."""

    arm: Arm
    scored: Scored
    out: str = ""


@dataclass(frozen=True)
class Choice:
    """A setting of an arm on the search's puzzles, and on held-out ones with fp32's exact there."""

    arm: Arm
    search: Measured
    held: Measured
    held_full: float

    @property
    def confirmed(self) -> bool:
        """That it is within the tolerance on the held-out puzzles by the rule that it was chosen by."""
        return self.held.deficit + SURE * self.held.error <= self.limit

    @property
    def holds(self) -> bool:
        """That the held-out puzzles do not contradict the search."""
        return self.held.deficit + HELD * self.held.error <= self.limit

    limit: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class Tuned:
    """Result of `tune`. full: fp32 at full depth on the search's puzzles, with its price (it need not fit). passed_over:
    choices that held-out puzzles contradicted, or did not confirm. considered, too_large, dominated: numbers of arms priced,
    that do not fit, that cost no less than a better one; reserve: that cost much more and were not needed."""

    choice: Choice
    full: Outcome
    full_price: Price
    tried: tuple[Tried, ...]
    passed_over: tuple[Choice, ...]
    considered: int
    too_large: int
    dominated: int
    reserve: int


class Search:
    """One search; see the module's text.

    Args:
        bench: measures against the full depth; its calibration is what builds use.
        prices: of the target. minimize: of MEASURES, known there.
        data: puzzles to search on; held_out: others to confirm with.
        stage: told what is evaluated and how many puzzles that is; gives a progress callback.
    """

    def __init__(
        self,
        bench: Workbench,
        prices: Prices,
        aim: Aim,
        minimize: str,
        data: Dataset,
        held_out: Dataset,
        executor: Executor,
        stage: Stage,
    ) -> None:
        if aim.least_puzzles > min(len(data), len(held_out)) or aim.limit <= 0:
            raise UsageError(
                f"{len(data)} puzzles to search on and {len(held_out)} to confirm with cannot tell so small a loss",
                where=argument("tolerance" if aim.kind == "exact" else "min_fidelity"),
                why=f"one puzzle more or less is {100 / max(min(len(data), len(held_out)), 1):.3g} points",
                next=f"Allow more, or take more puzzles with {argument('limit')}"
                if aim.limit > 0
                else "Allow more than nothing",
            )
        self.bench, self.prices, self.aim, self.minimize = bench, prices, aim, minimize
        self.data, self.held_out, self.executor, self.stage = data, held_out, executor, stage

    def arms(self, variants: Sequence[Variant]) -> tuple[list[Arm], list[Arm]]:
        """(those that fit and may be the cheapest, all) with their prices.

        Raises:
            DoesNotFitError: none fits.
        """
        every = [Arm(v, self.prices(v)) for v in map(self.bench.resolve, dict.fromkeys(variants))]
        fitting = [arm for arm in every if arm.price.fits]
        if not fitting:
            raise nearest_fit(every, self.prices)
        for v in self._mixtures([arm.variant for arm in every], {arm.variant for arm in fitting}):
            every.append(Arm(v, self.prices(v)))
            fitting += [every[-1]] if every[-1].price.fits else []
        return undominated(fitting, self.minimize), every

    def run(self, variants: Sequence[Variant]) -> Tuned:
        """Search among variants at the most steps.

        Raises:
            DoesNotFitError: none fits. FidelityError: none that fits keeps enough.
        """
        candidates, every = self.arms(variants)
        plain = self.bench.resolve(FP32)
        outcomes: dict[Variant, Outcome] = {}
        self._extend(outcomes, [plain], 0, len(self.data))
        if self.aim.kind == "exact" and outcomes[plain].exact <= self.aim.limit:
            raise UsageError(
                f"fp32 solves {100 * outcomes[plain].exact:.1f} % of {len(self.data)} puzzles: too few to lose any",
                where=argument("tolerance"),
                why=f"a loss of {100 * self.aim.limit:g} points would leave nothing",
                next=f"Search by {argument('min_fidelity', 'PHI')}, which needs no solved puzzles, or lower "
                + argument("tolerance"),
            )
        usual = [arm for arm in candidates if self._usual(arm, candidates)]
        tried = self._narrowed(usual, outcomes, plain)
        if not any(self._cost(t, SURE) for t in tried if not t.out):
            tried += self._narrowed([arm for arm in candidates if arm not in usual], outcomes, plain)
        choice, passed = self._confirmed([t for t in tried if not t.out], plain)
        too_large = sum(not a.price.fits for a in every)
        return Tuned(
            choice,
            outcomes[plain],
            self.prices(plain),
            tuple(tried),
            tuple(passed),
            len(every),
            too_large,
            len(every) - too_large - len(candidates),
            len(candidates) - len(tried),
        )

    def _usual(self, arm: Arm, arms: Sequence[Arm]) -> bool:
        """Whether a step costs at most so many times that of the cheapest arm of its depth."""
        least = min(a.price.cost(self.minimize, 1)[0] for a in arms if a.variant.schedule == arm.variant.schedule)
        return arm.price.cost(self.minimize, 1)[0] <= MOST_TIMES * least

    def _narrowed(self, arms: Sequence[Arm], outcomes: dict[Variant, Outcome], plain: Variant) -> list[Tried]:
        """Run arms on more and more puzzles, ever fewer of them; all of them as far as they went."""
        alive, done = list(arms), 0
        tried: list[Tried] = []
        while alive:
            size = min(max(FIRST, 2 * done), len(self.data))
            self._extend(outcomes, [a.variant for a in alive], done, size)
            now, done = [Tried(a, self._scored(outcomes, a.variant, plain, size)) for a in alive], size
            if done == len(self.data):
                return self._brought_back([*tried, *now], outcomes, plain)
            going, dropped = self._go_on(now)
            tried += dropped
            alive = [t.arm for t in going]
        return tried

    def _scored(self, outcomes: dict[Variant, Outcome], variant: Variant, plain: Variant, n: int) -> Scored:
        return Scored(outcomes[variant].first(n), outcomes[plain].first(n), self.aim)

    def _mixtures(self, variants: Sequence[Variant], fitting: set[Variant]) -> list[Variant]:
        """Mixed precisions worth a try, at every depth and in every carry that is searched."""
        if self.bench.sample is None:
            return []
        found = []
        for low, high in pairs(variants, fitting.__contains__, self.minimize == "bytes"):
            trained = replace(low, h_cycles=None, l_cycles=None)
            study = LayerStudy(self.bench, trained, high, self.prices)
            with self.stage(f"layers in {high} among {low.precision}", study.work) as advance:
                choices = mixtures(study, self.executor, advance)
            found += [
                self.bench.resolve(replace(v, layers=choice))
                for v in variants
                if v.precision == low.precision
                for choice in choices
            ]
        return found

    def _brought_back(self, tried: Sequence[Tried], outcomes: dict[Variant, Outcome], plain: Variant) -> list[Tried]:
        """What was dropped on few puzzles although it promises to be cheaper than what was found since: run to the end too."""
        now = list(tried)
        while True:
            best = min((c for t in now if not t.out and (c := self._cost(t, SURE)) is not None), default=None)
            back = [
                t
                for t in now
                if t.out and t.out != LOST and (c := self._cost(t, BACK)) is not None and (best is None or c < best)
            ]
            if not back:
                return now
            first = min(back, key=lambda t: self._cost(t, BACK) or ())  # one at a time: it may be enough
            self._extend(outcomes, [first.arm.variant], first.scored.outcome.n, len(self.data))
            scored = self._scored(outcomes, first.arm.variant, plain, len(self.data))
            now = [Tried(t.arm, scored) if t is first else t for t in now]

    def _extend(self, outcomes: dict[Variant, Outcome], variants: Sequence[Variant], start: int, stop: int) -> None:
        """Evaluate variants on puzzles start..stop of the search and join that to what they have; not those that have more."""
        variants = [v for v in dict.fromkeys(variants) if (outcomes[v].n if v in outcomes else 0) == start]
        some = self.data.take(stop - start, start)
        what = f"{len(variants)} variant{'s' * (len(variants) != 1)}, puzzles {start + 1} to {stop}"
        with self.stage(what, len(variants) * len(some)) as advance:
            for outcome in self.bench.evaluate(variants, self.executor, advance, some):
                before = outcomes.get(outcome.variant)
                outcomes[outcome.variant] = outcome if before is None else before.joined(outcome)

    def _cost(self, t: Tried, sigmas: float) -> tuple[float, ...] | None:
        """The least cost at which a loss, moved by so many standard errors, is within the tolerance."""
        found = t.scored.fewest_steps(sigmas)
        return None if found is None else t.arm.price.cost(self.minimize, found.mean_steps)

    def _go_on(self, now: Sequence[Tried]) -> tuple[list[Tried], list[Tried]]:
        """(those that go on, those that are out)."""
        dropped, left = [], []
        sure = min((c for t in now if (c := self._cost(t, SURE)) is not None), default=None)
        for t in now:
            least = self._cost(t, OUT)
            if least is None:
                dropped.append(Tried(t.arm, t.scored, LOST))
            elif sure is not None and least > sure:
                dropped.append(Tried(t.arm, t.scored, "costs more than one that keeps enough"))
            else:
                left.append(t)
        far = (float("inf"),)
        left.sort(key=lambda t: (self._cost(t, 0) or far, t.scored.best().deficit))
        keep = max(LEAST_ARMS, (len(left) + 1) // 2)
        trained = self.bench.resolve(FP32).schedule  # the surest ones stay, whatever the cheap ones promise
        going = [t for i, t in enumerate(left) if i < keep or t.arm.variant.schedule == trained]
        dropped += [Tried(t.arm, t.scored, "promises less than others") for t in left if t not in going]
        if not going:  # all lose too much so far: the nearest stay, so that the error can name one on all puzzles
            nearest = sorted(now, key=lambda t: t.scored.best().deficit)[:LEAST_ARMS]
            going, dropped = nearest, [d for d in dropped if all(d.arm is not t.arm for t in nearest)]
        return going, dropped

    def _confirmed(self, finalists: Sequence[Tried], plain: Variant) -> tuple[Choice, list[Choice]]:
        """The cheapest setting that keeps enough, here and on held-out puzzles; and those that surely did not there."""
        ranked = sorted(((cost, i) for i, t in enumerate(finalists) if (cost := self._cost(t, SURE)) is not None))
        if not ranked:
            raise self._keeps_nothing(finalists)
        passed: list[Choice] = []
        for _, i in ranked[:MOST_TRIES]:
            t = finalists[i]
            found = t.scored.fewest_steps(SURE)
            assert found is not None
            variants = list(dict.fromkeys((plain, t.arm.variant)))
            with self.stage(f"confirming {t.arm.variant.stored_as}", len(variants) * len(self.held_out)) as advance:
                held = dict(zip(variants, self.bench.evaluate(variants, self.executor, advance, self.held_out)))
            choice = Choice(
                t.arm,
                found,
                measure_setting(found.setting, held[t.arm.variant], held[plain], self.aim),
                held[plain].exact,
                limit=self.aim.limit,
            )
            if choice.confirmed:
                return choice, passed
            passed.append(choice)
        for choice in passed:
            if choice.holds:
                return choice, [p for p in passed if p is not choice]
        first = passed[0]
        raise FidelityError(
            f"nothing that fits {self.prices.board.name} keeps enough on held-out puzzles",
            where=f"nearest: {_place(first.arm, first.search)}",
            why=f"{_lost(self.aim, first.held)} on {first.held.n} puzzles that the search had not seen, "
            f"{_lost(self.aim, first.search)} on {first.search.n} that it had",
            next=f"Search on more puzzles with {argument('limit')}",
        )

    def _keeps_nothing(self, finalists: Sequence[Tried]) -> FidelityError:
        best = min(((t.arm, t.scored.best()) for t in finalists), key=lambda found: found[1].deficit + found[1].error)
        wanted = (
            f"within {100 * self.aim.limit:g} points of fp32 at full depth"
            if self.aim.kind == "exact"
            else f"a fidelity of {1 - self.aim.limit:g}"
        )
        return FidelityError(
            f"nothing that fits {self.prices.board.name} keeps {wanted}",
            where=f"nearest: {_place(*best)}",
            why=f"{_lost(self.aim, best[1])} on {best[1].n} puzzles, and two standard errors more must be within",
            next=f"Allow more, or take a larger board{self._more_puzzles(best[1])}",
        )

    def _more_puzzles(self, found: Measured) -> str:
        """How many would have shown that the same loss is small enough, where more of them can."""
        gap, n = self.aim.limit - found.deficit, found.n
        if gap <= 0:
            return ""
        if self.aim.kind == "exact":
            spread = ((found.error * n) ** 2 - 1) / n  # of a puzzle; `mean_and_error` adds one to the sum
            enough = SURE * (SURE * spread + np.sqrt((SURE * spread) ** 2 + 4 * gap**2)) / (2 * gap**2)
        else:
            enough = n * (SURE * found.error / gap) ** 2
        return f", or more puzzles: with {argument('limit', 2 * int(np.ceil(enough)))} the same loss would be small enough"


def _place(arm: Arm, found: Measured) -> str:
    v = arm.variant
    return f"{v.stored_as}, H {v.h_cycles}, L {v.l_cycles}, {found.setting}"


def _lost(aim: Aim, found: Measured) -> str:
    if aim.kind == "phi":
        return f"fidelity is {1 - found.deficit:.4f} ± {found.error:.4f}"
    return f"it loses {100 * found.deficit:.1f} ± {100 * found.error:.1f} points"


__all__ = ["Arm", "Choice", "Search", "Setting", "Tried", "Tuned", "variants_of"]
