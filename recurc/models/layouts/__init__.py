"""Other projects' words for the models of the families: what a tensor and what a configuration field is called there.

A layout is one module in this folder that defines

* ``NAME``: the project, for people;
* ``recognises(names) -> bool``: whether a state dict with these tensor names (prefix stripped) is of it;
* ``tensor_name(name) -> str``: the reference's name of a tensor; a name that it does not know stays;
* ``fields(raw, where) -> dict``: a configuration in the reference's words, without what only training reads. What the
  reference does not compute is refused by name (InputError).

The reference's own words need no layout. Nothing else has to be told about a new one: `layout_of` finds the module.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import cache
from pkgutil import iter_modules
from typing import Protocol, TypeVar, cast

from recurc.errors import InputError, printable

__all__ = ["Layout", "layout_of", "renamed", "translated"]

T = TypeVar("T")
_SECTIONS = 3  # as deep as a configuration's are read


class Layout(Protocol):
    """What a module in this folder defines."""

    NAME: str

    def recognises(self, names: Iterable[str]) -> bool: ...

    def tensor_name(self, name: str) -> str: ...

    def fields(self, raw: Mapping[str, object], where: str) -> dict[str, object]: ...


def layout_of(names: Iterable[str]) -> Layout | None:
    """The layout that a state dict is of; None where it is none but the reference's."""
    every = list(names)
    return next((layout for layout in _layouts() if layout.recognises(every)), None)


def translated(layout: Layout | None, raw: Mapping[str, object], where: str, depth: int = _SECTIONS) -> dict[str, object]:
    """A configuration in the reference's words, its sections too. Raises InputError for what the reference does not compute.

    depth: sections in sections that are looked into; a pickle's may hold itself.
    """
    if layout is None:
        return dict(raw)
    inner = {k: translated(layout, v, where, depth - 1) if isinstance(v, Mapping) and depth else v for k, v in raw.items()}
    return layout.fields(inner, where)


def renamed(layout: Layout | None, tensors: Mapping[str, T], where: str) -> dict[str, T]:
    """Tensors by the reference's names. Raises InputError where two have the same."""
    if layout is None:
        return dict(tensors)
    found: dict[str, T] = {}
    for name, tensor in tensors.items():
        if (wanted := layout.tensor_name(name)) in found:
            raise InputError("the checkpoint holds a tensor twice", where=where,
                             why=f"{printable(name, 100)} is {wanted} in the words of {layout.NAME}, which is there too",
                             next="Save the state dict of one model")  # fmt: skip
        found[wanted] = tensor
    return found


@cache
def _layouts() -> tuple[Layout, ...]:
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(cast(Layout, importlib.import_module(f"{__name__}.{name}")) for name in names)
