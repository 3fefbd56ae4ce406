"""Plans whose code sizes are known, and models with a streamed table."""

from __future__ import annotations

from dataclasses import replace

from recurc.ir.lower import lower
from recurc.plan.pieces import SectionSize
from recurc.plan.planner import Measured

DATA = 3300  # variables of a firmware of today, for exact plans


def streamed(prog, storage="fp32", rows=10_000):
    """The program with its puzzle table of `rows` rows in a file of its own."""
    config = replace(prog.config, num_puzzle_identifiers=rows)
    return lower(config, puzzle_table=storage)


def with_sizes(board, **sizes):
    """The board with other region sizes."""
    return replace(board, regions=tuple(replace(r, size=sizes.get(r.name, r.size)) for r in board.regions))


def measured(code=12_000, data=DATA, **others):
    return Measured(
        (
            SectionSize(".text", code, 16),
            SectionSize(".recurc_image", 0, 64),
            SectionSize(".rodata", 1900, 8),
            *(SectionSize(f".{n}", size, 8) for n, size in others.items()),
            SectionSize(".bss", data, 8),
            SectionSize(".recurc_arena", 0, 64),
        )
    )
