"""The known answer: a puzzle in the image with the checksum of every step, by which a program tests what it was compiled to.

runtime_c/SPEC.md has the section's bytes; `recurc.make.known` computes them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from recurc.ir.program import Program
from recurc.storage.form import Form

HEAD = struct.Struct("<4I")  # puzzle identifier, steps, ops of the reduced form, checksum after those
MOST_STEPS = 16
MOST_MACS = 1 << 34  # of all steps that are stored: about a second on a computer


@dataclass(frozen=True)
class KnownAnswer:
    """What a right program computes of a puzzle.

    tokens: one byte a cell. steps: CRC-32 of each supervision step over carry, logits, q and predicted tokens. ops: of the
    first step that the reduced form runs; reduced: CRC-32 of the carry after them.
    """

    puzzle_id: int
    tokens: bytes
    ops: int
    reduced: int
    steps: tuple[int, ...]

    def pack(self, program: Program) -> bytes:
        """The section's bytes."""
        room = room_of(program)
        assert len(self.tokens) == program.config.seq_len and len(self.steps) <= room
        head = HEAD.pack(self.puzzle_id, len(self.steps), self.ops, self.reduced)
        return head + struct.pack(f"<{room}I", *self.steps, *(0,) * (room - len(self.steps))) + self.tokens


def unpack(data: bytes, program: Program) -> KnownAnswer | None:
    """The known answer in a section's bytes; None where there is none."""
    room = room_of(program)
    puzzle_id, count, ops, reduced = HEAD.unpack_from(data)
    steps = struct.unpack_from(f"<{room}I", data, HEAD.size)
    return KnownAnswer(puzzle_id, data[HEAD.size + 4 * room :], ops, reduced, steps[:count]) if count else None


def room_of(program: Program) -> int:
    """Steps that the section has room for, as far as a build may take the time to run them. The compiled number does not count:
    an image is as large at any depth."""
    return max(1, min(MOST_STEPS, MOST_MACS // program.macs_per_step))


def most_steps(program: Program) -> int:
    """Steps whose checksums a build computes."""
    return min(room_of(program), program.steps)


def section_bytes(program: Program) -> int:
    return HEAD.size + 4 * room_of(program) + program.config.seq_len


def reduced_ops(program: Program, forms: dict[str, Form]) -> int:
    """Ops of the reduced form: the fewest of a step's first block call with every kind of op, and every stored form, that the
    call has."""
    first = program.schedule.body[0]
    while not hasattr(first, "block"):
        first = first.body[0]
    ops = next(block.ops for block in program.blocks if block.name == first.block)
    kinds = [(op.kind, *(forms[ref.name].suffix for ref in op.linears)) for op in ops]
    return max(kinds.index(kind) for kind in kinds) + 1
