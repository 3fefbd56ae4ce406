"""Precision x activations x depth: what a checkpoint keeps at which cost. One run of S steps gives all smaller S as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

from recurc.ir.lowering import Lowering
from recurc.models.reasoner import ReasonerConfig
from recurc.report.costs import COSTS, cost_of
from recurc.report.csvfile import csv_text
from recurc.study.variants import Outcome, Variant, asked_columns

COLUMNS = (
    "label",
    "precision",
    "activations",
    "engine",
    "h_cycles",
    "l_cycles",
    "steps",
    "n",
    "cell",
    "exact",
    "loss",
    "loss_se",
    "phi_first",
    "phi_last",
    "phi_flat_first",
    "phi_flat_last",
    "kept",
    "mean_steps",
    "halted_cell",
    "halted_exact",
    "macs",
    "halted_macs",
    "bytes",
    "pareto",
    "tied",
    "asked_exact",
    "asked_mean_steps",
    "asked_solved",
    "asked_wrong",
)


@dataclass(frozen=True)
class Depths:
    """Numbers of cycles and steps to try; none: as trained."""

    h_cycles: Sequence[int] = ()
    l_cycles: Sequence[int] = ()
    steps: Sequence[int] = ()


class StorageKnobs(TypedDict, total=False):
    """Of `recurc.ir.lowering.Knobs` those that are no depth."""

    carry: str | None
    puzzle_table: str | None
    scratch: int | None


def grid(
    config: ReasonerConfig,
    precisions: Sequence[str],
    activations: Sequence[str],
    depths: Depths = Depths(),  # noqa: B008 - it is frozen
    *,
    engine: str = "auto",
    method: str | None = None,
    **knobs: Unpack[StorageKnobs],
) -> list[Variant]:
    """Every combination, each at the largest number of steps. knobs: of all others than plain fp32, see `Lowering`.

    Plain fp32 comes first at every depth, asked for or not: it is what the others are compared with, and costs nothing more.
    """
    deepest = max(depths.steps, default=config.halt_max_steps)
    plain = Variant("fp32", "fp32")
    pairs = [(p, a) for p in precisions for a in activations if (p, a) != ("fp32", "fp32")]
    found = []
    for h in depths.h_cycles or (config.H_cycles,):
        for low in depths.l_cycles or (config.L_cycles,):
            found.append(replace(plain, h_cycles=h, l_cycles=low, steps=deepest))
            depth = Lowering.of(steps=deepest, h_cycles=h, l_cycles=low, **knobs)
            found += [Variant(p, a, method, engine=engine, **vars(depth)) for p, a in pairs]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Row:
    """One line of a sweep: an outcome at some number of steps and plain fp32 at that depth.

    pareto: on the front, see `with_front`; tied: not on it, and not told from it either.
    """

    outcome: Outcome
    fp32: Outcome
    pareto: bool = False
    tied: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Keys as in COLUMNS, and the curves by step."""
        loss, error = self.outcome.loss(self.fp32)
        asked = self.outcome.asked
        again = {"asked": asked and asked.as_dict(), **asked_columns(asked)}
        return {**self.outcome.as_dict(), "loss": loss, "loss_se": error, "pareto": self.pareto, "tied": self.tied, **again}


def rows_of(outcomes: Sequence[Outcome], steps: Sequence[int] = ()) -> list[Row]:
    """Lines of a sweep, by depth, fewest multiply-adds first; `steps` as in `Depths`.

    `outcomes` are of variants of one `grid`: plain fp32 is among them for every depth.
    """
    plain = {o.variant.schedule: o for o in outcomes if o.variant.plain}
    rows = []
    for depth in sorted(plain, key=lambda schedule: plain[schedule].macs):
        for s in sorted(set(steps)) or [plain[depth].steps]:
            fp32 = plain[depth].until(s)
            rows += [Row(o.until(s), fp32) for o in outcomes if o.variant.schedule == depth]
    return with_front(rows)


def with_front(rows: Sequence[Row]) -> list[Row]:
    """Mark the front of exact accuracy against cost (`cost_of`). Differences within a standard error, on the same puzzles, are
    none: a line is on the front when it solves more than all that cost less, beyond that error; of those of one cost that are
    as good as the best, the one of fewest bytes. Tied is what nothing of no more cost beats beyond the error. What solves
    nothing is neither."""
    which = cost_of([{"macs": row.outcome.macs} for row in rows])
    other = COSTS[which == "macs"]
    costs = [(getattr(row.outcome, which), getattr(row.outcome, other)) for row in rows]
    able = [i for i, row in enumerate(rows) if row.outcome.exact > 0]
    front: list[int] = []
    for cost in sorted({costs[i][0] for i in able}):
        same = [i for i in able if costs[i][0] == cost]
        best = max(same, key=lambda i: rows[i].outcome.exact)
        as_good = [i for i in same if not _better(rows[best], rows[i])]
        one = min(as_good, key=lambda i: (costs[i][1], -rows[i].outcome.exact))
        if all(_better(rows[one], rows[i]) for i in front):
            front.append(one)
    tied = {
        i for i in able if i not in front and not any(costs[k][0] <= costs[i][0] and _better(rows[k], rows[i]) for k in able)
    }
    return [replace(row, pareto=i in front, tied=i in tied) for i, row in enumerate(rows)]


def _better(one: Row, other: Row) -> bool:
    """Whether it solves more puzzles, beyond a standard error of the difference, which is a puzzle's at least."""
    gain, error = other.outcome.loss(one.outcome)
    return gain > max(error, 1 / one.outcome.n)


def as_csv(rows: Sequence[Row]) -> str:
    """The table as CSV, one line a row, columns COLUMNS."""
    return csv_text((row.as_dict() for row in rows), COLUMNS)
