"""The registry of precisions: a name, a stored form, and how weights are brought to it.

A precision is one module in this package that defines `PRECISION` (a `Precision`); nothing else lists them. Packages of others
add theirs by `register`, or by an entry point of the group "recurc.precisions" that names a `Precision`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.extensions import distinct, installed
from recurc.storage.form import Form, Weights

ENTRY_POINTS = "recurc.precisions"
NO_CALIBRATION = "none"
# (weights [N, K] float32, second moment of the layer's inputs [K, K] or None, method) -> stored weights
Quantizer = Callable[[np.ndarray, np.ndarray | None, str], Weights]


@dataclass(frozen=True)
class Precision:
    """One way to store weights.

    form: of what `quantize` returns. `methods` are the calibrations it knows, best first; `lossy` precisions exist for
    comparison and `build` refuses them unless it is allowed. advised: whether it is proposed where weights do not fit.
    need_data: of `methods`, those that are nothing without puzzles. no_data: those that look at no puzzle; the others use them
    where there are some.
    heads: the precision of lm_head and q_head where nobody names another one; "" is this one.
    """

    name: str
    form: Form
    quantize: Quantizer
    methods: tuple[str, ...] = (NO_CALIBRATION,)
    lossy: bool = False
    advised: bool = True
    heads: str = ""
    summary: str = ""
    need_data: tuple[str, ...] = ("gptq",)
    no_data: tuple[str, ...] = (NO_CALIBRATION, "min-max")

    @property
    def bits(self) -> float:
        """Bits a weight, for order and for people."""
        return self.form.bits

    def method(self, wanted: str | None, data: bool = True) -> str:
        """The calibration method that is used where `wanted` is asked for: that one if it is known here, else the best.

        Args:
            data: whether there are calibration puzzles; those of `need_data` become the next best without.
        """
        usable = [m for m in self.methods if data or m not in self.need_data]
        return wanted if wanted in usable else usable[0]

    def learns(self, wanted: str | None) -> bool:
        """Whether weights are better with calibration puzzles than without, by the method that is used for `wanted`."""
        return self.method(wanted) not in self.no_data

    def misfit(self, weights: object, shape: tuple[int, int]) -> str:
        """Why what `quantize` gave for weights of a shape [N, K] is not what the form stores; "" where it is."""
        if not isinstance(weights, Weights):
            return f"they are {type(weights).__name__}, no Weights"
        if weights.form != self.form:
            return f"they are of the form {weights.form}, it says {self.form}"
        if weights.shape != shape:
            return f"their shape is {weights.shape}, the layer's {shape}"
        if self.form.integer and not (weights.scale.shape == shape[:1] and np.isfinite(weights.scale).all()):
            return "they have not one finite scale for each channel"
        return self.form.misfit(weights)


_registered: dict[str, Precision] = {}


def register(precision: Precision) -> None:
    """Add a precision that no module of this package has.

    Raises:
        ValueError: another one has its name.
    """
    if precisions().get(precision.name, precision) is not precision:
        raise ValueError(f"there is a precision {precision.name!r} already")
    _registered[precision.name] = precision
    precisions.cache_clear()


def unregister(name: str) -> None:
    """Take back what `register` added."""
    del _registered[name]
    precisions.cache_clear()


@lru_cache(maxsize=1)
def precisions() -> dict[str, Precision]:
    """All precisions by name, most bits first: those of this package, of installed entry points, and registered ones.

    Raises:
        InputError: what a package brings is no precision, or has another one's name.
    """
    package = importlib.import_module(__package__)
    names = sorted(name for folder in package.__path__ for name in os.listdir(folder))
    own = (
        importlib.import_module(f"{__package__}.{name.removesuffix('.py')}").PRECISION
        for name in names
        if name.startswith("scheme_") and name.endswith(".py")
    )
    known = (*own, *installed(ENTRY_POINTS, _loaded), *_registered.values())
    found = distinct("precisions", known, lambda p: p.name, lambda p: p.quantize.__module__)
    return dict(sorted(found.items(), key=lambda item: -item[1].bits))


def _loaded(point: EntryPoint) -> Precision:
    """The precision of an entry point. Raises TypeError where it is none."""
    found = point.load()
    if not isinstance(found, Precision):
        raise TypeError(f"it is {type(found).__name__}, no recurc.quant.weights.Precision")
    return found


def calibrations() -> tuple[str, ...]:
    """The calibration methods that precisions know, each once, in the order in which they prefer them."""
    return tuple(dict.fromkeys(method for p in precisions().values() for method in p.methods if method != NO_CALIBRATION))


def weight_bytes(blocks: Iterable[tuple[int, int]], heads: Iterable[tuple[int, int]] = ()) -> dict[str, int]:
    """Bytes of layers of these shapes [N, K] in every precision that is no mere yardstick, by name; rows end at whole bytes,
    so the alignment of an image comes on top."""
    blocks, heads = tuple(blocks), tuple(heads)

    def size(layers: tuple[tuple[int, int], ...], form: Form) -> int:
        return sum(form.bytes_of(n, k, pad=1) for n, k in layers)

    return {
        name: size(blocks, p.form) + size(heads, precision_named(p.heads or name).form)
        for name, p in precisions().items()
        if not p.lossy
    }


def precision_named(name: str) -> Precision:
    """Precision by name.

    Raises:
        UsageError: no such precision.
    """
    known = precisions()
    if name not in known:
        raise UsageError(
            f"unknown precision {name!r}",
            where=argument("precision"),
            why="known are " + ", ".join(known),
            next="choose one of them; int4 is the default",
        )
    return known[name]
