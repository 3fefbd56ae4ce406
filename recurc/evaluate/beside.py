"""Small files beside a checkpoint that say what was measured of it: written whole, read with care, bound to its sha256."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from recurc.errors import InputError
from recurc.files import check_file, write_whole
from recurc.formats import parse_json
from recurc.models.reasoner import Reasoner
from recurc.reading import Unreadable, is_there, read_text, shown
from recurc.text import hidden

_SHA256 = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")
NEEDED: Any = object()  # the default of a field that must be there


@dataclass(frozen=True)
class Kind:
    """What a field holds: a check, what it expects in words, what stands for one that is left out, its type."""

    good: Callable[[Any], bool]
    expected: str
    default: Any = NEEDED
    made: Callable[[Any], Any] = lambda value: value

    def take(self, name: str, content: dict[str, Any]) -> Any:
        """Take a field out of a file's content. Raises Unreadable."""
        value = content.pop(name, self.default)
        if value is NEEDED:
            raise Unreadable(f"{name} is missing")
        if not self.good(value):
            raise Unreadable(f"{name} is {shown(value)}, not {self.expected}")
        return self.made(value)


def number(low: float, high: float) -> Kind:
    """A number between two."""
    good = lambda v: type(v) in (int, float) and low <= v <= high  # noqa: E731
    return Kind(good, f"a number from {low:g} to {high:g}", made=float)


def count(default: int = NEEDED, most: int = 2**31 - 1) -> Kind:
    """A whole number from 0."""
    text = "a whole number from 0" + (f" to {most}" if most < 2**31 - 1 else "")
    return Kind(lambda v: type(v) is int and 0 <= v <= most, text, default)


def word(*words: str) -> Kind:
    """One of some words."""
    return Kind(lambda v: v in words, f"one of {', '.join(words)}")


def text(longest: int = 100) -> Kind:
    """A text on one line, without control characters."""
    good = lambda v: isinstance(v, str) and len(v) <= longest and not hidden(v)  # noqa: E731
    return Kind(good, f"a text of at most {longest} characters without control characters")


SHA256 = Kind(lambda v: isinstance(v, str) and _SHA256.fullmatch(v) is not None, "64 hexadecimal digits")


@dataclass(frozen=True)
class Beside(Generic[T]):
    """A kind of file: the dataclass that it holds, its name, its schema, its fields, what it holds in words, how to do without
    it, and the command that writes it, in backticks."""

    holds: type[T]
    name: str
    schema: str
    fields: Mapping[str, Kind]
    what: str
    otherwise: Callable[[], str]
    command: str

    def path(self, reasoner: Reasoner) -> Path:
        return Path(reasoner.source).parent / self.name

    def keep(self, own: T, reasoner: Reasoner) -> Path:
        """Write it beside the checkpoint, whole or not at all. Raises InputError: also where `kept` would refuse it."""
        fields = vars(own)
        try:
            self._taken({**fields})
        except Unreadable as error:
            raise InputError(
                f"{self.what} cannot be kept", where=str(self.path(reasoner)), why=str(error), next=self.otherwise()
            ) from None
        text = json.dumps({"schema": self.schema, **fields}, indent=2) + "\n"
        return write_whole(self.path(reasoner), text, self.what, self.otherwise())

    def check_keep(self, checkpoint: Path) -> None:
        """That it can be written beside a checkpoint's file. Raises InputError."""
        folder = checkpoint.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(
                f"{self.what} cannot be kept beside the checkpoint",
                where=str(folder),
                why="the folder may not be written",
                next=f"{self.otherwise()}; or copy the checkpoint to a folder of your own",
            )
        check_file(folder / self.name, self.what, self.otherwise())

    def kept(self, reasoner: Reasoner) -> T | None:
        """What is kept beside a checkpoint; None where nothing is, or what another checkpoint left there.

        Raises:
            InputError: there is a file and it is none of ours, or broken.
        """
        path = self.path(reasoner)
        if not is_there(path, follow=False):
            return None
        try:
            content = parse_json(read_text(path))
            if not isinstance(content, dict) or content.pop("schema", None) != self.schema:
                raise Unreadable(f"its schema is not {self.schema}")
            found = self._taken(content)
        except Unreadable as error:
            raise InputError(
                f"{path.name} is not valid",
                where=str(path),
                why=str(error),
                next=f"Remove it, or write it anew with {self.command}",
            ) from None
        return self.holds(**found) if found["checkpoint_sha256"] == reasoner.sha256 else None

    def _taken(self, content: dict[str, Any]) -> dict[str, Any]:
        """The fields of a file's content, which is emptied. Raises Unreadable: one is missing, wrong or unknown."""
        found = {name: kind.take(name, content) for name, kind in self.fields.items()}
        if content:
            raise Unreadable(f"unknown field {shown(next(iter(content)))}")
        return found
