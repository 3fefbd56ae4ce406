"""Scratch of a SwiGLU."""

from __future__ import annotations

from recurc.ops.swiglu.shape import SwiGlu
from recurc.plan.layout import BufferSpec, Sizing


def buffers(z: Sizing, op: SwiGlu, tile: int, copied: bool) -> list[BufferSpec]:
    """Scratch for `tile` rows of length k.

    copied: whether the tile's rows are copied instead of worked on in the carry's memory: to the end of h where there is room
    beside the quantized inner rows (they are not needed in between, and read again), or to a buffer.
    """
    k, inner, c = op.gate_up.k, op.gate_up.part_n, z.kernels.tile
    fits = 4 * inner - z.row_bytes(op.down) >= 4 * k
    in_h = fits and z.quantized(op.gate_up) and not z.kernels.has("rc_transpose")  # fp32 rows are read while h is written
    return [
        ("t", "float", tile * k * (copied and not in_h)), *z.activations(tile, k, z.quantized(op.gate_up), *op.linears),
        ("sums", "int32_t", tile * z.sums(*op.linears)),
        ("h", "float", tile * inner), ("g", "float", tile * c), ("u", "float", tile * c), z.weight_tile(*op.linears),
    ]  # fmt: skip
