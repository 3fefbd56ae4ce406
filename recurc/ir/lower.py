"""Reasoner configuration -> Program."""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from recurc.arguments import argument
from recurc.errors import InputError, UsageError
from recurc.ir.lowering import Knobs, Lowering, check_forms
from recurc.ir.program import Program
from recurc.models import recursion_of
from recurc.models.reasoner import ReasonerConfig
from recurc.symmetries import Grids

MAX_VOCAB = 256  # a token is one byte on the wire and in memory


def lower(config: ReasonerConfig, lowering: Lowering | None = None, **knobs: Unpack[Knobs]) -> Program:
    """Lower a configuration.

    Args:
        lowering, knobs: how, see `Lowering`; single knobs are named in its place, or beside it.

    Raises:
        InputError: the vocabulary does not fit one byte, or the family cannot make such a model: heads that do not divide the
            width, for one. UsageError: no such lowering.
    """
    c = config
    if c.vocab_size > MAX_VOCAB:
        raise InputError(
            f"a vocabulary of {c.vocab_size} tokens is not supported",
            where="vocab_size",
            why=f"the runtime keeps a token in one byte, so at most {MAX_VOCAB}",
            next="recursive reasoners on grids use 6 to 12; check that this is the model you mean",
        )
    settled = Lowering.of(lowering, **knobs).settled(c)
    check_forms(settled.symmetries, c)
    if isinstance(settled.symmetries, Grids) and settled.puzzle_table != "image":
        raise UsageError("the rows of a puzzle's other forms have to be there", where=argument("puzzle_table"),
                         why=f"the table is to be streamed as {settled.puzzle_table}, one row for each puzzle",
                         next="Keep it in the image, or name another symmetry")  # fmt: skip
    made = recursion_of(c, settled.depth(c))
    tables = {role: replace(t, storage=settled.puzzle_table) if role == "puzzles" else t for role, t in made.tables.items()}
    return Program(
        config=c,
        states=made.states,
        tables=tables,
        blocks=made.blocks,
        schedule=made.schedule,
        heads=made.heads,
        lowering=settled,
    )
