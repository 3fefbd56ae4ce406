"""Which package formats there are: those of this package, of installed entry points, and registered ones."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint

from recurc.arguments import argument
from recurc.emit.naming import library_name
from recurc.errors import InputError, UsageError
from recurc.extensions import distinct, installed
from recurc.package.base import OWN_FOLDERS, WEIGHTS, Asked, Package
from recurc.reading import shown
from recurc.targets.allowed import NAME
from recurc.targets.boards import Board
from recurc.targets.regions import ELSEWHERE
from recurc.targets.tomltable import nearest
from recurc.targets.toolchain import check_linkable

ENTRY_POINTS = "recurc.packages"  # each names a Package
_TEXTS = ("name", "title", "folder")

_registered: dict[str, Package] = {}


def register(package: Package) -> None:
    """Add a format that no module of this package has.

    Raises:
        TypeError: it is none. ValueError: another one has its name, or its name or folder cannot be used.
    """
    checked(package)
    if packages().get(package.name, package) is not package:
        raise ValueError(f"there is a package format {package.name!r} already")
    _registered[package.name] = package
    packages.cache_clear()


def unregister(name: str) -> None:
    """Take back what `register` added."""
    del _registered[name]
    packages.cache_clear()


@lru_cache(maxsize=1)
def packages() -> dict[str, Package]:
    """All formats by name. A module of this package that has a `PACKAGE` is one.

    Raises:
        InputError: what a package of others brings is none, or has another one's name.
    """
    here = importlib.import_module(__package__)
    names = sorted(name.removesuffix(".py") for folder in here.__path__ for name in os.listdir(folder) if name.endswith(".py"))
    modules = (importlib.import_module(f"{__package__}.{name}") for name in names if name != "__init__")
    own = [found for module in modules if (found := getattr(module, "PACKAGE", None)) is not None]
    known = (*own, *installed(ENTRY_POINTS, _loaded), *_registered.values())
    return distinct("package formats", known, lambda package: package.name, lambda package: type(package).__module__)


def _loaded(point: EntryPoint) -> Package:
    """The format of an entry point. Raises TypeError or ValueError where it is none."""
    return checked(point.load())


def checked(package: object) -> Package:
    """A package format that may be used.

    Raises:
        TypeError: it is none. ValueError: its name or folder cannot stand in a board's file, or is one of the build's own.
    """
    if isinstance(package, type) or not (
        isinstance(package, Package) and all(isinstance(getattr(package, field, None), str) for field in _TEXTS)
    ):
        raise TypeError(f"{package!r} is no value of a class that derives from Package, with {', '.join(_TEXTS)}")
    if not NAME.fullmatch(package.name):
        raise ValueError(f"the name {package.name!r} of a package format is not one plain word")
    if package.folder and (not NAME.fullmatch(package.folder) or package.folder in OWN_FOLDERS):
        raise ValueError(f"{package.folder!r} cannot be the folder of a package format: it is one plain word and none of "
                         + ", ".join(sorted(OWN_FOLDERS)))  # fmt: skip
    return package


def package_named(name: str, where: str = "") -> Package:
    """A format by name.

    Args:
        where: who names it, for the error.

    Raises:
        InputError: there is none; the nearest are named.
    """
    known = packages()
    if name not in known:
        raise InputError(
            f"there is no package format {shown(name)}",
            where=where,
            why=nearest(name, tuple(known)),
            next="Install what brings it, or correct `packages` in the board's file",
        )
    return known[name]


def toolchains(board: Board) -> tuple[str, ...]:
    """Families whose compiler a build for a board needs on this computer, beside the host's; () where nothing can be built.

    Raises:
        InputError: its file names a format that there is not.
    """
    made = packages_of(board) if board.packages else ()
    return tuple(dict.fromkeys(family for package in made for family in package.toolchains(board)))


def delivered(names: Iterable[str]) -> list[str]:
    """What a build that is delivered in these formats holds, in a few words each, for people."""
    known = packages()
    return [known[name].says() if name in known else f"{name}, a format that is not installed here" for name in names]


def delivered_as(board: Board, formats: Sequence[str], weights: str = WEIGHTS[0]) -> Board:
    """The board with other formats that a build for it is delivered in than its file says; () leaves those.

    Args:
        weights: as `asked_of` takes them. A library's own file of them takes no room in the board's flash.

    Raises:
        UsageError: there is no format of that name.
    """
    for name in formats:
        if name not in packages():
            raise UsageError(f"there is no package format {shown(name)}", where=argument("as_", name, option="as"),
                             why=nearest(name, tuple(packages())), next="Take one of those")  # fmt: skip
    found = replace(board, packages=tuple(dict.fromkeys(formats))) if formats else board
    if weights == "file" and board.family != "host" and all(package_named(name).named for name in found.packages):
        regions = (*(r for r in found.regions if r.name != ELSEWHERE.name), ELSEWHERE)
        found = replace(found, regions=regions, placement={**found.placement, "image": (ELSEWHERE.name,)}, twin=None)
    return found


def asked_of(board: Board, name: str = "", weights: str = WEIGHTS[0]) -> Asked:
    """What a board's formats are asked for.

    Raises:
        UsageError: a library's name or form of weights is none, or is given where no library is built.
    """
    told = {"name": name, "weights": weights}
    given = [said for said, default in (("name", ""), ("weights", WEIGHTS[0])) if told[said] != default]
    if given and not any(package_named(format).named for format in board.packages):
        raise UsageError(f"{argument(given[0])} is a library's", where=argument(given[0], told[given[0]]),
                         why=f"the build is delivered as {' and '.join(board.packages) or 'nothing'}",
                         next=f"Add {argument('as_', 'library', option='as')}, or leave it out")  # fmt: skip
    if weights not in WEIGHTS:
        raise UsageError(f"a library holds no weights as {shown(weights)}", where=argument("weights", weights),
                         why=nearest(weights, WEIGHTS), next=f"Take {', '.join(WEIGHTS[:-1])} or {WEIGHTS[-1]}")  # fmt: skip
    if name:
        library_name(name)
    return Asked(name, weights)


def packages_of(board: Board) -> tuple[Package, ...]:
    """The formats that a build for a board is delivered in, in the order in which they are made.

    Raises:
        InputError: its file names one that there is not. ToolchainError: nothing can be built for it; says what is missing.
    """
    if not board.packages:
        check_linkable(board)
    return tuple(package_named(name, f"board file {board.path.name}" if board.path else board.name) for name in board.packages)
