"""The arena: every byte of RAM that the model itself uses, buffer by buffer.

The generated C declares the same buffers in the same order and asserts each offset, so this file and the firmware cannot
disagree. Carry and outputs live for the whole run; each op's scratch lives during that op only, so all scratch shares
one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from recurc.ir.program import Attention, Op, Program, TokenMix
from recurc.plan.kernels import KernelSet, padded

BUFFER_ALIGN = 16
ARENA_ALIGN = 64
_SIZES = {"float": 4, "int32_t": 4, "int16_t": 2, "int8_t": 1, "uint8_t": 1}


def align_up(n: int, to: int) -> int:
    return -(-n // to) * to


@dataclass(frozen=True)
class Buffer:
    """`count` elements of a C type at a byte offset in its struct; 16-byte aligned."""

    name: str
    ctype: str
    count: int
    offset: int = 0

    @property
    def bytes(self) -> int:
        return self.count * _SIZES[self.ctype]


@dataclass(frozen=True)
class Struct:
    """Buffers one after the other."""

    name: str
    buffers: tuple[Buffer, ...]
    bytes: int


def pack_struct(name: str, buffers: Sequence[tuple[str, str, int]]) -> Struct:
    """Lay (name, C type, count) out in order; empty buffers are dropped."""
    offset, placed = 0, []
    for buffer_name, ctype, count in buffers:
        if count:
            placed.append(Buffer(buffer_name, ctype, count, offset))
            offset = align_up(offset + placed[-1].bytes, BUFFER_ALIGN)
    return Struct(name, tuple(placed), offset)


@dataclass(frozen=True)
class OpShape:
    """An op up to its weights: ops of the same shape share one C function and one scratch struct.

    `rows` and `tile`: rows it works on in all and at a time (channels for token mixing, else tokens).
    """

    name: str
    op: Op
    rows: int
    tile: int
    scratch: Struct


@dataclass(frozen=True)
class Layout:
    """Arena of one program for one kernel set and scratch budget."""

    carry: Struct
    kv: Struct
    heads: Struct
    heads_tile: int
    shapes: tuple[OpShape, ...]
    op_shape: tuple[tuple[int, ...], ...]  # shape index of each op of each block
    scratch_bytes: int
    arena_bytes: int


def _mix_buffers(op: Op, rows: int, tile: int, bits: int, kernels: KernelSet) -> list[tuple[str, str, int]]:
    """Scratch of a SwiGLU over rows of length k with inner width i."""
    k, inner = op.gate_up.k, op.gate_up.part_n
    quantized = bits != 32
    kp, ip = padded(k), padded(inner)
    c = kernels.tile
    return [
        ("t", "float", tile * k if isinstance(op, TokenMix) else 0),
        ("x", kernels.act, tile * kp * quantized), ("xa", "float", tile * quantized),
        ("xs", "int32_t", tile * quantized),
        ("h", "float", tile * inner),
        ("hx", kernels.act, tile * ip * quantized), ("ha", "float", tile * quantized),
        ("hs", "int32_t", tile * quantized),
        ("g", "float", tile * c), ("u", "float", tile * c),
        ("w", "int16_t", c * max(kp, ip) * (quantized and kernels.style == "rows")),
    ]


def _attention_buffers(op: Attention, rows: int, tile: int, bits: int, kernels: KernelSet) -> list[tuple[str, str, int]]:
    d = op.heads * op.head_dim
    dp, hp, sp = padded(d), padded(op.head_dim), padded(rows)
    quantized, c = bits != 32, kernels.tile
    return [
        ("x", kernels.act, tile * dp * quantized), ("xa", "float", tile * quantized),
        ("xs", "int32_t", tile * quantized),
        ("row", "float", tile * d), ("out", "float", tile * d), ("p", "float", sp),
        ("r8", "int8_t", op.heads * hp * quantized), ("ra", "float", op.heads * quantized),
        ("rs", "int32_t", op.heads * quantized),
        ("p8", "int8_t", sp * quantized), ("y", "float", tile * c),
        ("w", "int16_t", c * dp * (quantized and kernels.style == "rows")),
    ]


def _op_buffers(op: Op, rows: int, tile: int, bits: int, kernels: KernelSet) -> list[tuple[str, str, int]]:
    make = _attention_buffers if isinstance(op, Attention) else _mix_buffers
    return make(op, rows, tile, bits, kernels)


def _kv_buffers(program: Program, bits: int) -> list[tuple[str, str, int]]:
    """K and V of all tokens: int8 with a scale a (token, head), V transposed; fp32 when the weights are."""
    found = [op for block in program.blocks for op in block.ops if isinstance(op, Attention)]
    if not found:
        return []
    op, s = found[0], program.config.rows
    d, hp, sp = op.heads * op.head_dim, padded(op.head_dim), padded(s)
    if bits == 32:
        return [("k", "float", s * d), ("v", "float", d * sp)]
    return [("k", "int8_t", s * op.heads * hp), ("v", "int8_t", d * sp),
            ("ka", "float", s * op.heads), ("va", "float", s * op.heads)]


def _largest_tile(rows: int, budget: int, size_of) -> int:
    """Rows a tile: the most that fit the budget, then evened out so that the last tile is not a small rest."""
    tile = next((t for t in range(min(rows, 256), 1, -1) if size_of(t) <= budget), 1)
    tiles = -(-rows // tile)
    even = -(-rows // tiles)
    if even % 2 and even < rows:  # kernels take rows in pairs
        even += 1 if even < tile else -1
    return max(even, 1)


def make_layout(program: Program, bits: int, kernels: KernelSet, scratch_budget: int) -> Layout:
    """Lay out the arena; tiles are the largest whose scratch stays within `scratch_budget` bytes (at least one row)."""
    c = program.config
    s, d = c.rows, c.hidden_size
    quantized = bits != 32

    def heads_struct(tile: int) -> Struct:
        dp = padded(d)
        return pack_struct("heads", [
            ("x", kernels.act, tile * dp * quantized), ("xa", "float", tile * quantized),
            ("xs", "int32_t", tile * quantized),
            ("w", "int16_t", kernels.tile * dp * (quantized and kernels.style == "rows")),
        ])

    shapes: list[OpShape] = []
    keys: list[tuple] = []
    op_shape = []
    for block in program.blocks:
        indices = []
        for op in block.ops:
            key = (op.kind, *((ref.k, ref.n) for ref in op.linears))
            if key not in keys:
                rows = d if isinstance(op, TokenMix) else s

                def sized(tile: int, op: Op = op, rows: int = rows) -> int:
                    return pack_struct("", _op_buffers(op, rows, tile, bits, kernels)).bytes

                tile = _largest_tile(rows, scratch_budget, sized)
                name = f"{op.kind}_{len(keys)}"
                scratch = pack_struct(name, _op_buffers(op, rows, tile, bits, kernels))
                keys.append(key)
                shapes.append(OpShape(name, op, rows, tile, scratch))
            indices.append(keys.index(key))
        op_shape.append(tuple(indices))
    heads_tile = _largest_tile(c.seq_len, scratch_budget, lambda t: heads_struct(t).bytes)
    heads = heads_struct(heads_tile)
    carry = pack_struct("carry", [
        ("z_h", "float", s * d), ("z_l", "float", s * d),
        ("logits", "float", c.seq_len * c.vocab_size), ("q", "float", 4),
        ("input", "uint8_t", c.seq_len), ("tokens", "uint8_t", c.seq_len),
    ])
    kv = pack_struct("kv", _kv_buffers(program, bits))
    scratch_bytes = max([heads.bytes, *(shape.scratch.bytes for shape in shapes)])
    arena = align_up(carry.bytes + kv.bytes + scratch_bytes, ARENA_ALIGN)
    return Layout(carry, kv, heads, heads_tile, tuple(shapes), tuple(op_shape), scratch_bytes, arena)
