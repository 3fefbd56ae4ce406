"""The arena: every byte of RAM that the model itself uses, buffer by buffer.

The generated C declares the same buffers in the same order and asserts each offset, so this file and the firmware cannot
disagree. Carry and outputs live for the whole run; each op's scratch lives during that op only, so all scratch shares
one place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recurc.ir.program import LinearRef, Op, Program
from recurc.ops import part
from recurc.plan.kernels import IntKernel, KernelSet
from recurc.storage.form import Form, Forms, forms_of

BUFFER_ALIGN = 16
ARENA_ALIGN = 64
MAX_SCRATCH = 48 * 1024
MIN_TILE = 8
MAX_TILE = 256
BufferSpec = tuple[str, str, int]  # name, C type, count
_SIZES = {"float": 4, "int32_t": 4, "int16_t": 2, "uint16_t": 2, "int8_t": 1, "uint8_t": 1}


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


def pack_struct(name: str, buffers: Sequence[BufferSpec]) -> Struct:
    """Lay (name, C type, count) out in order; empty buffers are dropped."""
    offset, placed = 0, []
    for buffer_name, ctype, count in buffers:
        if count:
            placed.append(Buffer(buffer_name, ctype, count, offset))
            offset = align_up(offset + placed[-1].bytes, BUFFER_ALIGN)
    return Struct(name, tuple(placed), offset)


@dataclass(frozen=True)
class OpShape:
    """An op up to its weights: ops of the same shape and widths share one C function and one scratch struct.

    `rows` and `tile`: rows it works on in all and at a time (channels for token mixing, else tokens).
    """

    name: str
    op: Op
    rows: int
    tile: int
    scratch: Struct

    def has(self, buffer: str) -> bool:
        """Whether its scratch has a buffer of that name."""
        return any(b.name == buffer for b in self.scratch.buffers)


@dataclass(frozen=True)
class Layout:
    """Arena of one program for one kernel set and scratch budget: the carry, then one place that all scratch shares."""

    carry: Struct
    heads: Struct
    heads_tile: int
    shapes: tuple[OpShape, ...]
    op_shape: tuple[tuple[int, ...], ...]  # shape index of each op of each block
    scratch_bytes: int
    arena_bytes: int


@dataclass(frozen=True)
class ArenaPiece:
    """One buffer of the arena for people and plans: byte offset in the arena, size, and when it is in use.

    kind: "carry" (the states and their scales), "io", "kv" (keys, values and mixed values of attention) or "scratch".
    """

    name: str
    kind: str
    offset: int
    bytes: int
    lifetime: str


@dataclass(frozen=True)
class Sizing:
    """What the buffers of every op depend on beside the op itself; methods for what they have in common."""

    program: Program
    forms: Mapping[str, Form]
    kernels: KernelSet

    def quantized(self, ref: LinearRef) -> bool:
        return self.forms[ref.name].integer

    def kernel(self, ref: LinearRef) -> IntKernel | None:
        return self.kernels.of(self.forms[ref.name])

    def sums(self, *refs: LinearRef) -> int:
        """1 when storing an int8 carry needs a place for row sums that quantized activations do not have already."""
        return int(self.program.carry == "int8" and not any(map(self.quantized, refs)))

    def activations(self, tile: int, k: int, rows: bool, *refs: LinearRef) -> list[BufferSpec]:
        """Quantized rows of k (if any lie in a buffer of their own), with scales and sums for those of all layers."""
        if not any(map(self.quantized, refs)):
            return []
        x = ("x", self.kernels.rows_kernel.act, tile * self.kernels.padded(k) * rows)
        return [x, ("xa", "float", tile), ("xs", "int32_t", tile)]

    def weight_tile(self, *refs: LinearRef) -> BufferSpec:
        """What weights of one tile of channels are unpacked to."""
        needs = [(self.kernel(ref), self.kernels.padded(ref.k)) for ref in refs]
        return ("w", "uint8_t", max((kernel.scratch_bytes(depth) if kernel else 0 for kernel, depth in needs), default=0))

    def rows(self, *refs: LinearRef) -> int:
        """Rows that a kernel takes at a time."""
        return max((k.rows if (k := self.kernel(ref)) else 1 for ref in refs), default=1)

    def row_bytes(self, ref: LinearRef) -> int:
        """Bytes of a row that a layer's inputs are multiplied from."""
        kernel = self.kernel(ref)
        return _SIZES[kernel.act] * self.kernels.padded(ref.k) if kernel else 4 * ref.k


@dataclass(frozen=True)
class OpLayout:
    """An op's part `layout`: its scratch.

    buffers: (sizing, op, rows, tile) -> (name, C type, count) of each buffer in order, for `tile` of all `rows` at a time;
    empty ones are left out. keys_values: names of those that grow with the sequence instead of the tile. least_tile: rows that
    a tile should have whatever the budget of scratch is; 0: the budget decides.
    """

    buffers: Callable[[Sizing, Any, int, int], list[BufferSpec]]
    keys_values: frozenset[str] = frozenset()
    least_tile: int = 0


def op_layout(op: Op) -> OpLayout:
    """An op's part `layout`. Raises OpError where it has none."""
    return part(op, "layout", OpLayout)


def op_struct(z: Sizing, op: Op, rows: int, tile: int, name: str = "") -> Struct:
    """An op's scratch for tiles of so many of all its rows."""
    return pack_struct(name, op_layout(op).buffers(z, op, rows, tile))


def _heads_struct(z: Sizing, tile: int) -> Struct:
    """Scratch of the heads. The logits come first and stay until the next step."""
    c, refs = z.program.config, (z.program.lm_head, z.program.q_head)
    return pack_struct(
        "heads",
        [
            ("logits", "float", c.seq_len * c.vocab_size),
            ("t", "float", tile * c.hidden_size),
            *z.activations(tile, c.hidden_size, True, *refs),
            z.weight_tile(*refs),
        ],
    )


def _carry_struct(program: Program) -> Struct:
    c, table = program.config, program.puzzle_table
    s, d = c.rows, c.hidden_size
    kind = {"fp32": "float", "fp16": "uint16_t", "int8": "int8_t"}[program.carry]
    scaled = program.carry == "int8"
    return pack_struct(
        "carry",
        [
            *((state.field, kind, s * d) for state in program.states),
            *((f"{state.field}_scale", "float", s * scaled) for state in program.states),
            ("columns", "float", d * has_columns(program)),
            ("puzzle_row", "float", table.dim if table else 0),
            ("q", "float", 4),
            ("input", "uint8_t", c.seq_len),
            ("tokens", "uint8_t", c.seq_len),
            ("answers", "uint8_t", (1 + program.restarts) * c.seq_len if program.restarts else 0),
        ],
    )


def has_columns(program: Program) -> bool:
    """Whether an op leaves its tensor with a scale a channel, as an int8 carry then has."""
    return program.carry == "int8" and any(op.by_channel for op in program.ops)


def _largest_tile(rows: int, budget: int, size_of: Callable[[int], int], step: int) -> int:
    """Rows a tile: the most that fit the budget, then evened out so that the last tile is not a small rest.

    A multiple of `step` where that is possible: kernels take as many rows at a time.
    """
    tile = next((t for t in range(min(rows, MAX_TILE), 1, -1) if size_of(t) <= budget), 1)
    tiles = -(-rows // tile)
    even = -(-rows // tiles)
    if even % step and even < rows:
        even = align_up(even, step) if align_up(even, step) <= tile else tile // step * step or even
    return max(even, 1)


def comfortable_scratch(program: Program, forms: Forms, kernels: KernelSet) -> int:
    """Scratch in bytes beyond which more costs RAM and gains little time.

    All rows of a tile share one pass over the weights. MAX_SCRATCH (or what the program asks for) serves all ops but those with
    buffers that need their room whatever the tile, such as attention's keys and values: their least tile comes on top of them.
    """
    z = Sizing(program, forms_of(program, forms), kernels)
    wanting = [(op, tile) for op in program.ops if (tile := op_layout(op).least_tile)]
    least = [op_struct(z, op, op.rows(program.config), tile).bytes for op, tile in wanting]
    return max(program.lowering.scratch or MAX_SCRATCH, _heads_struct(z, 1).bytes, *least)


def make_layout(program: Program, forms: Forms, kernels: KernelSet, scratch_budget: int) -> Layout:
    """Lay out the arena; tiles are the largest whose scratch stays within `scratch_budget` bytes (at least one row)."""
    z = Sizing(program, forms_of(program, forms), kernels)
    shapes: list[OpShape] = []
    keys: list[Hashable] = []
    op_shape = []
    for block in program.blocks:
        indices = []
        for op in block.ops:
            key = op.signature(z.forms)
            if key not in keys:
                rows = op.rows(program.config)

                def size_of(tile: int, op: Op = op, rows: int = rows) -> int:
                    return op_struct(z, op, rows, tile).bytes

                tile = _largest_tile(rows, scratch_budget, size_of, z.rows(*op.linears))
                name = f"{op.kind}_{len(keys)}"
                keys.append(key)
                shapes.append(OpShape(name, op, rows, tile, op_struct(z, op, rows, tile, name)))
            indices.append(keys.index(key))
        op_shape.append(tuple(indices))
    heads_tile = _largest_tile(
        program.config.seq_len,
        scratch_budget,
        lambda tile: _heads_struct(z, tile).bytes,
        z.rows(program.lm_head, program.q_head),
    )
    heads, carry = _heads_struct(z, heads_tile), _carry_struct(program)
    record = program.puzzle_table.dim * 4 + 8 if program.puzzle_table else 0  # a row of the table on its way in
    scratch_bytes = align_up(max([heads.bytes, record, *(shape.scratch.bytes for shape in shapes)]), BUFFER_ALIGN)
    arena = align_up(carry.bytes + scratch_bytes, ARENA_ALIGN)
    return Layout(carry, heads, heads_tile, tuple(shapes), tuple(op_shape), scratch_bytes, arena)


_CARRY_LIFETIMES = {
    "columns": "from token mixing to the channel mixing after it",
    "puzzle_row": "a puzzle",
    "input": "a puzzle",
    "q": "from the heads to the next step",
    "tokens": "from the heads to the next step",
    "answers": "all runs of a puzzle",
}


def arena_pieces(layout: Layout) -> tuple[ArenaPiece, ...]:
    """Every buffer of the arena. Scratch of different ops overlaps: one op runs at a time."""
    pieces = [
        ArenaPiece(
            b.name,
            "io" if b.name in ("q", "input", "tokens", "answers", "puzzle_row") else "carry",
            b.offset,
            b.bytes,
            _CARRY_LIFETIMES.get(b.name, "a puzzle"),
        )
        for b in layout.carry.buffers
    ]
    base = layout.carry.bytes
    for shape in layout.shapes:
        lasting = op_layout(shape.op).keys_values
        pieces += [
            ArenaPiece(
                f"{shape.name}.{b.name}", "kv" if b.name in lasting else "scratch", base + b.offset, b.bytes, f"op {shape.name}"
            )
            for b in shape.scratch.buffers
        ]
    pieces += [
        ArenaPiece(
            f"heads.{b.name}",
            "io" if b.name == "logits" else "scratch",
            base + b.offset,
            b.bytes,
            "from the heads to the next step" if b.name == "logits" else "the heads",
        )
        for b in layout.heads.buffers
    ]
    return tuple(pieces)
