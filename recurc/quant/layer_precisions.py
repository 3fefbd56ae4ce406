"""Precision per layer: which layers are stored otherwise than the rest, named one by one or by patterns."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.ir.program import Program
from recurc.quant.weights import Precision, precision_named
from recurc.reading import shown
from recurc.storage.form import Forms


def resolve_layers(names: Sequence[str], wanted: Mapping[str, str] | None) -> dict[str, Precision]:
    """Layers that `wanted` names, with their precision.

    Args:
        names: of all linear layers.
        wanted: a layer's name, or a pattern of several ("*.mlp.down_proj.weight"), -> name of a precision. Where several
            hold for a layer, the last does.

    Raises:
        UsageError: no layer has such a name, or no precision.
    """
    found: dict[str, Precision] = {}
    for pattern, precision in (wanted or {}).items():
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            near = difflib.get_close_matches(pattern[:100], names, n=1, cutoff=0.3)
            raise UsageError(
                f"no layer is called {shown(pattern)}",
                where=argument("layers", option="layer"),
                why=f"the model's {len(names)} layers are named as its tensors are",
                next=f"Did you mean {near[0]}?" if near else f"They are {', '.join(names)}",
            )
        found.update(dict.fromkeys(matching, precision_named(precision)))
    return found


def layer_forms(program: Program, precision: Precision, layers: Mapping[str, str] | None) -> Forms:
    """Stored forms of a program for planning: one when no layer differs, else that of each.

    Raises:
        UsageError: see `resolve_layers`.
    """
    names = [ref.name for ref in program.linears]
    other = resolve_layers(names, layers)
    return {name: other.get(name, precision).form for name in names} if other else precision.form
