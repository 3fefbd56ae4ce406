"""Precision per layer: which layers are stored otherwise than the rest: heads as a precision says, others as they are named."""

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


def own_layers(program: Program, precision: Precision) -> dict[str, str]:
    """Layers that a precision itself stores otherwise: its heads, where it names a precision for them."""
    heads = (program.lm_head.name, program.q_head.name)
    return dict.fromkeys(heads, precision.heads) if precision.heads else {}


def other_layers(program: Program, precision: Precision, wanted: Mapping[str, str] | None) -> dict[str, Precision]:
    """Layers of a program that are stored otherwise than in `precision`: heads as that one says, then what `wanted` names.

    Raises:
        UsageError: see `resolve_layers`.
    """
    own = {name: precision_named(other) for name, other in own_layers(program, precision).items()}
    found = own | resolve_layers([ref.name for ref in program.linears], wanted)
    return {name: other for name, other in found.items() if other is not precision}


def raisable(program: Program, low: Precision, high: Precision) -> tuple[str, ...]:
    """Layers that get more bits where `high` takes the place of `low`, blocks first."""
    now, then = (other_layers(program, precision, None) for precision in (low, high))
    names = (ref.name for ref in program.linears)
    return tuple(name for name in names if then.get(name, high).bits > now.get(name, low).bits)


def layer_forms(program: Program, precision: Precision, layers: Mapping[str, str] | None) -> Forms:
    """Stored forms of a program for planning: one when no layer differs, else that of each; `layers` as `other_layers`.

    Raises:
        UsageError: see `resolve_layers`.
    """
    other = other_layers(program, precision, layers)
    return {ref.name: other.get(ref.name, precision).form for ref in program.linears} if other else precision.form
