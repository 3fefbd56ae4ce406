"""recurc: from a trained recursive reasoner to verified microcontroller firmware.

Importing this package is cheap: torch and the compiler's parts are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recurc.models.checkpoint import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

# Public name -> module that defines it; looked up on first use (PEP 562).
_LAZY = {"load": "recurc.models.checkpoint"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'recurc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
