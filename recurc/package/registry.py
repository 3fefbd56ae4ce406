"""Which package formats there are: those of this package, of installed entry points, and registered ones."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import entry_points

from recurc.errors import InputError
from recurc.package.base import Package
from recurc.reading import shown
from recurc.targets.boards import Board
from recurc.targets.tomltable import nearest
from recurc.targets.toolchain import check_linkable

ENTRY_POINTS = "recurc.packages"  # each names a Package

_registered: dict[str, Package] = {}


def register(package: Package) -> None:
    """Add a format that no module of this package has.

    Raises:
        ValueError: another one has its name.
    """
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
    """All formats by name. A module of this package that has a `PACKAGE` is one."""
    here = importlib.import_module(__package__)
    names = sorted(name.removesuffix(".py") for folder in here.__path__ for name in os.listdir(folder) if name.endswith(".py"))
    modules = (importlib.import_module(f"{__package__}.{name}") for name in names if name != "__init__")
    own = [found for module in modules if (found := getattr(module, "PACKAGE", None)) is not None]
    foreign = [point.load() for point in entry_points(group=ENTRY_POINTS)]
    return {package.name: package for package in (*foreign, *_registered.values(), *own)}


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


def packages_of(board: Board) -> tuple[Package, ...]:
    """The formats that a build for a board is delivered in, in the order in which they are made.

    Raises:
        InputError: its file names one that there is not. ToolchainError: nothing can be built for it; says what is missing.
    """
    if not board.packages:
        check_linkable(board)
    return tuple(package_named(name, f"board file {board.path.name}" if board.path else board.name) for name in board.packages)
