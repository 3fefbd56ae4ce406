"""Model families: which trained reasoners recurc understands.

A family is one module in this folder that defines

* ``NAME``: short name, for instance ``"trm"``;
* ``ARCH_NAMES``: the ``arch.name`` values of the original code (``module@Class``) that mean this family;
* ``recognises(names) -> bool``: whether a checkpoint with these tensor names (prefix stripped) can be of this family;
* ``config_from_fields(fields, shapes, where) -> (ReasonerConfig, notes)``: configuration from the original's fields,
  what is missing inferred from tensor shapes, each assumption said in ``notes``;
* ``expected_tensors(config) -> {name: shape}``: every tensor of the checkpoint, by the original's name without prefix;
* ``recursion(config, depth) -> Recursion``: its states, tables, blocks of ops, schedule and heads.

Nothing else has to be told about a new family: `families()` finds the module. Packages of others add theirs by `register`, or
by an entry point of the group "recurc.families" that names a module.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol, cast

from recurc.errors import InputError
from recurc.extensions import distinct, installed
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.reading import read_text
from recurc.recursion import Depth, Recursion

__all__ = ["Family", "Reasoner", "ReasonerConfig", "families", "find_family", "recursion_of", "register", "unregister"]

ENTRY_POINTS = "recurc.families"
STATES = ("z_H", "z_L")  # of the carry, as runtime, wire protocol and evaluation know them

Shape = tuple[int, ...]

# Variants of the original repositories that share a class name or most tensors with a supported family.
_ABLATIONS = {
    "trm_singlez": "the single-state ablation of TRM (one latent instead of z_H and z_L)",
    "trm_hier6": "the six-state ablation of TRM",
    "transformers_baseline": "the non-recursive baseline",
}


class Family(Protocol):
    """What a module in this folder defines to be a model family."""

    NAME: str
    ARCH_NAMES: tuple[str, ...]

    def recognises(self, names: Iterable[str]) -> bool: ...

    def config_from_fields(
        self, fields: Mapping[str, object], shapes: Mapping[str, Shape], where: str = ...
    ) -> tuple[ReasonerConfig, list[str]]: ...

    def expected_tensors(self, config: ReasonerConfig) -> dict[str, Shape]: ...

    def recursion(self, config: ReasonerConfig, depth: Depth) -> Recursion: ...


_PROTOCOL = ("NAME", "ARCH_NAMES", "recognises", "config_from_fields", "expected_tensors", "recursion")


_registered: dict[str, Family] = {}


def register(family: Family) -> None:
    """Add a family that no module of this folder is.

    Raises:
        ValueError: it lacks a part of what a family is, or another one has its name.
    """
    _checked(family)
    if families().get(family.NAME, family) is not family:
        raise ValueError(f"there is a family {family.NAME!r} already")
    _registered[family.NAME] = family


def _checked(family: Family) -> Family:
    """It, when it has all of the protocol, else ValueError."""
    missing = [attribute for attribute in _PROTOCOL if not hasattr(family, attribute)]
    if missing:
        raise ValueError(f"a family has {', '.join(missing)}; see recurc.models")
    return family


def unregister(name: str) -> None:
    """Take back what `register` added."""
    del _registered[name]
    _known.pop(name, None)


@lru_cache(maxsize=1)
def _installed() -> tuple[Family, ...]:
    """The families of installed entry points."""
    return tuple(installed(ENTRY_POINTS, _loaded))


def _loaded(point: EntryPoint) -> Family:
    return _checked(point.load())


def families() -> dict[str, Family]:
    """Name -> family: every module of this folder that defines the family protocol, then installed and registered ones. Where
    two recognise the same tensors and the configuration names none, the first is taken.

    Raises:
        InputError: what a package of others brings is no family, or has another one's name.
    """
    known = (*_in_folders(tuple(__path__)).values(), *_installed(), *_registered.values())
    return distinct(
        "model families", known, lambda family: family.NAME, lambda family: getattr(family, "__name__", family.NAME)
    )


@cache
def _in_folders(folders: tuple[str, ...]) -> dict[str, Family]:
    """The families that are modules in these folders."""
    found: dict[str, Family] = {}
    for file in sorted(Path(folder) / name for folder in folders for name in os.listdir(folder)):
        if file.suffix != ".py" or file.name == "__init__.py":
            continue
        if "ARCH_NAMES" not in read_text(file):
            continue  # not a family; importing it could pull in torch, which takes seconds
        module = importlib.import_module(f"{__name__}.{file.stem}")
        if all(hasattr(module, attribute) for attribute in _PROTOCOL):
            found[module.NAME] = cast(Family, module)  # it has all of the protocol, see above
    return found


_known: dict[str, Family] = {}  # families that configurations have named


def recursion_of(config: ReasonerConfig, depth: Depth | None = None) -> Recursion:
    """What a configuration's family says of its models, at the trained depth unless another is given.

    Raises:
        InputError: no such family, or it cannot make such a model.
    """
    if config.family not in _known:
        _known.update(families())
    if config.family not in _known:
        raise InputError(f"the model family {config.family!r} is unknown", where="family",
                         why="known are " + ", ".join(sorted(_known)),
                         next="Install the package that brings it, or use the recurc that made this model")  # fmt: skip
    made = _known[config.family].recursion(config, depth or config.trained)
    if (names := [state.name for state in made.states]) != list(STATES):
        raise InputError(f"models of the family {config.family!r} cannot be computed", where="states",
                         why=f"its states are {', '.join(names) or 'none'}, and the runtime keeps {' and '.join(STATES)}",
                         next="Give its `recursion` these two")  # fmt: skip
    return made


def _module_and_class(arch_name: str) -> tuple[str, str]:
    module, _, class_name = arch_name.partition("@")
    return module.rsplit(".", 1)[-1], class_name


def find_family(arch_name: str | None, names: Iterable[str], where: str) -> Family:
    """The family of a checkpoint.

    The original's ablations share TRM's class name, so `arch.name` is compared by its module part as well. Without an
    `arch.name` the tensor names decide.

    Args:
        arch_name: `arch.name` as the original's configuration file has it, or None.
        names: tensor names without prefix.
        where: the checkpoint, for messages.

    Raises:
        InputError: an architecture that recurc does not support, or names that no family recognises.
    """
    names = list(names)
    known = families()
    supported = ", ".join(sorted(name.upper() for name in known))
    if arch_name:
        wanted = _module_and_class(arch_name)
        for family in known.values():
            if wanted in {_module_and_class(a) for a in family.ARCH_NAMES}:
                if not family.recognises(names):
                    _refuse_by_names(names, where, supported)
                    _refuse_other_family(family, arch_name, names, where)
                return family
        why = f"arch.name {arch_name} is " + _ABLATIONS.get(wanted[0], "an architecture that recurc does not know")
        raise InputError("this model variant is not supported", where=where, why=why, next=f"Supported families: {supported}")
    for family in known.values():
        if family.recognises(names):
            return family
    _refuse_by_names(names, where, supported)
    # Names that look like nothing known at all: show what is there.
    raise InputError(
        "the tensors are of no model family that recurc knows",
        where=where,
        why="found " + ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else ""),
        next=f"Supported families: {supported}, as the original code writes them",
    )


def _refuse_by_names(names: list[str], where: str, supported: str) -> None:
    """Raise for tensor names that tell an architecture without a family of its own here."""
    foreign = [n for n in names if any(part in n for part in ("dwconv", "board_conv", "ema_model", "shadow"))]
    if foreign:
        raise InputError(
            "this model variant is not supported",
            where=where,
            why=f"tensors such as {foreign[0]} belong to a re-implementation that adds layers to the original model",
            next=f"Supported families: {supported}, as the original code writes them",
        )


def _refuse_other_family(family: Family, arch_name: str, names: list[str], where: str) -> None:
    """Raise when the tensors are those of another family than the configuration names."""
    others = [other.NAME.upper() for other in families().values() if other.recognises(names)]
    if others:
        raise InputError(
            "configuration and tensors are of different model families",
            where=where,
            why=f"arch.name {arch_name} means {family.NAME.upper()}, but the tensor names are those of {' or '.join(others)}",
            next="Put the all_config.yaml that belongs to this checkpoint beside it, and check that the checkpoint is whole",
        )
