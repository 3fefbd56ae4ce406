"""What installed packages bring to recurc: the values of their entry points, each taken or refused by its name."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar

from recurc.errors import InputError, RecurcError
from recurc.reading import matching

GROUPS = ("recurc.ops", "recurc.precisions", "recurc.families", "recurc.packages")  # of entry points
Taken = TypeVar("Taken")


def _points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda p: (p.name, p.value))


def _package(point: EntryPoint) -> str:
    """The package that an entry point is of, where that is known."""
    return f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""


def named(group: str) -> list[str]:
    """The entry points of a group by name, with their packages, for people; nothing is imported."""
    return [f"{point.name}{_package(point)}" for point in _points(group)]


def installed(group: str, take: Callable[[EntryPoint], Taken]) -> list[Taken]:
    """What `take` makes of each entry point of a group, in the order of their names.

    Raises:
        InputError: one cannot be imported or is no such thing, whatever it raises.
    """
    found = []
    for point in _points(group):
        try:
            found.append(take(point))
        except RecurcError:
            raise
        except Exception as e:  # code of others: anything
            raise InputError(
                f"the installed extension {point.name!r} cannot be used", why=f"{type(e).__name__}: {e}",
                where=f"entry point {point.name} = {point.value} in the group {group}{_package(point)}",
                next="Correct it, or uninstall the package that brings it",
            ) from e  # fmt: skip
    return found


def at_fault(error: BaseException) -> tuple[str, str] | None:
    """The extension in whose code an error arose, and where: its package or entry point, and "module.path:line".

    Libraries and templates of recurc's that the code calls are passed over. None: it arose in recurc.
    """
    tops: dict[str, str] = {}
    for group in GROUPS:
        for point in _points(group):
            top = point.value.partition(":")[0].partition(".")[0]
            tops.setdefault(top, _package(point).removeprefix(" of ") or f"the entry point {point.name} = {point.value}")
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module, file = str(frame.f_globals.get("__name__", "")), Path(frame.f_code.co_filename)
        top = module.partition(".")[0]
        if top == "recurc" and module != "recurc.quoting":  # which tells what is wrong with a template
            return None
        if top in tops:
            return tops[top], f"{module}:{line}"
        found = next((name for name in tops if any(file.is_relative_to(folder) for folder in _folders(name))), None)
        if found is not None:  # a template
            return tops[found], f"{file}:{line}"
    return None


def _folders(package: str) -> list[Path]:
    return [Path(folder) for folder in getattr(sys.modules.get(package), "__path__", ())]


def distinct(
    what: str, known: Iterable[Taken], name: Callable[[Taken], str], origin: Callable[[Taken], str]
) -> dict[str, Taken]:
    """All that is known of a kind by name, in order. One value twice is one.

    Args:
        what: the kind in words, several of it. name, origin: what one is called, and the module that it is from.

    Raises:
        InputError: two have one name, so that chance would say which one is meant.
    """
    found: dict[str, Taken] = {}
    for value in known:
        other = found.setdefault(name(value), value)
        if other is not value:
            raise InputError(
                f"there are two {what} called {name(value)!r}", where=f"{origin(other)} and {origin(value)}",
                why="nothing says which one is meant", next="Uninstall one of them, or give it another name",
            )  # fmt: skip
    return found


def sources(module: str) -> list[Path]:
    """The Python files of the package that an imported module is in, or the module's own; none where it has no file."""
    here = sys.modules[module]
    package = sys.modules.get(here.__package__ or "")
    if package is not None and hasattr(package, "__path__"):
        return sorted(file for folder in package.__path__ for file in matching(folder, "*.py", deep=True))
    return [Path(here.__file__)] if here.__file__ else []
