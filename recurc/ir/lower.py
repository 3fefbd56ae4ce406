"""Reasoner configuration -> Program."""

from __future__ import annotations

from dataclasses import replace

from recurc.errors import InputError
from recurc.ir.program import CARRIES, STORAGES, Program
from recurc.models import recursion_of
from recurc.models.reasoner import ReasonerConfig
from recurc.recursion import Depth

IMAGE_TABLE_BYTES = 64 * 1024  # larger puzzle tables are streamed, unless asked otherwise
MAX_VOCAB = 256  # a token is one byte on the wire and in memory


def lower(
    config: ReasonerConfig,
    *,
    steps: int | None = None,
    h_cycles: int | None = None,
    l_cycles: int | None = None,
    carry: str = "fp32",
    puzzle_table: str = "image",
    scratch: int | None = None,
) -> Program:
    """Lower a configuration, optionally with another depth than the trained one.

    Args:
        carry: how the states are stored, one of CARRIES.
        puzzle_table: where the puzzle embeddings are, one of STORAGES, or "auto": in the image up to IMAGE_TABLE_BYTES,
            else streamed as fp32 rows. Without meaning for models that have none.
        scratch: most bytes of working memory for tiles. More means fewer passes over the weights, the same bits.

    Raises:
        InputError: the vocabulary does not fit one byte, or the family cannot make such a model: heads that do not divide the
            width, for one.
    """
    c = config
    if c.vocab_size > MAX_VOCAB:
        raise InputError(
            f"a vocabulary of {c.vocab_size} tokens is not supported",
            where="vocab_size",
            why=f"the runtime keeps a token in one byte, so at most {MAX_VOCAB}",
            next="recursive reasoners on grids use 6 to 12; check that this is the model you mean",
        )
    depth = Depth(steps or c.halt_max_steps, h_cycles or c.H_cycles, l_cycles or c.L_cycles)
    made = recursion_of(c, depth)
    if puzzle_table == "auto":
        size = 4 * c.num_puzzle_identifiers * c.puzzle_emb_ndim
        puzzle_table = "image" if size <= IMAGE_TABLE_BYTES else "fp32"
    if carry not in CARRIES or puzzle_table not in STORAGES:
        raise ValueError(f"carry {carry!r}, puzzle table {puzzle_table!r}")
    tables = {role: replace(t, storage=puzzle_table) if role == "puzzles" else t for role, t in made.tables.items()}
    return Program(
        config=c,
        states=made.states,
        tables=tables,
        blocks=made.blocks,
        schedule=made.schedule,
        heads=made.heads,
        steps=depth.steps,
        h_cycles=depth.h_cycles,
        l_cycles=depth.l_cycles,
        carry=carry,
        scratch=scratch,
    )
