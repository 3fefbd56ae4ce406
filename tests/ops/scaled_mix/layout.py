"""A tile of rows, its quantized form, and what the layer makes of it."""

from __future__ import annotations

from recurc.plan.layout import BufferSpec, OpLayout, Sizing
from tests.ops.scaled_mix.op import ScaledMix


def buffers(z: Sizing, op: ScaledMix, rows: int, tile: int) -> list[BufferSpec]:
    return [("t", "float", tile * op.mix.k), *z.activations(tile, op.mix.k, True, op.mix),
            ("sums", "int32_t", tile * z.sums(op.mix)), ("y", "float", tile * op.mix.n), z.weight_tile(op.mix)]  # fmt: skip


PART = OpLayout(buffers)
