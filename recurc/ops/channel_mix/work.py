"""The work of channel mixing."""

from __future__ import annotations

from recurc.ops.swiglu.work import count
from recurc.plan.work import OpWork, WorkClass

PRODUCTS = WorkClass("channel mixing", "matrix products over the features", place=20)
PART = OpWork(lambda step, op, call: count(step, op, call, PRODUCTS.name), (PRODUCTS,))
