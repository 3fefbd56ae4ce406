"""The work of attention, head by head and tile by tile as its template loops."""

from __future__ import annotations

from recurc.ops.attention.op import Attention
from recurc.plan.kernels import padded
from recurc.plan.layout import OpShape
from recurc.plan.work import OpCall, OpWork, Step, WorkClass, tiles

PROJECTIONS = WorkClass("attention projections", "products for q, k, v and the output", place=30)
SCORES = WorkClass("attention scores and values", "scores, softmax, rotation, values", place=40)


def count(step: Step, op: Attention, call: OpCall) -> None:
    heads, hd, s, times = op.heads, op.head_dim, call.shape.rows, call.times
    d, products = heads * hd, PROJECTIONS.name
    for rows, tile_count in tiles(s, call.shape.tile):
        n = tile_count * times
        for parts in (2, 1):  # keys and values, then queries
            step.load(call.added, rows, d, n * heads)
            step.inputs(op.qkv, rows, n * heads)
            for _ in range(parts):
                step.product(products, op.qkv, hd, rows, n * heads)
        step.units(products, step.glue(op.qkv), dequant=rows * d * n)
        step.inputs(op.o, rows, n)
        step.load(call.added, rows, d, n)
        step.product(products, op.o, d, rows, n)
        step.residual(op.o, rows, n)
        step.norm(rows, d, n)
        step.store(rows, d, n, "token")
    _scores(step, op, s, times)


def _scores(step: Step, op: Attention, s: int, times: int) -> None:
    """Scores and values of all heads: one row of scores at a time."""
    heads, hd, name = op.heads, op.head_dim, SCORES.name
    work, rows = step.found[name], heads * s * times
    work.macs += 2 * rows * s * hd
    step.units(name, step.glue(op.qkv), score=rows * s, value=rows * hd)
    step.units(name, step.fn("rc_softmax"), row=rows, element=rows * s)
    if op.rope:
        step.units(name, step.fn("rc_rope"), row=2 * rows, element=rows * hd)
        work.flash_bytes += 8 * rows * hd
    if step.kernel(op.qkv) is None:
        step.units(name, "rc_dot_f32", call=rows * (s + hd), mac=2 * rows * s * hd)
        work.ram_bytes += 16 * rows * s * hd
        return
    small = step.fn("rc_quantize_rows8")
    for length, each in ((hd, 4), (s, 1)):  # q, k, v and the result; probabilities
        step.quantize(1, length, rows * each, small)
    step.units(name, step.fn("rc_dot_s8"), call=rows * (s + hd), mac=rows * (s * hd + padded(s) * hd))
    work.ram_bytes += 4 * rows * s * hd


def _row_macs(op: Attention, shape: OpShape) -> int:
    """A query's scores and values, of one head."""
    return 2 * shape.rows * op.head_dim


PART = OpWork(count, (PROJECTIONS, SCORES), _row_macs)
