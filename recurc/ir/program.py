"""Program: what recurc compiles. Tables, blocks of typed ops, and a schedule of nested loops over an in-place carry.

Recursion is the unit: a block is emitted once and called from the schedule, and the carry's two tensors are updated in
their own memory. Adding an op is one class here plus one template `templates/ops/<kind>.c.j2` (and its twin in
`quant/twin.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional, Union

from recurc.models.reasoner import ReasonerConfig

CARRIES = ("fp32", "fp16", "int8")  # int8 rows have a scale each
STORAGES = ("image", "fp32", "int8")  # of the puzzle table


@dataclass(frozen=True)
class LinearRef:
    """A linear layer without bias: weights [n, k] by tensor name; y[n] = W x[k].

    `parts` layers of equal height may lie in one tensor: gate and up (2); q, k and v of each head (3 a head).
    """

    name: str
    k: int
    n: int
    parts: int = 1

    @property
    def part_n(self) -> int:
        """Output channels of one part."""
        return self.n // self.parts


@dataclass(frozen=True)
class TokenMix:
    """SwiGLU over the sequence axis, one row a channel: t = norm(t + down(silu(gate t) * up t)), t = z^T [D, S]."""

    kind: ClassVar[str] = "token_mix"
    gate_up: LinearRef
    down: LinearRef

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return (self.gate_up, self.down)


@dataclass(frozen=True)
class ChannelMix:
    """SwiGLU over the features of each token: z = norm(z + down(silu(gate z) * up z)), z [S, D]."""

    kind: ClassVar[str] = "channel_mix"
    gate_up: LinearRef
    down: LinearRef

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return (self.gate_up, self.down)


@dataclass(frozen=True)
class Attention:
    """Full self-attention: z = norm(z + o(softmax(q k^T / sqrt(head_dim)) v)); rotary embedding when `rope`."""

    kind: ClassVar[str] = "attention"
    qkv: LinearRef
    o: LinearRef
    heads: int
    head_dim: int
    rope: bool

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return (self.qkv, self.o)


Op = Union[TokenMix, ChannelMix, Attention]


@dataclass(frozen=True)
class Block:
    """Ops in order, applied in place to one carry tensor [S, D]."""

    name: str
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Update:
    """`state += sum of sources` then `block` on it, in place. Sources: "z_H", "z_L" or "X" (looked up, never stored)."""

    state: str
    sources: tuple[str, ...]
    block: str


@dataclass(frozen=True)
class Loop:
    """A counted loop; the count is a constant of the image."""

    name: str
    count: int
    body: tuple[Union["Loop", Update], ...]


@dataclass(frozen=True)
class Table:
    """Rows looked up one at a time: `rows` x `dim`, already multiplied by the embedding scale.

    `storage`: "image" (fp32 rows in the weights image), or "fp32" / "int8": a file of its own, one row of which is
    fetched for each puzzle.
    """

    name: str
    rows: int
    dim: int
    storage: str = "image"

    @property
    def streamed(self) -> bool:
        return self.storage != "image"


@dataclass(frozen=True)
class Program:
    """Everything that is compiled, without the weights' values.

    `tables` maps role ("tokens", "puzzles", "positions") to Table; `heads` are lm_head and q_head. `carry` is how z_H and
    z_L are stored between ops: one of CARRIES. `scratch`: most bytes of working memory that tiles may take; None leaves it to
    the planner.
    """

    config: ReasonerConfig
    tables: dict[str, Table]
    blocks: tuple[Block, ...]
    schedule: Loop
    lm_head: LinearRef
    q_head: LinearRef
    steps: int
    h_cycles: int
    l_cycles: int
    carry: str = "fp32"
    scratch: Optional[int] = None

    @property
    def puzzle_table(self) -> Optional[Table]:
        """The table of puzzle embeddings when its rows are streamed, else None."""
        table = self.tables.get("puzzles")
        return table if table is not None and table.streamed else None

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        """All linear layers, blocks first, in the order in which the image holds them."""
        found = [ref for block in self.blocks for op in block.ops for ref in op.linears]
        return (*found, self.lm_head, self.q_head)

    @property
    def macs_per_call(self) -> dict[str, int]:
        """Multiply-adds of one call of each block (attention products included)."""
        return {block.name: sum(op_macs(op, self.config) for op in block.ops) for block in self.blocks}

    @property
    def calls_per_step(self) -> int:
        """Block calls in one supervision step."""
        return _calls(self.schedule.body, {block.name: 1 for block in self.blocks})

    @property
    def ops_per_step(self) -> int:
        """Ops of one supervision step: every op of every block call, then the heads as the last one."""
        return _calls(self.schedule.body, {block.name: len(block.ops) for block in self.blocks}) + 1

    @property
    def macs_per_step(self) -> int:
        """Multiply-adds of one supervision step, heads included."""
        c = self.config
        calls = _calls(self.schedule.body, self.macs_per_call)
        return calls + c.seq_len * self.lm_head.k * self.lm_head.n + self.q_head.k * self.q_head.n


def _calls(body: tuple[Union[Loop, Update], ...], macs: dict[str, int]) -> int:
    """Sum of `macs` (a number a block) over all calls of a schedule's body."""
    total = 0
    for item in body:
        total += item.count * _calls(item.body, macs) if isinstance(item, Loop) else macs[item.block]
    return total


def op_macs(op: Op, config: ReasonerConfig) -> int:
    """Multiply-adds of one op on the whole carry."""
    rows = config.hidden_size if isinstance(op, TokenMix) else config.rows
    macs = rows * sum(ref.k * ref.n for ref in op.linears)
    if isinstance(op, Attention):
        macs += 2 * op.heads * op.head_dim * config.rows * config.rows
    return macs
