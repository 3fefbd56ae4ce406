"""The original's configuration fields as files hold them (strings, unresolved references, floats), range-checked."""

from __future__ import annotations

import math
import re
from typing import Mapping, Optional

from recurc.errors import InputError

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
                raise self._error(name, f"{value} refers to a field that is not there")
            seen.add(target)
            value = self.values[target]
        return value

    def number(self, name: str, minimum: float = 0.0) -> Optional[float]:
        """A finite number of at least `minimum`; None when absent."""
        value = self.raw(name)
        if value is None:
            return None
        try:
            if isinstance(value, bool):
                raise ValueError
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self._error(name, f"{value!r} is not a number") from None
        if not math.isfinite(number) or number < minimum:
            raise self._error(name, f"{value!r} must be at least {minimum:g}")
        return number

    def integer(self, name: str, minimum: int = 0, maximum: int = 2**31 - 1) -> Optional[int]:
        """A whole number in [minimum, maximum]; None when absent."""
        number = self.number(name, minimum)
        if number is None:
            return None
        if number != int(number) or number > maximum:
            raise self._error(name, f"{self.raw(name)!r} must be a whole number from {minimum} to {maximum}")
        return int(number)

    def flag(self, name: str) -> Optional[bool]:
        """True or False; None when absent."""
        value = self.raw(name)
        if value is None or isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in ("true", "yes", "1"):
            return True
        if text in ("false", "no", "0"):
            return False
        raise self._error(name, f"{value!r} is neither true nor false")

    def text(self, name: str) -> Optional[str]:
        """A string; None when absent."""
        value = self.raw(name)
        return None if value is None else str(value)

    def _error(self, name: str, why: str) -> InputError:
        return InputError(
            f"configuration field {name} is invalid", where=self.where, why=why, next="Correct the configuration file"
        )
