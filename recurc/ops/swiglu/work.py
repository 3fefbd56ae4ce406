"""The work of a SwiGLU, tile by tile as its template loops."""

from __future__ import annotations

from recurc.ops.swiglu.shape import SwiGlu
from recurc.plan.work import OpCall, Step, tiles


def count(step: Step, op: SwiGlu, call: OpCall, name: str) -> None:
    """Products count as class `name`. An fp32 carry is worked on in place where the op's rows are the carry's."""
    by_channel, times = op.by_channel, call.times
    in_place = not by_channel and step.program.carry == "fp32"
    loads = 0 if in_place else 1 if call.shape.has("t") else 2  # rows at the end of h are read again
    k, inner = op.gate_up.k, op.gate_up.part_n
    for rows, tile_count in tiles(call.shape.rows, call.shape.tile):
        n = tile_count * times
        if by_channel:
            step.load(call.added, k, rows, n * loads)
        else:
            step.load(call.added, rows, k, n * loads)
        step.inputs(op.gate_up, rows, n)
        for _ in range(2):
            step.product(name, op.gate_up, inner, rows, n)
        step.silu(rows, inner, n)
        step.inputs(op.down, rows, n)
        step.product(name, op.down, op.down.n, rows, n)
        step.residual(op.down, rows, n)
        step.norm(rows, k, n)
        if not in_place:
            step.store(rows, k, n, "channel" if by_channel else "token")
