"""How many multiply-adds lie between two calls of a model's hook: about two milliseconds' worth on the board's clock."""

from __future__ import annotations

from recurc.plan.cost import ClockedBoard, estimate, work_summary
from recurc.plan.planner import MemoryPlan

HOOK_SECONDS = 0.002
HOOK_MACS = 250_000  # where the time of a step is not known
_LEAST = 1_000


def hook_macs(plan: MemoryPlan, board: ClockedBoard) -> int:
    """Multiply-adds between two calls on a board; HOOK_MACS where its clock, or what its core takes, is not known."""
    work = work_summary(plan.program, plan.layout, plan.forms, plan.kernels)
    found = estimate(work, board, plan.placement.get("image"))
    if found is None or not found["seconds"]:
        return HOOK_MACS
    return max(int(found["macs"] * HOOK_SECONDS / found["seconds"]) // _LEAST * _LEAST, _LEAST)
