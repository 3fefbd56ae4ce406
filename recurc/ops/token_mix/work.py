"""The work of token mixing."""

from __future__ import annotations

from recurc.ops.swiglu.work import count
from recurc.plan.work import OpWork, WorkClass

PRODUCTS = WorkClass("token mixing", "matrix products over the sequence", place=10)
PART = OpWork(lambda step, op, call: count(step, op, call, PRODUCTS.name), (PRODUCTS,))
