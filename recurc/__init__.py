"""recurc: from a trained recursive reasoner to verified microcontroller firmware.

Importing this package is cheap: torch and the compiler's parts are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recurc import verify
    from recurc.api import load
    from recurc.codegen.manifest import load_build
    from recurc.dataset import load_dataset
    from recurc.verify.answers import connect

__version__ = "0.1.0"
__all__ = ["__version__", "connect", "load", "load_build", "load_dataset", "verify"]

# Public name -> module that defines it; looked up on first use (PEP 562).
_LAZY = {"connect": "recurc.verify.answers", "load": "recurc.api", "load_build": "recurc.codegen.manifest",
         "load_dataset": "recurc.dataset"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    if name == "verify":  # a package that can be called
        from importlib import import_module

        return import_module("recurc.verify")
    raise AttributeError(f"module 'recurc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
