"""Kinds of values that options take, beside click's own."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click

from recurc.errors import UsageError
from recurc.ir.lowering import CARRIES, MOST_CYCLES
from recurc.quant.weights import calibrations, precisions
from recurc.types import is_float32

if TYPE_CHECKING:
    _Kind = click.ParamType[Any]
else:  # older versions of click have it without a parameter
    _Kind = click.ParamType


def _named(value: object, known: Collection[str], option: str, what: str, all_of_them: str) -> str:
    """A name that is known. Raises UsageError, with the nearest."""
    if value in known:
        return str(value)
    near = difflib.get_close_matches(str(value), known, n=1)
    raise UsageError(
        f"unknown {what} {value!r}",
        where=option,
        why=f"{all_of_them} are {', '.join(known)}",
        next=f"Did you mean {near[0]}?" if near else "Choose one of them",
    )


class Precision(_Kind):
    """A precision by name; a wrong one is answered with the nearest."""

    name = "precision"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return _named(value, list(precisions()), "--precision", "precision", "precisions")


class Calibration(_Kind):
    """A calibration method of some precision by name; a wrong one is answered with the nearest."""

    name = "method"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return _named(value, calibrations(), "--calibration", "calibration method", "methods")


class LayerPrecision(_Kind):
    """NAME=P as (name or pattern, precision)."""

    name = "layer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        pattern, equals, precision = str(value).rpartition("=")
        if not equals or not pattern:
            raise UsageError(
                f"not a layer and its precision: {value!r}",
                where="--layer",
                why="they are joined by =",
                next="For example --layer '*.mlp.down_proj.weight=int8'; `recurc layers` lists the layers",
            )
        return pattern, Precision().convert(precision, param, ctx)


class Threshold(_Kind):
    """A halting margin: any number of 32 bits but NaN (nothing exceeds NaN); infinity means never or always."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(click.FLOAT.convert(value, param, ctx))
        if not is_float32(number):
            self.fail(f"{value!r} is not a number" + " of 32 bits" * (number == number), param, ctx)
        return number


class Names(_Kind):
    """A list of known names with commas between, or "all"."""

    name = "names"

    def __init__(self, what: str) -> None:
        self.what = what

    def known(self) -> tuple[str, ...]:
        from recurc.study.fake import ACTIVATIONS, weight_schemes

        return tuple(weight_schemes() if self.what == "precision" else ACTIVATIONS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        known = self.known()
        names = known if value == "all" else tuple(dict.fromkeys(part.strip() for part in value.split(",")))
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"unknown {self.what} {name!r}",
                    where=param.opts[0] if param else "",
                    why=f"known are {', '.join(known)}",
                    next=f"Did you mean {near[0]}?" if near else "Choose among them, or all",
                )
        return names


class Numbers(_Kind):
    """Whole numbers from 1 to 255 with commas between; a..b is a range."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        found: list[int] = []
        for part in value.split(","):
            low, dots, high = part.strip().partition("..")
            if not low.isdecimal() or (dots and not high.isdecimal()):
                self.fail(f"{part.strip()!r} is no whole number and no range a..b", param, ctx)
            found += range(int(low), int(high or low) + 1)
        if not found or min(found) < 1 or max(found) > MOST_CYCLES:
            self.fail(f"{value!r}: from 1 to {MOST_CYCLES}", param, ctx)
        return tuple(dict.fromkeys(found))


class Carries(_Kind):
    """Names of carries with commas between."""

    name = "carries"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value if isinstance(value, tuple) else tuple(dict.fromkeys(part.strip() for part in value.split(",")))
        for name in names:
            if name not in CARRIES:
                self.fail(f"{name!r} is not one of {', '.join(CARRIES)}", param, ctx)
        return names
