"""Precision x activations x depth: what a checkpoint keeps at which cost. One run of S steps gives all smaller S as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence

from recurc.models.reasoner import ReasonerConfig
from recurc.report.csvfile import csv_text
from recurc.study.variants import Outcome, Variant

COLUMNS = (
    "label", "precision", "activations", "engine", "h_cycles", "l_cycles", "steps", "n", "cell", "exact", "loss", "loss_se",
    "phi_first", "phi_last", "phi_flat_first", "phi_flat_last", "kept", "mean_steps", "halted_cell", "halted_exact", "macs",
    "halted_macs", "bytes", "pareto",
)


def grid(
    config: ReasonerConfig, precisions: Sequence[str], activations: Sequence[str], *,
    h_cycles: Sequence[int] = (), l_cycles: Sequence[int] = (), steps: Sequence[int] = (), carry: str = "fp32",
    engine: str = "auto", method: Optional[str] = None,
) -> list[Variant]:
    """Every combination, each at the largest number of steps; empty lists mean the trained depth.

    Plain fp32 comes first at every depth, asked for or not: it is what the others are compared with, and costs nothing more.
    """
    deepest = max(steps, default=config.halt_max_steps)
    plain = Variant("fp32", "fp32")
    pairs = [(p, a) for p in precisions for a in activations if (p, a) != ("fp32", "fp32")]
    found = []
    for h in h_cycles or (config.H_cycles,):
        for low in l_cycles or (config.L_cycles,):
            depth = {"h_cycles": h, "l_cycles": low, "steps": deepest}
            found.append(Variant(plain.precision, plain.activations, **depth))
            found += [Variant(p, a, carry=carry, engine=engine, method=method, **depth) for p, a in pairs]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Row:
    """One line of a sweep: an outcome at some number of steps and plain fp32 at that depth; pareto: it solves puzzles, and
    nothing else solves as many with no more multiply-adds."""

    outcome: Outcome
    fp32: Outcome
    pareto: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Keys as in COLUMNS, and the curves by step."""
        loss, error = self.outcome.loss(self.fp32)
        return {**self.outcome.as_dict(), "loss": loss, "loss_se": error, "pareto": self.pareto}


def rows_of(outcomes: Sequence[Outcome], steps: Sequence[int] = ()) -> list[Row]:
    """Lines of a sweep, by depth, fewest multiply-adds first; `steps` as in `grid`.

    `outcomes` are of variants of one `grid`: plain fp32 is among them for every depth.
    """
    plain = {o.variant.schedule: o for o in outcomes if o.variant.plain}
    rows = []
    for depth in sorted(plain, key=lambda schedule: plain[schedule].macs):
        for s in sorted(set(steps)) or [plain[depth].steps]:
            fp32 = plain[depth].until(s)
            rows += [Row(o.until(s), fp32) for o in outcomes if o.variant.schedule == depth]
    return _with_front(rows)


def _with_front(rows: Sequence[Row]) -> list[Row]:
    """Mark the Pareto front of exact accuracy against multiply-adds; of equals the one of fewest bytes is on it, what
    solves nothing never."""
    best, front = 0.0, set()
    for i in sorted(range(len(rows)), key=lambda i: (rows[i].outcome.macs, -rows[i].outcome.exact, rows[i].outcome.bytes)):
        if rows[i].outcome.exact > best:
            best = rows[i].outcome.exact
            front.add(i)
    return [Row(r.outcome, r.fp32, i in front) for i, r in enumerate(rows)]


def as_csv(rows: Sequence[Row]) -> str:
    """The table as CSV, one line a row, columns COLUMNS."""
    return csv_text((row.as_dict() for row in rows), COLUMNS)
