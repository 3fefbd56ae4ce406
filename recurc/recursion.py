"""What a model family says of its models: states, tables, blocks of ops, and a schedule of nested loops over them.

Recursion is the unit: a block is emitted once and called from the schedule, and the carry's states are updated in their own
memory. `recurc.ir.lower` makes a Program of it by adding how things are stored; nothing below the families knows their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recurc.ops.base import LinearRef, Op

# Position encodings that turn q and k, and of how many features a part of a head is then a multiple.
ROTARY_KINDS = {"rope": 2, "rope2d-nano": 4}
POSITIONS = (*ROTARY_KINDS, "learned", "none")
INPUT = "X"  # the source of an update that is looked up from the tables, and never stored


@dataclass(frozen=True)
class Vector:
    """float32 [n] of the image: `name` there, `tensor` in the checkpoint."""

    name: str
    tensor: str
    n: int


@dataclass(frozen=True)
class State:
    """One tensor [S, D] of the carry. Every row starts as `start`."""

    name: str
    start: Vector

    @property
    def field(self) -> str:
        """Its name in generated C."""
        return self.name.lower()

    @property
    def scale(self) -> str:
        """What the wire protocol calls the scales of its rows, where it is stored as int8: "H_scale" for "z_H"."""
        return f"{self.name.removeprefix('z_')}_scale"


@dataclass(frozen=True)
class Table:
    """Rows looked up one at a time: `rows` x `dim`, the checkpoint's `tensor` times `factor`.

    `storage`: "image" (fp32 rows in the weights image), or "fp32" / "int8": a file of its own, one row of which is
    fetched for each puzzle.
    """

    name: str
    rows: int
    dim: int
    storage: str = "image"
    tensor: str = ""
    factor: float = 1.0

    @property
    def streamed(self) -> bool:
        return self.storage != "image"


@dataclass(frozen=True)
class Block:
    """Ops in order, applied in place to one carry tensor [S, D]."""

    name: str
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Update:
    """`state += sum of sources` then `block` on it, in place. Sources: states, or INPUT (looked up, never stored)."""

    state: str
    sources: tuple[str, ...]
    block: str


@dataclass(frozen=True)
class Loop:
    """A counted loop; the count is a constant of the image."""

    name: str
    count: int
    body: tuple[Loop | Update, ...]


@dataclass(frozen=True)
class Heads:
    """What reads `state` after a step: logits [seq, vocab] of all cells, and q [2] (halt, continue) of its first row."""

    state: str
    lm_head: LinearRef
    q_head: LinearRef
    q_bias: Vector


@dataclass(frozen=True)
class Depth:
    """How often a model turns: supervision steps, high-level cycles of a step, low-level cycles of each of those."""

    steps: int
    h_cycles: int
    l_cycles: int

    def but(self, *, steps: int | None = None, h_cycles: int | None = None, l_cycles: int | None = None) -> Depth:
        """The same with what is given, and not None, in its place."""
        return Depth(steps or self.steps, h_cycles or self.h_cycles, l_cycles or self.l_cycles)


@dataclass(frozen=True)
class Recursion:
    """A model without its weights' values. `tables` maps role ("tokens", "puzzles", "positions") to Table."""

    states: tuple[State, ...]
    tables: Mapping[str, Table]
    blocks: tuple[Block, ...]
    schedule: Loop
    heads: Heads
