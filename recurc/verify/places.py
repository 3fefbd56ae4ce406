"""Where in a supervision step an op stands: which turn of the loops, which block call, which op of the block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from recurc.documents.commands import PlaceEntry
from recurc.ir.program import Program

_LOOP_NAMES = {"h_cycles": "H cycle", "l_cycles": "L cycle"}


@dataclass(frozen=True)
class Place:
    """One op of a step.

    `op` counts from 1 over the whole step's `ops`; 0 is the carry before the first one. `loops`: name, turn from 1 and turns
    of each loop around the block call, outermost first. `call` counts from 1 over the step's block calls, None for the heads
    and for the carry before the first op. `block_op` counts from 1 in the block. `layer`: common name of the op's weights.
    """

    op: int
    ops: int
    kind: str
    tensor: str
    loops: tuple[tuple[str, int, int], ...] = ()
    call: int | None = None
    calls: int = 0
    block: str = ""
    block_op: int = 0
    block_ops: int = 0
    layer: str = ""

    def __str__(self) -> str:
        if self.call is None:
            return "after the heads" if self.op else "before the first op"
        turns = "".join(f"{_LOOP_NAMES.get(name, name)} {turn} of {count}, " for name, turn, count in self.loops)
        return (
            f"after {turns}block call {self.call} of {self.calls} ({self.block} on {self.tensor}), "
            f"op {self.block_op} of {self.block_ops}: {self.kind} {self.layer}"
        )

    def as_dict(self) -> PlaceEntry:
        """For JSON; `from_dict` reads it."""
        return cast(PlaceEntry, asdict(self))  # the same fields

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Place:
        loops = tuple((str(name), int(turn), int(count)) for name, turn, count in data["loops"])
        return cls(**{**data, "loops": loops})


def step_places(program: Program) -> tuple[Place, ...]:
    """The carry before the step, every op in the order in which it runs, and the heads: element i is op i."""
    blocks = {block.name: block for block in program.blocks}
    calls = list(program.block_calls())
    count = program.ops_per_step
    found = [Place(0, count, "begin", program.heads.state)]
    for number, (update, loops) in enumerate(calls, start=1):
        block = blocks[update.block]
        for i, op in enumerate(block.ops, start=1):
            layer = next((ref.name.rsplit(".", 2)[0] for ref in op.linears), "")
            found.append(
                Place(len(found), count, op.kind, update.state, loops, number, len(calls), block.name, i, len(block.ops), layer)
            )
    found.append(Place(len(found), count, "heads", program.heads.state))
    return tuple(found)
