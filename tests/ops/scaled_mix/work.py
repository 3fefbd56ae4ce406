"""Rows loaded, multiplied, added, normed and stored; the residual's multiplication counts as an addition more."""

from __future__ import annotations

from recurc.plan.work import OpCall, OpWork, Step, WorkClass, tiles
from tests.ops.scaled_mix.op import ScaledMix

PRODUCTS = WorkClass("scaled mixing", "products of scaled_mix")


def count(step: Step, op: ScaledMix, call: OpCall) -> None:
    for rows, times in tiles(call.shape.rows, call.shape.tile):
        n = times * call.times
        step.load(call.added, rows, op.mix.k, n)
        step.inputs(op.mix, rows, n)
        step.product(PRODUCTS.name, op.mix, op.mix.n, rows, n)
        for _ in range(2):
            step.residual(op.mix, rows, n)
        step.norm(rows, op.mix.n, n)
        step.store(rows, op.mix.n, n, "token")


PART = OpWork(count, (PRODUCTS,))
