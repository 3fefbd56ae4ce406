"""Options that belong together, as one value: what a command function takes in the place of one parameter an option."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

Command = Callable[..., Any]


def takes(**groups: type) -> Callable[[Command], Command]:
    """Pass options on in groups: `takes(lowering=Lowering)` gives the command one `lowering`, made of the options that are
    called as that dataclass's fields. A field without an option keeps its default; of two groups the first takes an option."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            made = {}
            for name, kind in groups.items():
                made[name] = kind(**{f.name: given.pop(f.name) for f in fields(kind) if f.name in given})
            return function(*args, **given, **made)

        return command

    return decorate


def given(name: str) -> bool:
    """Whether the option of the running command that is passed on as `name` stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def given_options(*names: str) -> Iterator[str]:
    """Those of these options of the running command that stand on the command line: as they are spelt, in the help's order."""
    for parameter in click.get_current_context().command.params:
        if parameter.name in names and isinstance(parameter, click.Option) and given(parameter.name):
            yield parameter.opts[0]
