"""Which ops there are, and their parts, imported when they are asked for."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from threading import RLock
from typing import TypeVar

from recurc.errors import InputError
from recurc.extensions import installed
from recurc.ops.base import Op
from recurc.reading import is_file, is_there

ENTRY_POINTS = "recurc.ops"  # each names a package: an op's folder
TEMPLATE = "op.c.j2"
Part = TypeVar("Part")

_packages: dict[str, str] = {}  # kind -> package that is its folder
_classes: dict[str, type[Op]] = {}
_searched: list[str] = []  # packages whose folders, and the entry points, have been looked through
_lock = RLock()


class OpError(InputError):
    """An op that is not known, or that lacks a part that was asked for."""


def register(package: str) -> type[Op]:
    """Make an op known: `package` is the folder that holds its `op.py` and its parts. Again for the same package does nothing.

    Raises:
        OpError: there is no op in it, or another op has its kind already.
    """
    try:
        op = importlib.import_module(f"{package}.op").OP
    except (ModuleNotFoundError, AttributeError) as e:
        raise OpError(f"{package} is no op's folder", where=package, why=str(e),
                      next="It needs op.py with a class OP that derives from recurc.ops.Op") from e  # fmt: skip
    kind = getattr(op, "kind", "")
    if not (isinstance(op, type) and issubclass(op, Op) and re.fullmatch(r"[a-z][a-z0-9_]*", kind)):
        raise OpError(f"{package} is no op's folder", where=f"{package}.op", why="OP is no op's class whose kind is a C name",
                      next="Derive it from recurc.ops.Op and give it a kind")  # fmt: skip
    if package != f"{__package__}.{kind}" and is_there(_folder(__package__) / kind):
        raise OpError(f"an op cannot be called {kind!r}", where=package,
                      why="a folder of recurc.ops is called so, and templates are named by it",
                      next="Give it another kind")  # fmt: skip
    if _packages.get(kind, package) != package:
        raise OpError(f"there are two ops called {kind!r}", where=package, why=f"the other one is {_packages[kind]}",
                      next="Give one of them another kind")  # fmt: skip
    _packages[kind], _classes[kind] = package, op
    return op


def unregister(kind: str) -> None:
    """Forget an op."""
    _packages.pop(kind, None)
    _classes.pop(kind, None)


def registered() -> dict[str, type[Op]]:
    """Kind -> class of every op: those of recurc, of entry points, and those that were registered."""
    with _lock:
        if not _searched:
            package = importlib.import_module(__package__)
            # Not by pkgutil, which takes a folder that the system refuses for one that is not there.
            for folder in sorted(Path(at) / name for at in package.__path__ for name in os.listdir(at)):
                if is_file(folder / "op.py"):
                    register(f"{__package__}.{folder.name}")
            installed(ENTRY_POINTS, lambda point: register(point.value))
            _searched.append(__package__)
    return dict(_classes)


def _package(op: Op) -> str:
    if registered().get(op.kind) is not type(op):
        raise OpError(f"the op {op.kind!r} is unknown", where=f"{type(op).__module__}.{type(op).__name__}",
                      why="known are " + ", ".join(sorted(_classes)),
                      next="Register its folder with recurc.ops.register")  # fmt: skip
    return _packages[op.kind]


def _lacks(op: str, name: str, package: str, why: str) -> OpError:
    return OpError(f"the op {op!r} has no part {name!r}", where=package, why=why, next="An op's parts are listed in recurc.ops")


def part(op: Op, name: str, kind: type[Part]) -> Part:
    """The part `name` of an op, which is a `kind`; imported when it is first asked for.

    Raises:
        OpError: the op is not known, or has no such part.
    """
    return _part(op.kind, _package(op), name, kind)


def part_of_kind(op_kind: str, name: str, kind: type[Part]) -> Part:
    """As `part`, of a registered op by its kind."""
    return _part(op_kind, _packages[op_kind], name, kind)


def _part(op_kind: str, package: str, name: str, kind: type[Part]) -> Part:
    module = f"{package}.{name}"
    try:
        found = getattr(importlib.import_module(module), "PART", None)
    except ModuleNotFoundError as e:
        if e.name != module:
            raise
        raise _lacks(op_kind, name, package, f"there is no {name}.py in its folder") from None
    if not isinstance(found, kind):
        raise _lacks(op_kind, name, package, f"PART in {name}.py is no {kind.__name__}")
    return found


def _folder(package: str) -> Path:
    return Path(importlib.import_module(package).__path__[0])


def folders() -> list[Path]:
    """The folders of all ops, and those that ops of recurc share."""
    registered()
    ours = _folder(__package__)
    return [ours, *(folder for folder in map(_folder, _packages.values()) if ours not in folder.parents)]


def template(op: Op) -> str:
    """Name of an op's template.

    Raises:
        OpError: the op is not known, or has none.
    """
    package = _package(op)
    if not (_folder(package) / TEMPLATE).is_file():
        raise _lacks(op.kind, "template", package, f"there is no {TEMPLATE} in its folder")
    return f"ops/{op.kind}/{TEMPLATE}"


def template_file(name: str) -> Path | None:
    """File of a template called "ops/FOLDER/FILE": FOLDER is an op's kind, or a folder that ops of recurc share."""
    match = re.fullmatch(r"ops/([a-z][a-z0-9_]*)/([A-Za-z0-9_.]+\.j2)", name)
    if match is None:
        return None
    registered()
    folder = _folder(_packages[match[1]]) if match[1] in _packages else _folder(__package__) / match[1]
    file = folder / match[2]
    return file if file.is_file() else None
