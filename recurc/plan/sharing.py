"""The plan of a model in a program of the user's own, which has other uses for RAM."""

from __future__ import annotations

from recurc.plan.cost import ClockedBoard, estimate, work_summary
from recurc.plan.layout import make_layout
from recurc.plan.planner import BoardLike, MemoryPlan, make_plan

SLOWER = 0.01  # of a step's instructions and time, that a smaller arena may cost
_PARTS = 8  # sizes that are tried: so many parts of the scratch that the board has room for


def shared_plan(plan: MemoryPlan, board: BoardLike, clocked: ClockedBoard) -> MemoryPlan:
    """The plan with the smallest arena whose tiles make a step at most 1 % slower than all that the board has room for.

    It stays as it is where a size of scratch was asked for, or where there is no estimate of the core.

    Args:
        clocked: the board once more.
    """
    program, forms, kernels = plan.program, plan.forms, plan.kernels
    if program.lowering.scratch:
        return plan
    found = plan.layout
    limit = _cost(plan, found.scratch_bytes, clocked)
    if limit is None:
        return plan
    for part in range(1, _PARTS):
        scratch = plan.layout.scratch_bytes * part // _PARTS
        cost = _cost(plan, scratch, clocked)
        if cost is not None and all(c <= (1.0 + SLOWER) * most for c, most in zip(cost, limit, strict=True)):
            found = make_layout(program, forms, kernels, scratch)
            break
    if found.arena_bytes >= plan.layout.arena_bytes:
        return plan
    return make_plan(program, forms, board, kernels, found)


def _cost(plan: MemoryPlan, scratch: int, board: ClockedBoard) -> tuple[float, ...] | None:
    """Estimated instructions, and cycles where the board has a clock."""
    layout = make_layout(plan.program, plan.forms, plan.kernels, scratch)
    found = estimate(work_summary(plan.program, layout, plan.forms, plan.kernels), board, plan.placement.get("image"))
    if found is None:
        return None
    return float(found["instructions"]), float(found["cycles"] or 0)
