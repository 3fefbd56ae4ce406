"""A plan of something that has to fit."""

from __future__ import annotations

from typing import Any

from recurc.plan.planner import MemoryPlan, does_not_fit, make_plan


def plan_memory(*args: Any, **options: Any) -> MemoryPlan:
    """`make_plan`, or the error that tells how many bytes more which region would need."""
    plan = make_plan(*args, **options)
    if not plan.fits:
        raise does_not_fit(plan)
    return plan
