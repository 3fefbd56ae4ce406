"""How a message names an argument: as the caller wrote it, in Python or on the command line.

A text below the command line says `argument("min_fidelity", "PHI")`: that is `min_fidelity=PHI` to somebody who calls a
function, and `--min-fidelity PHI` to somebody at a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_as_options = False


@contextmanager
def named_as_options() -> Iterator[None]:
    """Within this, messages name arguments as options of the command line."""
    global _as_options
    before, _as_options = _as_options, True
    try:
        yield
    finally:
        _as_options = before


def argument(name: str, value: object = None, option: str = "") -> str:
    """An argument as whoever reads the message wrote it, or has to write it.

    Args:
        name: of the function's argument.
        value: its value; True for an option without one; a word in capitals, such as DIR, stands for what the user puts there.
        option: of the command line, without dashes, where it has another name than the argument.
    """
    if _as_options:
        told = "" if value is None or value is True else f" {value}"
        return f"--{option or name.replace('_', '-')}{told}"
    if value is None:
        return f"{name}="
    placeholder = isinstance(value, str) and value.replace(".", "").isupper()
    return f"{name}={value if placeholder or not isinstance(value, str) else repr(value)}"
