"""The original's configuration fields as files hold them (strings, unresolved references, floats), range-checked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress

from recurc.errors import InputError, printable
from recurc.reading import shown

_TEXT = 200  # characters of a field that is a text
# Not 010, 1_000, 1:30 or 0x10: what they mean depends on who reads them.
_NUMBER = re.compile(r"\s*[-+]?(?:0|[1-9]\d{0,18})(?:\.\d{0,40})?(?:[eE][-+]?\d{1,3})?\s*\Z|\s*[-+]?\.\d{1,40}\s*\Z")
_REFERENCE = re.compile(r"^\$\{\.*(?:arch\.)?(\w+)\}$")


class Fields:
    """Typed access to configuration fields.

    Args:
        values: field -> value. Values may be strings, hydra references such as `${.hidden_size}`, or None (absent).
        where: the file they come from, for messages.
    """

    def __init__(self, values: Mapping[str, object], where: str = "configuration") -> None:
        self.values = values
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self.raw(name) is not None

    def raw(self, name: str) -> object:
        """The value with references resolved; None when absent.

        Raises:
            InputError: a reference to a field that is not there, or to itself.
        """
        value, seen = self.values.get(name), {name}
        while isinstance(value, str) and (match := _REFERENCE.match(value.strip())):
            target = match.group(1)
            if target in seen or self.values.get(target) is None:
                raise self._error(name, f"{shown(value)} refers to a field that is not there")
            seen.add(target)
            value = self.values[target]
        return value

    def number(self, name: str, minimum: float = 0.0, maximum: float = math.inf) -> float | None:
        """A finite number in [minimum, maximum]; None when absent. Text is taken where it can mean one number only."""
        value = self.raw(name)
        if value is None:
            return None
        number = math.nan
        if isinstance(value, (int, float)) and not isinstance(value, bool) or isinstance(value, str) and _NUMBER.match(value):
            with suppress(OverflowError):
                number = float(value)
        if math.isnan(number):
            raise self._error(name, f"{shown(value)} is not a number")
        if not math.isfinite(number) or not minimum <= number <= maximum:
            most = "" if math.isinf(maximum) else f" and at most {maximum:g}"
            raise self._error(name, f"{shown(value)} must be at least {minimum:g}{most}")
        return number

    def integer(self, name: str, minimum: int = 0, maximum: int = 2**31 - 1) -> int | None:
        """A whole number in [minimum, maximum]; None when absent."""
        number = self.number(name, minimum)
        if number is None:
            return None
        if number != int(number) or number > maximum:
            raise self._error(name, f"{shown(self.raw(name))} must be a whole number from {minimum} to {maximum}")
        return int(number)

    def flag(self, name: str) -> bool | None:
        """True or False; None when absent."""
        value = self.raw(name)
        if value is None or isinstance(value, bool):
            return value
        text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
        if text in ("true", "yes", "on", "1"):
            return True
        if text in ("false", "no", "off", "0"):
            return False
        raise self._error(name, f"{shown(value)} is neither true nor false")

    def text(self, name: str) -> str | None:
        """A string; None when absent. A number stands for its text."""
        value = self.raw(name)
        if value is None or isinstance(value, (str, int, float)):
            return None if value is None else printable(str(value), _TEXT)
        raise self._error(name, f"{shown(value)} is no text")

    def _error(self, name: str, why: str) -> InputError:
        return InputError(
            f"configuration field {name} is invalid", where=self.where, why=why, next="Correct the configuration file"
        )
