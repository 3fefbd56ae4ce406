"""Tiny Recursive Model: one block, two states (source: TinyRecursiveModels, `models/recursive_reasoning/trm.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from recurc.errors import InputError
from recurc.models.common_fields import (
    MAX_ROWS,
    complete,
    layers_field,
    mixer_field,
    positions,
    puzzle_fields,
    sizes,
    told_length,
)
from recurc.models.fields import Fields
from recurc.models.reasoner import ReasonerConfig
from recurc.models.shapes import first_axis, model_tensors
from recurc.models.two_states import two_states
from recurc.recursion import Depth, Recursion

Shape = tuple[int, ...]

NAME = "trm"
ARCH_NAMES = ("recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",)

PUBLISHED_PUZZLE_ROWS = 16


def recognises(names: Iterable[str]) -> bool:
    """A single block, `L_level`; HRM has an `H_level` besides."""
    names = list(names)
    return any(n.startswith("L_level.layers.") for n in names) and not any(n.startswith("H_level.") for n in names)


def expected_tensors(config: ReasonerConfig) -> dict[str, Shape]:
    """Name -> shape of every tensor of a TRM checkpoint (15 of them at two layers with a puzzle embedding)."""
    return model_tensors(config)


def recursion(config: ReasonerConfig, depth: Depth) -> Recursion:
    """One block for both states."""
    return two_states(config, depth, "L_level")


def config_from_fields(
    fields: Mapping[str, object], shapes: Mapping[str, Shape], where: str = "configuration"
) -> tuple[ReasonerConfig, list[str]]:
    """Configuration of a TRM checkpoint.

    Args:
        fields: the original's fields, as far as they are known (`seq_len` stands in the dataset's `dataset.json`).
            `data_seq_len` is the length of a dataset that was only found nearby: used where nothing else tells it.
            `file_name` may carry the trained cycles (`..._h3l4`).
        shapes: tensor name -> shape.
        where: the file the fields come from, for messages.

    Returns:
        The configuration and one note for each thing that was assumed.

    Raises:
        InputError: fields of the wrong kind or out of range, or a sequence length that nothing tells.
    """
    f = Fields(fields, where)
    notes: list[str] = []
    mixer = mixer_field(f, shapes)
    hidden, vocab = sizes(f, shapes)
    layers = layers_field(f, shapes, "L_layers", "L_level")
    ndim, puzzle_len, identifiers = puzzle_fields(f, shapes)
    pos = positions(f, shapes, mixer, notes)
    seq_len, puzzle_len = _lengths(f, shapes, mixer, pos, hidden, ndim, puzzle_len, vocab, notes)
    config = complete(
        NAME, f, shapes, notes, recipe=(3, 4) if seq_len >= 900 else (3, 6), mixer=mixer, pos_encodings=pos,
        hidden_size=hidden, vocab_size=vocab, seq_len=seq_len, L_layers=layers, puzzle_emb_ndim=ndim,
        puzzle_emb_len=puzzle_len, num_puzzle_identifiers=identifiers,
    )  # fmt: skip
    return config, notes


def _lengths(
    f: Fields, shapes: Mapping[str, Shape], mixer: str, pos: str, hidden: int,
    ndim: int, puzzle_len: int | None, vocab: int, notes: list[str],
) -> tuple[int, int]:  # fmt: skip
    """(seq_len, puzzle_emb_len), from the fields, the rows S that the tensors show, and a dataset's seq_len."""
    total = None  # S = seq_len + puzzle rows
    if mixer == "mlp_t":
        total = first_axis(shapes, ("*.mlp_t.gate_up_proj.weight", 1), ("*.mlp_t.down_proj.weight", 0))
    if total is None and pos == "learned":
        total = first_axis(shapes, ("embed_pos.embedding_weight", 0))
    seq_len = f.integer("seq_len", 1, MAX_ROWS)
    nearby = f.integer("data_seq_len", 1, MAX_ROWS)
    if ndim == 0:
        return _lengths_without_embedding(f, total, seq_len, nearby, puzzle_len, notes)
    minimum = -(-ndim // hidden)
    if puzzle_len is None:
        data = seq_len or nearby
        if total is not None and data is not None and total - data >= minimum:
            puzzle_len = total - data
            notes.append(f"puzzle_emb_len is not given: {puzzle_len}, as the dataset has {data} of {total} positions")
        else:
            puzzle_len, reason = _assumed_rows(total, minimum, vocab)
            notes.append(f"puzzle_emb_len is not given: {puzzle_len} is assumed, {reason}")
    rows = puzzle_len or minimum
    if total is not None:
        if total <= rows:
            raise InputError(
                "no position is left for the puzzle's cells",
                where=f.where,
                why=f"the tensors have {total} positions and puzzle_emb_len takes {rows}",
                next="Correct puzzle_emb_len in the configuration file",
            )
        return total - rows, puzzle_len
    return told_length(seq_len, nearby, f, notes), puzzle_len


def _assumed_rows(total: int | None, minimum: int, vocab: int) -> tuple[int, str]:
    """(puzzle rows, why) when nothing tells: 16 as published, or as few as needed where only that leaves a whole grid.

    A sudoku of side n has n + 2 tokens, so that is asked first; any square grid after it.
    """
    if total is None:
        return PUBLISHED_PUZZLE_ROWS, "as in all published runs"
    choices = {PUBLISHED_PUZZLE_ROWS: "as in all published runs", minimum: "the fewest rows that hold the embedding"}
    possible = [rows for rows in choices if minimum <= rows < total]
    for cells in ((vocab - 2) ** 2, None):
        for rows in possible:
            left = total - rows
            if left > 1 and math.isqrt(left) ** 2 == left and cells in (None, left):
                return rows, f"{choices[rows]}, which leaves a square of {left} cells"
    rows = possible[0] if possible else minimum
    return rows, choices[rows]


def _lengths_without_embedding(
    f: Fields, total: int | None, seq_len: int | None, nearby: int | None,
    puzzle_len: int | None, notes: list[str],
) -> tuple[int, int]:  # fmt: skip
    """No puzzle embedding: no rows, whatever puzzle_emb_len says (its default of 16 makes the original itself fail)."""
    if puzzle_len:
        if total is not None and seq_len is not None and total == seq_len + puzzle_len:
            raise InputError(
                "the original code cannot run this configuration",
                where=f.where,
                why=f"puzzle_emb_ndim is 0 but puzzle_emb_len is {puzzle_len}: {total} state rows, {seq_len} cells",
                next="Train with puzzle_emb_len: 0",
            )
        notes.append(f"puzzle_emb_len {puzzle_len} is ignored: puzzle_emb_ndim is 0, so there are no puzzle rows")
    return (total if total is not None else told_length(seq_len, nearby, f, notes)), 0
