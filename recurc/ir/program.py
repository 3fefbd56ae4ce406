"""Program: what recurc compiles. A family's recursion (`recurc.recursion`) with how carry and tables are stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from recurc.ir.lowering import Lowering
from recurc.models.reasoner import ReasonerConfig
from recurc.ops.base import Constant, LinearRef, Op
from recurc.recursion import Block, Depth, Heads, Loop, State, Table, Update, Vector
from recurc.symmetries import Forms

__all__ = ["Block", "LinearRef", "Loop", "Op", "Program", "State", "Table", "Update"]

Turns: TypeAlias = tuple[tuple[str, int, int], ...]  # name, turn from 1 and turns of each loop around a call, outermost first


HEADS_NAME = "heads"


@dataclass(frozen=True)
class Program:
    """Everything that is compiled, without the weights' values.

    `states` are the carry, in the order of its memory; `tables` maps role ("tokens", "puzzles", "positions") to Table.
    `lowering` is settled: only its scratch may be None.
    """

    config: ReasonerConfig
    states: tuple[State, ...]
    tables: Mapping[str, Table]
    blocks: tuple[Block, ...]
    schedule: Loop
    heads: Heads
    lowering: Lowering

    @property
    def depth(self) -> Depth:
        """How often it turns."""
        return self.lowering.depth(self.config)

    @property
    def steps(self) -> int:
        """Supervision steps."""
        return self.depth.steps

    @property
    def carry(self) -> str:
        """How the states are stored between ops."""
        return self.lowering.carry

    @property
    def symmetries(self) -> Forms:
        """Other forms of a puzzle, that it is asked again in."""
        return self.lowering.symmetries

    @property
    def restarts(self) -> int:
        """Runs after a puzzle's first one that there is room for."""
        return max(len(self.symmetries), self.lowering.noisy_runs or 0)

    @property
    def lm_head(self) -> LinearRef:
        return self.heads.lm_head

    @property
    def q_head(self) -> LinearRef:
        return self.heads.q_head

    @property
    def answer(self) -> State:
        """The state that the heads read."""
        return next(state for state in self.states if state.name == self.heads.state)

    @property
    def ops(self) -> tuple[Op, ...]:
        """The ops of all blocks."""
        return tuple(op for block in self.blocks for op in block.ops)

    @property
    def vectors(self) -> tuple[Vector, ...]:
        """Vectors of the image, in its order: where states start, and the halting head's bias."""
        return (*(state.start for state in self.states), self.heads.q_bias)

    @property
    def constants(self) -> tuple[Constant, ...]:
        """Constants of the image that ops read, each once.

        Raises:
            ValueError: two ops mean different constants by one name.
        """
        found: dict[str, Constant] = {}
        for op in self.ops:
            for constant in op.constants(self.config):
                if found.setdefault(constant.name, constant) != constant:
                    raise ValueError(f"two ops of the program mean different constants by {constant.name}")
        return tuple(found.values())

    @property
    def puzzle_table(self) -> Table | None:
        """The table of puzzle embeddings when its rows are streamed, else None."""
        table = self.tables.get("puzzles")
        return table if table is not None and table.streamed else None

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        """All linear layers, blocks first, in the order in which the image holds them."""
        found = [ref for op in self.ops for ref in op.linears]
        return (*found, self.lm_head, self.q_head)

    @property
    def macs_per_call(self) -> dict[str, int]:
        """Multiply-adds of one call of each block (attention products included)."""
        return {block.name: sum(op.macs(self.config) for op in block.ops) for block in self.blocks}

    @property
    def calls_per_step(self) -> int:
        """Block calls in one supervision step."""
        return _calls(self.schedule.body, {block.name: 1 for block in self.blocks})

    def block_calls(self) -> Iterator[tuple[Update, Turns]]:
        """The block calls of one supervision step in the order in which they run."""
        return _unrolled(self.schedule.body, ())

    def op_names(self) -> tuple[str, ...]:
        """What each op of a step is called, in the order in which they run; the heads are the last one."""
        blocks = {block.name: block for block in self.blocks}
        calls = (update for update, _ in self.block_calls())
        return (*(op_name(op, update) for update in calls for op in blocks[update.block].ops), HEADS_NAME)

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


def _calls(body: tuple[Loop | Update, ...], macs: dict[str, int]) -> int:
    """Sum of `macs` (a number a block) over all calls of a schedule's body."""
    total = 0
    for item in body:
        total += item.count * _calls(item.body, macs) if isinstance(item, Loop) else macs[item.block]
    return total


def op_name(op: Op, update: Update) -> str:
    """What an op is called in a call of its block: its kind, its weights, the state that it changes."""
    layer = "".join(" " + ref.name.rsplit(".", 2)[0] for ref in op.linears[:1])
    return f"{op.kind}{layer} on {update.state}"


def _unrolled(body: tuple[Loop | Update, ...], around: Turns) -> Iterator[tuple[Update, Turns]]:
    for item in body:
        if isinstance(item, Update):
            yield item, around
            continue
        for turn in range(1, item.count + 1):
            yield from _unrolled(item.body, (*around, (item.name, turn, item.count)))
