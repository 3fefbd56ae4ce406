"""recurc: from a trained recursive reasoner to verified microcontroller firmware.

    model = recurc.load("sudoku9-mlp")                     a checkpoint: its fp32 reference runs
    data = recurc.load_dataset(folder, "test")             or recurc.Dataset.from_arrays(inputs, labels)
    model.run(data.inputs), model.evaluate(data)           tokens, logits, carries; accuracy
    quantized = model.quantize("int4", folder)             the device's arithmetic, bit for bit
    build = quantized.build("stm32h7", "build/sudoku9")    firmware; recurc.load_build opens it again
    recurc.verify(build, on="qemu", limit=3)               the firmware against the host, every bit
    with recurc.connect(build, on="qemu") as device:       the firmware's own answers, step by step
        device.run(data.inputs[:1])

Errors are subclasses of `recurc.RecurcError`: what, where, why, next. What was assumed is warned of as
`recurc.RecurcWarning`. Importing this package is cheap: torch and the compiler's parts are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recurc import verify
    from recurc.api import load
    from recurc.build.opened import load_build
    from recurc.dataset import Dataset, load_dataset
    from recurc.errors import RecurcError, RecurcWarning
    from recurc.verify.answers import connect

__version__ = "0.1.0"
__all__ = ["Dataset", "RecurcError", "RecurcWarning", "__version__", "connect", "load", "load_build", "load_dataset", "verify"]

# Public name -> module that defines it; looked up on first use (PEP 562).
_LAZY = {
    "Dataset": "recurc.dataset", "RecurcError": "recurc.errors", "RecurcWarning": "recurc.errors",
    "connect": "recurc.verify.answers", "load": "recurc.api", "load_build": "recurc.build.opened",
    "load_dataset": "recurc.dataset",
}  # fmt: skip


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name == "verify":  # a package that can be called
        return import_module("recurc.verify")
    raise AttributeError(f"module 'recurc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "verify"})
