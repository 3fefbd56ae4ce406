"""What all families read alike from the original's configuration and the tensors' shapes, each assumption said in a note."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from recurc.arguments import argument
from recurc.errors import InputError
from recurc.models.fields import Fields
from recurc.models.reasoner import ReasonerConfig
from recurc.models.shapes import default_heads, first_axis, infer_expansion, level_depth, mixer_of
from recurc.recursion import ROTARY_KINDS

Shape = tuple[int, ...]

PUBLISHED_STEPS = 16
MAX_ROWS = 1 << 16
MAX_LAYERS = 1024


def sizes(f: Fields, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """(hidden size D, vocabulary)."""
    hidden = f.integer("hidden_size", 1) or _needed(
        "hidden_size",
        first_axis(shapes, ("H_init", 0), ("L_init", 0), ("lm_head.weight", 1), ("embed_tokens.embedding_weight", 1)),
        f.where,
    )
    vocab = _needed(
        "vocab_size",
        first_axis(shapes, ("embed_tokens.embedding_weight", 0), ("lm_head.weight", 0)) or f.integer("vocab_size", 1),
        f.where,
    )
    return hidden, vocab


def layers_field(f: Fields, shapes: Mapping[str, Shape], field: str, level: str) -> int:
    """Depth of a block: of the configuration and of the tensors, which must agree.

    Raises:
        InputError: they do not, or the block has no layers.
    """
    told, shown = f.integer(field, 1, MAX_LAYERS), level_depth(shapes, level)
    if not shown:
        named = [name for name in shapes if level in name] or list(shapes)
        raise InputError(
            f"the checkpoint has tensors of 0 layers of {level}", where=f.where,
            why=f"their tensors are named {level}.layers.0. and so on, and there are " + ", ".join(sorted(named)[:6])
                + (", ..." if len(named) > 6 else ""),
            next="Save the original model's own state dict, and check that the checkpoint is whole",
        )  # fmt: skip
    if told is not None and told != shown:
        raise InputError(
            "configuration and tensors disagree on the number of layers",
            where=f.where,
            why=f"{field} is {told}, but the checkpoint has tensors of {shown} layers of {level}",
            next="Put the all_config.yaml that belongs to this checkpoint beside it, and check that the checkpoint is whole",
        )
    if shown > MAX_LAYERS:
        raise InputError("the block has too many layers", where=f.where,
                         why=f"tensors are named up to layer {shown} of {level}",
                         next="Check that the checkpoint is whole: a model has tens of layers")  # fmt: skip
    return shown


def complete(
    family: str, f: Fields, shapes: Mapping[str, Shape], notes: list[str], *, recipe: tuple[int, int],
    mixer: str, pos_encodings: str, hidden_size: int, seq_len: int, puzzle_emb_ndim: int, puzzle_emb_len: int, **known: Any,
) -> ReasonerConfig:  # fmt: skip
    """The configuration once a family knows its sizes: adds expansion, heads, cycles and constants.

    Args:
        recipe: (H, L) cycles of the published recipe, where neither fields nor the file's name tell them.
        known: the other fields of ReasonerConfig that the family has settled.

    Raises:
        InputError: fields out of range, or a puzzle embedding longer than its rows.
    """
    rows = seq_len + (puzzle_emb_len or -(-puzzle_emb_ndim // hidden_size))
    expansion = f.number("expansion", 1e-3, 1e4)
    if expansion is None:
        expansion = _expansion(shapes, mixer, hidden_size, rows, notes)
    heads = _heads(f, mixer, pos_encodings, hidden_size, notes)
    h_cycles, l_cycles, steps = _cycles(f, recipe, notes)
    eps, theta = f.number("rms_norm_eps", 0.0, 1.0), f.number("rope_theta", 1e-9, 1e15)
    config = ReasonerConfig(
        family=family, mixer=mixer, pos_encodings=pos_encodings, hidden_size=hidden_size, seq_len=seq_len,
        puzzle_emb_ndim=puzzle_emb_ndim, puzzle_emb_len=puzzle_emb_len, expansion=expansion, num_heads=heads,
        H_cycles=h_cycles, L_cycles=l_cycles, halt_max_steps=steps,
        rms_norm_eps=1e-5 if eps is None else eps, rope_theta=10000.0 if theta is None else theta,
        forward_dtype=f.text("forward_dtype") or "bfloat16", **known,
    )  # fmt: skip
    if puzzle_emb_ndim > config.puzzle_rows * hidden_size:
        raise InputError(
            "the puzzle embedding does not fit its rows",
            where=f.where,
            why=f"puzzle_emb_ndim {puzzle_emb_ndim} exceeds puzzle_emb_len {config.puzzle_rows} x hidden_size {hidden_size}",
            next="Correct puzzle_emb_len in the configuration file (0 means as many rows as needed)",
        )
    return config


def _needed(name: str, value: int | None, where: str) -> int:
    if value is None:
        raise InputError(
            f"{name} is unknown",
            where=where,
            why=f"neither the configuration nor any tensor tells {name}",
            next="Put all_config.yaml beside the checkpoint, and check that the checkpoint is whole",
        )
    return value


def mixer_field(f: Fields, shapes: Mapping[str, Shape]) -> str:
    """Token mixing, "mlp_t" or "attention": of the configuration and of the tensors, which must agree."""
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


def puzzle_fields(f: Fields, shapes: Mapping[str, Shape]) -> tuple[int, int | None, int]:
    """(puzzle_emb_ndim, puzzle_emb_len or None when unsaid, identifiers)."""
    columns = first_axis(shapes, ("puzzle_emb.weights", 1))
    told = f.integer("puzzle_emb_ndim")
    ndim = told if told is not None else (columns or 0)
    identifiers = first_axis(shapes, ("puzzle_emb.weights", 0)) or f.integer("num_puzzle_identifiers") or 1
    return ndim, f.integer("puzzle_emb_len", 0, MAX_ROWS), identifiers


def positions(f: Fields, shapes: Mapping[str, Shape], mixer: str, notes: list[str]) -> str:
    """Position encodings "rope", "rope2d-nano", "learned" or "none": told, else what the tensors and the mixer leave."""
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
    if told.lower() not in (*ROTARY_KINDS, "none"):
        said = f"pos_encodings {told} is none that recurc knows ({', '.join(ROTARY_KINDS)}, learned, none)"
        if mixer == "attention":
            raise InputError(
                "these position encodings are not supported", where=f.where,
                why=f"{said}. The original code would run it without positions, a fork of it need not",
                next="Write pos_encodings: none where the model has none",
            )  # fmt: skip
        notes.append(f"{said}: none are used, as token mixing needs none")
    # Token mixing has no use for rotary tables: the original builds them and never reads them.
    return told if told in ROTARY_KINDS and mixer == "attention" else "none"


def told_length(seq_len: int | None, nearby: int | None, f: Fields, notes: list[str]) -> int:
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
        next=f"Pass the dataset directory with {argument('data', 'DIR')}, or the length with {argument('seq_len', 'N')} "
        "(at the command line of inspect and convert)",
    )


def _expansion(shapes: Mapping[str, Shape], mixer: str, hidden: int, rows: int, notes: list[str]) -> float:
    """An expansion that gives the SwiGLUs of the tensors their widths."""
    widths = [(hidden, first_axis(shapes, ("*_level.*.mlp.down_proj.weight", 1)))]
    if mixer == "mlp_t":
        widths.append((rows, first_axis(shapes, ("*_level.*.mlp_t.down_proj.weight", 1))))
    expansion = infer_expansion((n, width) for n, width in widths if width is not None)
    if expansion is None:
        return 4.0  # no expansion gives these widths: the shape check will list them
    notes.append(f"expansion is not given: {expansion:g} gives the widths of the tensors")
    return expansion


def _heads(f: Fields, mixer: str, pos: str, hidden: int, notes: list[str]) -> int:
    """Attention heads, which no tensor shows; they must divide the width (into even parts for rope)."""
    heads = f.integer("num_heads", 1)
    if mixer != "attention":
        return heads or 1
    if heads is None:
        heads = default_heads(hidden)
        notes.append(
            f"num_heads is not given and no tensor shows it: {heads} is assumed (heads of {hidden // heads}). "
            "Accuracy is lost if that is wrong; put all_config.yaml beside the checkpoint"
        )
    parts = ROTARY_KINDS.get(pos, 1)
    if hidden % heads or hidden // heads % parts:
        why = f"hidden_size {hidden} over {heads} heads" + (
            f" must be a multiple of {parts} for {pos}" if hidden % heads == 0 else ""
        )
        raise InputError("num_heads does not divide the model", where=f.where, why=why, next="Correct num_heads")
    return heads


def _cycles(f: Fields, recipe: tuple[int, int], notes: list[str]) -> tuple[int, int, int]:
    """(H_cycles, L_cycles, steps): told, else in the file's name, else the published recipe for this kind of model."""
    h, l_, steps = (f.integer(n, 1, 4096) for n in ("H_cycles", "L_cycles", "halt_max_steps"))
    if h is None or l_ is None:
        named = re.search(r"(?<![A-Za-z])[hH](\d+)_?[lL](\d+)(?!\d)", f.text("file_name") or "")
        source = "as the file's name says" if named else "the published recipe"
        assumed = (int(named[1]), int(named[2])) if named else recipe
        missing = [
            f"{name} ({value})"
            for name, told, value in (("H_cycles", h, assumed[0]), ("L_cycles", l_, assumed[1]))
            if told is None
        ]
        h, l_ = assumed[0] if h is None else h, assumed[1] if l_ is None else l_
        notes.append(f"not given, so assumed, {source}: " + " and ".join(missing))
    if steps is None:
        steps = PUBLISHED_STEPS
        notes.append(f"halt_max_steps is not given: {steps} is assumed, as published")
    return h, l_, steps
