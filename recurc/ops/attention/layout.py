"""Scratch of attention: keys and values of one head, mixed values of all heads, then what a tile of rows needs."""

from __future__ import annotations

from recurc.ops.attention.op import Attention
from recurc.plan.kernels import padded
from recurc.plan.layout import MIN_TILE, BufferSpec, OpLayout, Sizing


def buffers(z: Sizing, op: Attention, rows: int, tile: int) -> list[BufferSpec]:
    """Keys, values (transposed) of one head, mixed values of all heads, then a tile's rows."""
    heads, hd = op.heads, op.head_dim
    d, hp, sp, q = heads * hd, padded(hd), padded(rows), z.quantized(op.qkv)
    kind = "int8_t" if q else "float"
    return [
        ("k", kind, rows * (hp if q else hd)), ("v", kind, hd * sp), ("mixed", kind, rows * d),
        ("ka", "float", rows * q), ("va", "float", rows * q), ("ma", "float", rows * heads * q),
        ("t", "float", tile * d), *z.activations(tile, d, True, *op.linears),
        ("sums", "int32_t", tile * z.sums(*op.linears)),
        ("row", "float", tile * hd), ("out", "float", tile * d * q), ("p", "float", sp), ("p8", "int8_t", sp * q),
        ("r8", "int8_t", hp * q), ("sum", "int32_t", int(q)), ("y", "float", tile * z.kernels.tile), z.weight_tile(*op.linears),
    ]  # fmt: skip


PART = OpLayout(buffers, keys_values=frozenset({"k", "v", "mixed", "ka", "va", "ma"}), least_tile=MIN_TILE)
