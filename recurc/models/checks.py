"""Checks of a checkpoint's tensors against what its family expects: names, shapes, finite values.

Everything wrong is said at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np

from recurc.errors import InputError, printable
from recurc.models.pages import pieces

_LISTED = 20
_COMPARED = 1000  # names that a misspelt one is compared with
_NAME = 100  # characters of a name that are shown


def check_names(tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Every expected name is there and no other.

    Raises:
        InputError: lists all missing and unexpected names, each missing one with the unexpected name nearest to it.
    """
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    if not missing and not extra:
        return
    said, lines, known = set(), [], list(expected)[:_COMPARED]
    for name in missing[:_LISTED]:
        near = difflib.get_close_matches(name, [e for e in extra[:_COMPARED] if e not in said], n=1, cutoff=0.85)
        lines.append(f"missing {name}" + (f" (there is {printable(near[0], _NAME)}: misspelt?)" if near else ""))
        said.update(near)
    rest = [name for name in extra if name not in said]
    lines += [f"unexpected {printable(name, _NAME)}" + _nearest(name, known) for name in rest[:_LISTED]]
    more = max(0, len(missing) - _LISTED) + max(0, len(rest) - _LISTED)
    raise InputError(
        "tensor names are not those of the model",
        where=where,
        why=_join(lines, more),
        next="Save the original model's own state dict, and check that its configuration file is beside it",
    )


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (nearest valid name: {near[0]})" if near else ""


def check_shapes(tensors: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Every tensor has its expected shape.

    Raises:
        InputError: lists all that have not.
    """
    wrong = [
        f"{name} is {_shape(tensors[name].shape)}, expected {_shape(shape)}"
        for name, shape in expected.items()
        if tuple(tensors[name].shape) != tuple(shape)
    ]
    if wrong:
        raise InputError(
            "tensor shapes do not match the configuration",
            where=where,
            why=_join(wrong),
            next="Use the configuration file that belongs to this checkpoint",
        )


def check_finite(tensors: Mapping[str, np.ndarray], where: str) -> None:
    """No NaN and no infinity in any tensor (large tables are read a piece at a time and do not stay in memory).

    Raises:
        InputError: names each such tensor, its first bad index, the value there and how many there are.
    """
    wrong = [text for name, tensor in tensors.items() if (text := _first_bad(name, tensor))]
    if wrong:
        raise InputError(
            "weights are not finite", where=where, why=_join(wrong), next="Use an earlier checkpoint of the training run"
        )


def _first_bad(name: str, tensor: np.ndarray) -> str:
    flat, first, count = tensor.reshape(-1), None, 0
    for begin, part in pieces(flat):
        bad = ~np.isfinite(part)
        if bad.any():
            count += int(bad.sum())
            first = begin + int(np.argmax(bad)) if first is None else first
    if first is None:
        return ""
    index = ", ".join(str(int(i)) for i in np.unravel_index(first, tensor.shape))
    return f"{name}[{index}] is {flat[first]}" + (f" ({count} such values)" if count > 1 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "a scalar"


def _join(lines: list[str], more: int = 0) -> str:
    """Lines as one clause; `more`: how many there are that were not even written."""
    more += max(0, len(lines) - _LISTED)
    return "; ".join(lines[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
