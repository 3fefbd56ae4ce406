"""What would make a model fit: changes that are really planned, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from recurc.arguments import argument
from recurc.documents.plan import Advice
from recurc.ir.lowering import CARRIES
from recurc.ir.program import Program
from recurc.plan.planner import BoardLike, Measured, MemoryPlan, make_plan
from recurc.quant.layer_precisions import layer_forms
from recurc.quant.weights import Precision, precisions
from recurc.storage.form import forms_of

_MOST_COMBINATIONS = 3


@dataclass(frozen=True)
class Change:
    """One change (or several at once) with what planning it gave.

    options: what to pass. saves: bytes less than before of what was missing in that region (equal to the
    missing bytes or more when it fits). missing_bytes, region: what still lacks when it does not. note: a board that can only
    be planned for.
    """

    change: str
    options: tuple[str, ...]
    fits: bool
    saves: int
    missing_bytes: int = 0
    region: str | None = None
    note: str = ""

    def as_dict(self) -> Advice:
        return {
            "change": self.change,
            "options": list(self.options),
            "fits": self.fits,
            "saves": self.saves,
            "missing_bytes": self.missing_bytes,
            "region": self.region,
            "note": self.note,
        }


@dataclass(frozen=True)
class _Variant:
    """A value of each knob; None leaves it as it is."""

    table: bool = False
    carry: str | None = None
    precision: Precision | None = None
    board: BoardLike | None = None

    @property
    def steps(self) -> int:
        return sum((self.table, self.carry is not None, self.precision is not None, self.board is not None))

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """(words, option) of each knob that is turned."""
        found = []
        if self.table:
            found.append(("puzzle table streamed", argument("puzzle_table", "fp32")))
        if self.carry is not None:
            found.append((f"carry in {self.carry}", argument("carry", self.carry)))
        if self.precision is not None:
            name = self.precision.name
            found.append((f"weights in {name}", argument("precision", name)))
        if self.board is not None:
            found.append((f"board {self.board.name}", argument("target", self.board.name)))
        return tuple(found)

    def program(self, program: Program) -> Program:
        if self.carry is not None:
            program = replace(program, lowering=replace(program.lowering, carry=self.carry))
        if self.table:
            tables = {**program.tables, "puzzles": replace(program.tables["puzzles"], storage="fp32")}
            program = replace(program, tables=tables, lowering=replace(program.lowering, puzzle_table="fp32"))
        return program


def _by_bits() -> list[Precision]:
    """Precisions to propose, most bits first."""
    return [p for p in precisions().values() if p.advised and not p.lossy]


def _smaller(value: Any, values: Sequence[Any]) -> list[Any]:
    return list(values[values.index(value) + 1 :]) if value in values else []


def _total(board: BoardLike) -> int:
    return sum(r.size for r in board.regions)


class _Trials:
    """Plans variants of one case."""

    def __init__(self, plan: MemoryPlan, board: BoardLike, measured: Measured | None) -> None:
        self.plan, self.board, self.measured = plan, board, measured

    def run(self, variant: _Variant) -> Change:
        board = variant.board or self.board
        # Another board's kernels and port have other sizes: there only the estimate is known.
        measured = self.measured if variant.board is None else None
        program = variant.program(self.plan.program)
        forms = layer_forms(program, variant.precision, {}) if variant.precision else self.plan.forms
        plan = make_plan(program, forms, board, measured=measured)
        words, options = zip(*variant.texts)
        before = self.plan.missing[0]
        lacks = {m.region: m.bytes for m in plan.missing}
        if variant.board is not None:
            saves = before.bytes if plan.fits else 0
        else:
            after = next((m for m in plan.missing if m.region == before.region), None)
            saves = (
                before.bytes - after.bytes if after else self._used(self.plan, before.region) - self._used(plan, before.region)
            )
        worst = max(lacks, key=lacks.__getitem__) if lacks else None
        note = ""
        if not board.linkable:
            note = ("its firmware is written, not compiled here" if board.buildable
                    else "described only, nothing can be built for it yet")  # fmt: skip
        return Change(" and ".join(words), tuple(options), plan.fits, saves, lacks.get(worst, 0) if worst else 0, worst, note)

    @staticmethod
    def _used(plan: MemoryPlan, region: str) -> int:
        return plan.end(region) - next(r.base for r in plan.regions if r.name == region)


def cheapest_changes(
    plan: MemoryPlan, board: BoardLike, boards: Sequence[BoardLike] = (), measured: Measured | None = None
) -> tuple[Change, ...]:
    """Changes that would make a plan fit, cheapest first; single ones that save something but not enough
    follow, with what still lacks.

    In order: the puzzle table streamed (costs nothing), a smaller carry, fewer bits a weight, another board (the one with
    least memory that fits). Combinations are tried only when no single change is enough.

    Args:
        boards: boards to try instead; those without a place for each part, and the board itself, are passed over.
    """
    if plan.fits:
        return ()
    program, trials = plan.program, _Trials(plan, board, measured)
    puzzles = program.tables.get("puzzles")
    streams = [False] + [True] * (puzzles is not None and not puzzles.streamed)
    carries = [None, *_smaller(program.carry, CARRIES)]
    most = max(form.bits for form in forms_of(program, plan.forms).values())
    precisions_below = [None, *(p for p in _by_bits() if p.bits < most)]
    others = sorted((b for b in boards if b.name != plan.board and b.placement), key=_total)

    def fitting_board(variant: _Variant) -> Change | None:
        return next((c for b in others if (c := trials.run(replace(variant, board=b))).fits), None)

    knobs = [_Variant(t, c, b) for t, c, b in product(streams, carries, precisions_below)]
    knobs.sort(key=lambda v: (v.steps, -(v.precision.bits if v.precision else 64), CARRIES.index(v.carry) if v.carry else -1))
    singles = sorted((v for v in knobs if v.steps == 1), key=lambda v: (not v.table, v.carry is None))
    tried = [trials.run(v) for v in singles]
    single_board = fitting_board(_Variant())
    useful = [c for c in tried if not c.fits and c.saves > 0]
    fitting = [c for c in tried if c.fits] + ([single_board] if single_board else [])
    if fitting:
        return (*fitting, *useful)
    combined: list[Change] = []
    for variant in (v for v in knobs if v.steps > 1):
        if len(combined) < _MOST_COMBINATIONS and (change := trials.run(variant)).fits:
            combined.append(change)
    if not combined:
        combined = [c for v in knobs if v.steps == 1 and (c := fitting_board(v))][:_MOST_COMBINATIONS]
    if not combined and knobs and (last := fitting_board(max(knobs, key=lambda v: v.steps))):
        combined = [last]
    return (*combined, *useful)


def advice_text(changes: Sequence[Change]) -> str:
    """One sentence for an error: the changes that make it fit, or that nothing tried does."""
    fitting = [c for c in changes if c.fits]
    if not fitting:
        return "No change that recurc knows makes it fit: no precision, carry type, streamed table or bundled board"
    return "Would fit with " + ", or with ".join(" ".join(c.options) + (f" ({c.note})" if c.note else "") for c in fitting)
