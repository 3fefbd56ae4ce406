"""What installed packages bring to recurc, and whether it can be used."""

from __future__ import annotations

from collections.abc import Callable

from recurc import models, ops
from recurc.doctor.findings import OK, PROBLEM, Finding
from recurc.errors import RecurcError
from recurc.extensions import named
from recurc.ops import registry as op_registry
from recurc.package import registry as formats
from recurc.quant import weights

EXTENSIONS = "extensions"
# What they bring -> the group of entry points, and what asks for all of the kind.
_KINDS: dict[str, tuple[str, Callable[[], object]]] = {
    "ops": (op_registry.ENTRY_POINTS, ops.registered),
    "precisions": (weights.ENTRY_POINTS, weights.precisions),
    "model families": (models.ENTRY_POINTS, models.families),
    "package formats": (formats.ENTRY_POINTS, formats.packages),
}


def check_extensions() -> list[Finding]:
    """A line for each kind that a package brings something of; none where no package brings anything."""
    return [_found(kind, names, ask) for kind, (group, ask) in _KINDS.items() if (names := named(group))]


def _found(kind: str, names: list[str], ask: Callable[[], object]) -> Finding:
    try:
        ask()
    except RecurcError as e:
        return Finding(EXTENSIONS, kind, PROBLEM, f"{e.what} ({e.where}): {e.why}", e.next, e.exit_code)
    return Finding(EXTENSIONS, kind, OK, ", ".join(names))
