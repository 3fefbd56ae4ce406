"""What compiled code depends on and no weight decides: an image of the same architecture can take another one's place.

It is told as facts, pairs of a name and a value for people, in a fixed order. The image's header holds a digest of them, and
firmware refuses an image of another one. So their wording is part of the format: other words, and devices refuse images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from recurc.errors import InputError
from recurc.ir.program import LinearRef, Loop, Op, Program, Update
from recurc.ops.base import LATER, RmsNorm
from recurc.plan.kernels import KernelSet
from recurc.storage.form import Form

ARCHITECTURE_BYTES = 16
Facts = tuple[tuple[str, str], ...]
Placed = tuple[int, int, int]  # a section: its kind's number, offset and bytes


def facts(program: Program, forms: Mapping[str, Form], kernels: KernelSet, arithmetic: int, sections: list[Placed]) -> Facts:
    """What the code of a model for a kernel set depends on, most telling first.

    Args:
        forms: stored form of every linear layer. sections: of the image, in its order.

    Raises:
        InputError: an op has a field of a kind that has no words here.
    """
    c, depth, heads = program.config, program.depth, program.heads
    found = [
        ("arithmetic", str(arithmetic)), ("packing", str(kernels.packing)),
        ("hidden_size", str(c.hidden_size)), ("seq_len", str(c.seq_len)), ("vocab_size", str(c.vocab_size)),
        ("puzzle_rows", str(c.puzzle_rows)), ("puzzle_emb_ndim", str(c.puzzle_emb_ndim)),
        ("num_puzzle_identifiers", str(c.num_puzzle_identifiers if c.puzzle_emb_ndim else 0)), ("halt_rule", c.halt_rule),
        ("steps", str(depth.steps)), ("h_cycles", str(depth.h_cycles)), ("l_cycles", str(depth.l_cycles)),
        ("carry", program.carry), ("forms of a puzzle", str(len(program.symmetries))),
    ]  # fmt: skip
    found += [(f"state {state.name}", f"starts as {state.start.name}") for state in program.states]
    found += [(f"table {role}", f"{t.rows} x {t.dim}, {t.storage}") for role, t in program.tables.items()]
    for block in program.blocks:
        found.append((f"ops of {block.name}", str(len(block.ops))))
        for number, op in enumerate(block.ops):
            found += _op(f"{block.name} op {number}", op, forms)
    found.append(("schedule", _turns(program.schedule)))
    found.append(("heads read", heads.state))
    found += [("lm_head", _value(heads.lm_head, forms)), ("q_head", _value(heads.q_head, forms))]
    found.append(("sections", " ".join(f"{kind}@{offset}+{size}" for kind, offset, size in sections)))
    return tuple(found)


def digest(told: Facts) -> bytes:
    """ARCHITECTURE_BYTES that stand for them in an image's header."""
    return hashlib.sha256(json.dumps(told, ensure_ascii=True).encode()).digest()[:ARCHITECTURE_BYTES]


def differences(told: Facts, wanted: Facts) -> list[str]:
    """What differs, in words: "hidden_size is 64, the build has 32", in the order of the facts."""
    mine, its = dict(told), dict(wanted)
    names = list(dict.fromkeys([*mine, *its]))
    return [
        f"{name} is {mine.get(name, 'none')}, the build has {its.get(name, 'none')}"
        for name in names
        if mine.get(name) != its.get(name)
    ]


def _op(where: str, op: Op, forms: Mapping[str, Form]) -> list[tuple[str, str]]:
    """An op: its kind, then its fields. One that came later is told where it is not its default: images of before stay."""
    told = [field for field in fields(op) if field.metadata != LATER or getattr(op, field.name) != field.default]
    values = [(f"{where} {field.name}", _value(getattr(op, field.name), forms)) for field in told]
    return [(where, op.kind), *values]


def _value(value: Any, forms: Mapping[str, Form]) -> str:
    """A field of an op in words; of a layer its shape and how it is stored, not its name, which no code knows."""
    if isinstance(value, LinearRef):
        return f"{value.n} x {value.k} in {value.parts}, {forms[value.name].suffix}"
    if isinstance(value, RmsNorm):
        return _value(value.eps, forms)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int | str):
        return str(value)
    if isinstance(value, float):  # what C gets of it: a binary32
        return np.format_float_scientific(np.float32(value), unique=True)
    if isinstance(value, tuple):
        return "(" + ", ".join(_value(item, forms) for item in value) + ")"
    raise InputError(
        f"an op's field cannot be told: {value!r:.80}", where="architecture of the image",
        why="fields are numbers, texts, layers, norms, or tuples of those", next="Give the op such fields",
    )  # fmt: skip


def _turns(item: Loop | Update) -> str:
    """The schedule in a line."""
    if isinstance(item, Loop):
        return f"{item.count} x ({'; '.join(map(_turns, item.body))})"
    return f"{item.state} += {' + '.join(item.sources)}, {item.block}"
