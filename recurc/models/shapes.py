"""What all families share: tensors by name and shape, and configuration from shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from recurc.models import recursion_of
from recurc.models.reasoner import ReasonerConfig, swiglu_width

Shape = tuple[int, ...]

PUBLISHED_EXPANSION = 4.0
PUBLISHED_HEAD_DIM = 64


def model_tensors(config: ReasonerConfig) -> dict[str, Shape]:
    """Every tensor of a model, in the original's order: states, tables, heads, blocks. Weights are [out, in]."""
    made = recursion_of(config)
    heads = made.heads
    shapes: dict[str, Shape] = {state.start.tensor: (state.start.n,) for state in made.states}
    tables = {role: (t.tensor, (t.rows, t.dim)) for role, t in made.tables.items()}
    first = tables.pop("tokens")
    shapes[first[0]] = first[1]
    for ref in (heads.lm_head, heads.q_head):
        shapes[ref.name] = (ref.n, ref.k)
    shapes[heads.q_bias.tensor] = (heads.q_bias.n,)
    shapes.update(tables.values())
    for block in made.blocks:
        shapes.update((ref.name, (ref.n, ref.k)) for op in block.ops for ref in op.linears)
    return shapes


# -- from shapes to configuration -----------------------------------------------------------------------------------


def axis(shapes: Mapping[str, Shape], name: str, index: int) -> int | None:
    """Size of one axis of a tensor, None when the tensor is not there or has no such axis."""
    shape = shapes.get(name)
    return shape[index] if shape is not None and len(shape) > index else None


def first_axis(shapes: Mapping[str, Shape], *sources: tuple[str, int]) -> int | None:
    """The first size that is known. A name may hold `*`: any tensor that matches."""
    for name, index in sources:
        if "*" not in name:
            if (size := axis(shapes, name, index)) is not None:
                return size
            continue
        pattern = name.split("*")
        for candidate in shapes:
            if _matches(pattern, candidate) and (size := axis(shapes, candidate, index)) is not None:
                return size
    return None


def _matches(parts: list[str], name: str) -> bool:
    """Whether a name is these parts, in order, with anything between them. Takes a time linear in the name's length."""
    first, *middle, last = parts
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def level_depth(names: Iterable[str], level: str) -> int:
    """Number of layers of a block, from the indices in its tensors' names (0: no such block)."""
    found = (re.match(rf"{level}\.layers\.(\d+)\.", name) for name in names)
    return max((int(m.group(1)) + 1 for m in found if m), default=0)


def mixer_of(names: Iterable[str]) -> str | None:
    """ "mlp_t" or "attention", by the tensors' names; None when neither shows."""
    names = list(names)
    if any(".mlp_t." in name for name in names):
        return "mlp_t"
    return "attention" if any(".self_attn." in name for name in names) else None


def infer_expansion(widths: Iterable[tuple[int, int]]) -> float | None:
    """An expansion that gives every SwiGLU its width.

    Args:
        widths: (vector length, inner width) pairs. Widths are rounded up to multiples of 256, so many expansions may
            do; the published 4 wins if it does, then the smallest whole number, then the smallest multiple of 1/64.
    """
    pairs = list(widths)

    def fits(expansion: float) -> bool:
        return all(swiglu_width(expansion, n) == width for n, width in pairs)

    if not pairs:
        return None
    if fits(PUBLISHED_EXPANSION):
        return PUBLISHED_EXPANSION
    # A width is reached from 256 below it: nothing outside these bounds fits, however large the widths are.
    floor, ceiling = max(1.5 * (width - 257) / n for n, width in pairs), min(1.5 * (width + 1) / n for n, width in pairs)
    whole = (float(e) for e in range(max(1, int(floor)), int(ceiling) + 1))
    fine = (e / 64 for e in range(max(1, int(floor * 64)), int(ceiling * 64) + 1))
    return next((e for candidates in (whole, fine) for e in candidates if fits(e)), None)


def default_heads(hidden_size: int) -> int:
    """Head count to assume when nothing tells it: heads of 64 features as published, else of 32, else of 16."""
    for head_dim in (PUBLISHED_HEAD_DIM, 32, 16):
        if hidden_size % head_dim == 0:
            return hidden_size // head_dim
    return 1
