"""Tiny Recursive Model: one block, two states (source: TinyRecursiveModels, `models/recursive_reasoning/trm.py`)."""

from __future__ import annotations

import math
import re
from typing import Iterable, Mapping, Optional

from recurc.errors import InputError
from recurc.models.fields import Fields
from recurc.models.layers import (
    default_heads,
    first_axis,
    infer_expansion,
    level_depth,
    mixer_of,
    model_tensors,
)
from recurc.models.reasoner import ReasonerConfig

Shape = tuple[int, ...]

NAME = "trm"
ARCH_NAMES = ("recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",)

PUBLISHED_PUZZLE_ROWS = 16
PUBLISHED_STEPS = 16
MAX_ROWS = 1 << 16


def recognises(names: Iterable[str]) -> bool:
    """A single block, `L_level`; HRM has an `H_level` besides."""
    names = list(names)
    return any(n.startswith("L_level.layers.") for n in names) and not any(n.startswith("H_level.") for n in names)


def expected_tensors(config: ReasonerConfig) -> dict[str, Shape]:
    """Name -> shape of every tensor of a TRM checkpoint (15 of them at two layers with a puzzle embedding)."""
    return model_tensors(config)


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
    f, notes = Fields(fields, where), []
    mixer = _mixer(f, shapes)
    hidden = f.integer("hidden_size", 1) or _need(
        "hidden_size",
        first_axis(shapes, ("H_init", 0), ("L_init", 0), ("lm_head.weight", 1), ("embed_tokens.embedding_weight", 1)),
        where,
    )
    vocab = _need(
        "vocab_size",
        first_axis(shapes, ("embed_tokens.embedding_weight", 0), ("lm_head.weight", 0)) or f.integer("vocab_size", 1),
        where,
    )
    layers = f.integer("L_layers", 1, 1024) or level_depth(shapes, "L_level")
    ndim, puzzle_len, identifiers = _puzzle_fields(f, shapes)
    pos = _positions(f, shapes, mixer, notes)
    seq_len, puzzle_len = _lengths(f, shapes, mixer, pos, hidden, ndim, puzzle_len, vocab, notes)
    rows = seq_len + (puzzle_len or -(-ndim // hidden))
    expansion = f.number("expansion", 1e-3)
    if expansion is None:
        expansion = _expansion(shapes, mixer, hidden, rows, notes)
    heads = _heads(f, mixer, pos, hidden, notes)
    h_cycles, l_cycles, steps = _depth(f, mixer, seq_len, notes)
    config = ReasonerConfig(
        family=NAME, mixer=mixer, seq_len=seq_len, vocab_size=vocab, num_puzzle_identifiers=identifiers,
        hidden_size=hidden, expansion=expansion, num_heads=heads, L_layers=layers,
        H_cycles=h_cycles, L_cycles=l_cycles, halt_max_steps=steps,
        pos_encodings=pos, puzzle_emb_ndim=ndim, puzzle_emb_len=puzzle_len,
        rms_norm_eps=_or(f.number("rms_norm_eps"), 1e-5), rope_theta=_or(f.number("rope_theta", 1e-9), 10000.0),
        forward_dtype=f.text("forward_dtype") or "bfloat16",
    )  # fmt: skip
    if config.puzzle_emb_ndim > config.puzzle_rows * hidden:
        raise InputError(
            "the puzzle embedding does not fit its rows",
            where=where,
            why=f"puzzle_emb_ndim {ndim} exceeds puzzle_emb_len {config.puzzle_rows} x hidden_size {hidden}",
            next="Correct puzzle_emb_len in the configuration file (0 means as many rows as needed)",
        )
    return config, notes


def _or(value: Optional[float], default: float) -> float:
    return default if value is None else value


def _need(name: str, value: Optional[int], where: str) -> int:
    if value is None:
        raise InputError(
            f"{name} is unknown",
            where=where,
            why=f"neither the configuration nor any tensor tells {name}",
            next="Put all_config.yaml beside the checkpoint, and check that the checkpoint is whole",
        )
    return value


def _mixer(f: Fields, shapes: Mapping[str, Shape]) -> str:
    shown = mixer_of(shapes)
    flag = f.flag("mlp_t")
    told = None if flag is None else ("mlp_t" if flag else "attention")
    if told and shown and told != shown:
        raise InputError(
            "configuration and tensors disagree on the token mixer",
            where=f.where,
            why=f"mlp_t: {flag} means {told}, but the tensors are of {shown}",
            next="Put the all_config.yaml that belongs to this checkpoint beside it, or move the wrong one away",
        )
    return shown or told or "attention"


def _puzzle_fields(f: Fields, shapes: Mapping[str, Shape]) -> tuple[int, Optional[int], int]:
    """(puzzle_emb_ndim, puzzle_emb_len or None when unsaid, identifiers)."""
    columns = first_axis(shapes, ("puzzle_emb.weights", 1))
    told = f.integer("puzzle_emb_ndim")
    ndim = told if told is not None else (columns or 0)
    identifiers = first_axis(shapes, ("puzzle_emb.weights", 0)) or f.integer("num_puzzle_identifiers") or 1
    return ndim, f.integer("puzzle_emb_len", 0, MAX_ROWS), identifiers


def _positions(f: Fields, shapes: Mapping[str, Shape], mixer: str, notes: list[str]) -> str:
    told, learned = f.text("pos_encodings"), "embed_pos.embedding_weight" in shapes
    if told is None:
        if learned:
            return "learned"
        if mixer == "attention":
            notes.append("pos_encodings is not given: rope is assumed, as in all published attention runs")
            return "rope"
        return "none"
    if told == "learned":
        return told
    # Token mixing has no use for rotary tables: the original builds them and never reads them.
    return "rope" if told == "rope" and mixer == "attention" else "none"


def _lengths(
    f: Fields, shapes: Mapping[str, Shape], mixer: str, pos: str, hidden: int,
    ndim: int, puzzle_len: Optional[int], vocab: int, notes: list[str],
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
    return _told_length(seq_len, nearby, f, notes), puzzle_len


def _assumed_rows(total: Optional[int], minimum: int, vocab: int) -> tuple[int, str]:
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
    f: Fields, total: Optional[int], seq_len: Optional[int], nearby: Optional[int],
    puzzle_len: Optional[int], notes: list[str],
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
    return (total if total is not None else _told_length(seq_len, nearby, f, notes)), 0


def _told_length(seq_len: Optional[int], nearby: Optional[int], f: Fields, notes: list[str]) -> int:
    """Attention weights do not show the sequence length: the configuration or a dataset must."""
    if seq_len is not None:
        return seq_len
    if nearby is not None:
        notes.append(f"seq_len {nearby} is taken from the dataset found beside the checkpoint")
        return nearby
    raise InputError(
        "the sequence length is unknown",
        where=f.where,
        why="attention weights do not show it, and no dataset.json was found through the checkpoint's data_paths",
        next="Pass the dataset directory with --data DIR (from Python: data_dir=...)",
    )


def _expansion(shapes: Mapping[str, Shape], mixer: str, hidden: int, rows: int, notes: list[str]) -> float:
    widths = [(hidden, first_axis(shapes, ("L_level.*.mlp.down_proj.weight", 1)))]
    if mixer == "mlp_t":
        widths.append((rows, first_axis(shapes, ("L_level.*.mlp_t.down_proj.weight", 1))))
    expansion = infer_expansion((n, width) for n, width in widths if width is not None)
    if expansion is None:
        return 4.0  # no expansion gives these widths: the shape check will list them
    notes.append(f"expansion is not given: {expansion:g} gives the widths of the tensors")
    return expansion


def _heads(f: Fields, mixer: str, pos: str, hidden: int, notes: list[str]) -> int:
    heads = f.integer("num_heads", 1)
    if mixer != "attention":
        return heads or 1
    if heads is None:
        heads = default_heads(hidden)
        notes.append(
            f"num_heads is not given and no tensor shows it: {heads} is assumed (heads of {hidden // heads}). "
            "Accuracy is lost if that is wrong; put all_config.yaml beside the checkpoint"
        )
    if hidden % heads or (pos == "rope" and hidden // heads % 2):
        why = f"hidden_size {hidden} over {heads} heads" + (" must be even for rope" if hidden % heads == 0 else "")
        raise InputError("num_heads does not divide the model", where=f.where, why=why, next="Correct num_heads")
    return heads


def _depth(f: Fields, mixer: str, seq_len: int, notes: list[str]) -> tuple[int, int, int]:
    """(H_cycles, L_cycles, steps): told, else in the file's name, else the published recipe for this kind of model."""
    h, l_, steps = (f.integer(n, 1, 4096) for n in ("H_cycles", "L_cycles", "halt_max_steps"))
    if h is None or l_ is None:
        named = re.search(r"(?<![A-Za-z])[hH](\d+)_?[lL](\d+)(?!\d)", f.text("file_name") or "")
        recipe = (int(named[1]), int(named[2])) if named else ((3, 4) if seq_len >= 900 else (3, 6))
        source = "as the file's name says" if named else "the published recipe"
        h, l_ = h or recipe[0], l_ or recipe[1]
        notes.append(f"H_cycles and L_cycles are not given: {h} and {l_} are assumed, {source}")
    if steps is None:
        steps = PUBLISHED_STEPS
        notes.append(f"halt_max_steps is not given: {steps} is assumed, as published")
    return h, l_, steps
