"""recurc's side of the memory comparison: what the planner gives for a shape, a precision, a carry and a board."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.ir.lower import lower
from recurc.ir.lowering import CARRIES
from recurc.models.reasoner import ReasonerConfig
from recurc.plan.budget import image_budget
from recurc.plan.kernels import choose_kernels
from recurc.plan.layout import Layout, arena_pieces, make_layout
from recurc.plan.planner import does_not_fit, make_plan
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board

__all__ = ["CARRIES", "PRECISIONS", "Figures", "arena_kinds", "own_figures"]
PRECISIONS = ("int8", "int4")


@dataclass(frozen=True)
class Figures:
    """Bytes. `least`: the arena with tiles of one row; the others as planned for the board.

    `problem` says why it does not fit; then only `image` and `least` are known, and `arena` is `least`.
    """

    board: str
    precision: str
    carry: str
    image: int
    least: int
    arena: int
    kinds: dict[str, int]
    data: int = 0
    stack: int = 0
    problem: str | None = None

    @property
    def ram(self) -> int:
        return self.arena + self.data + self.stack


def arena_kinds(layout: Layout) -> dict[str, int]:
    """Bytes of the arena by use: the carry; "io": inputs and outputs; then the place that all ops share by turns, as keys
    and values ("kv", with the mixed values) and the rest of it ("scratch", where the logits are too). The sum is the arena.
    """
    pieces = arena_pieces(layout)
    carry = sum(piece.bytes for piece in pieces if piece.kind == "carry")
    kv = max(
        (sum(p.bytes for p in pieces if p.kind == "kv" and p.name.startswith(f"{shape.name}.")) for shape in layout.shapes),
        default=0,
    )
    scratch = layout.scratch_bytes - kv
    return {"carry": carry, "kv": kv, "scratch": scratch, "io": layout.arena_bytes - carry - kv - scratch}


def own_figures(config: ReasonerConfig, board_name: str, precision: str, carry: str) -> Figures:
    """Plan one firmware."""
    board, program = load_board(board_name), lower(config, carry=carry)
    kernels, form = choose_kernels(board.features), precision_named(precision).form
    image = image_budget(program, form, kernels).total
    least = make_layout(program, form, kernels, 0)
    plan = make_plan(program, form, board, kernels)
    if not plan.fits:
        return Figures(
            board_name,
            precision,
            carry,
            image,
            least.arena_bytes,
            least.arena_bytes,
            arena_kinds(least),
            problem=does_not_fit(plan).what,
        )
    parts = {part: sum(s.bytes for s in plan.sections if s.part == part) for part in ("data", "stack")}
    return Figures(
        board_name,
        precision,
        carry,
        image,
        least.arena_bytes,
        plan.layout.arena_bytes,
        arena_kinds(plan.layout),
        parts["data"],
        parts["stack"],
    )
