"""TOML read strictly: every key must be asked for; what is wrong is said with its place and the nearest right word."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from recurc.errors import InputError
from recurc.reading import shown
from recurc.text import LONGEST_TEXT, hidden

ADDRESS_LIMIT = 1 << 32


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint that names the known words closest to `word`."""
    close = difflib.get_close_matches(word[:100], list(known), n=3, cutoff=0.5)
    return f"the nearest known: {', '.join(close)}" if close else f"known: {', '.join(known)}"


class Table:
    """One TOML table being read: every key must be asked for, of the right type and in range."""

    def __init__(self, data: Any, where: str, path: Path) -> None:
        self.path, self.where = path, where
        if not isinstance(data, dict):
            raise self.bad(f"{where} is not a table", "Write it as a TOML table of key = value lines")
        self.data: dict[str, Any] = data
        self.asked: list[str] = []

    def bad(self, why: str, next: str = "Correct the board file") -> InputError:
        return InputError("the board file is invalid", where=str(self.path), why=why, next=next)

    def need(self, *keys: str) -> None:
        """Refuse a table that lacks several of these keys, all of them at once; a single one `get` knows more of."""
        missing = [key for key in keys if key not in self.data]
        if len(missing) > 1:
            raise self.bad(f"{self.where}: {', '.join(map(repr, missing))} are missing")

    def get(self, key: str, kind: type, default: Any = ...) -> Any:
        self.asked.append(key)
        if key not in self.data:
            if default is ...:
                like = difflib.get_close_matches(key, [k for k in self.data if k not in self.asked], n=1)
                if like:  # a misspelled key is named as such
                    raise self.bad(
                        f"{self.where}: {key!r} is missing; unknown key {shown(like[0])}", f"the nearest known: {key}"
                    )
                raise self.bad(f"{self.where}: {key!r} is missing")
            return default
        value = self.data[key]
        right = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
        if not right or (isinstance(value, bool) and kind is not bool):
            raise self.bad(f"{self.where}: {key!r} must be of type {kind.__name__}, not {shown(value)}")
        return float(value) if kind is float else value

    def number(self, key: str, default: Any = ..., low: int = 0, high: int = ADDRESS_LIMIT) -> Any:
        value = self.get(key, int, default)
        if value is not None and not low <= value <= high:
            raise self.bad(f"{self.where}: {key} = {value} is outside {low} to {high}")
        return value

    def text(self, key: str, default: Any = ..., one_of: tuple[str, ...] = (), pattern: re.Pattern[str] | None = None) -> Any:
        """A text without control characters; it ends in generated files and on terminals."""
        value = self.get(key, str, default)
        self._harmless(key, value)
        if pattern is not None and value is not None and not pattern.fullmatch(value):
            raise self.bad(f"{self.where}: {key} = {shown(value)} is not a plain word", "Write letters, digits and - _ . +")
        if one_of and value is not None and value not in one_of:
            raise self.bad(f"{self.where}: {key} = {shown(value)} is not one of {', '.join(one_of)}", nearest(value, one_of))
        return value

    def words(self, key: str, default: Any = ..., pattern: re.Pattern[str] | None = None) -> tuple[str, ...]:
        value = self.get(key, list, default)
        if not all(isinstance(v, str) for v in value):
            raise self.bad(f"{self.where}: {key!r} must be a list of strings")
        for word in value:
            self._harmless(key, word)
            if pattern is not None and not pattern.fullmatch(word):
                raise self.bad(f"{self.where}: {shown(word)} in {key} is not a plain word", "Write letters, digits and - _ . +")
        return tuple(value)

    def _harmless(self, key: str, value: str | None) -> None:
        if value and (found := hidden(value)):
            raise self.bad(f"{self.where}: {key} has the control character {found}")
        if value and len(value) > LONGEST_TEXT:
            raise self.bad(f"{self.where}: {key} has {len(value)} characters; {LONGEST_TEXT} at most")

    def close(self) -> None:
        """Refuse keys that nothing asked for."""
        for key in self.data:
            if key not in self.asked:
                raise self.bad(f"{self.where}: unknown key {shown(key)}", nearest(key, tuple(self.asked)))
