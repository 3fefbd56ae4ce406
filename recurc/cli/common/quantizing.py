"""Shared by the commands that quantize: calibration options and the quantization with its progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from recurc.cli.common.groups import Command
from recurc.cli.common.kinds import Calibration
from recurc.cli.common.options import Model
from recurc.cli.common.output import Console
from recurc.errors import InputError
from recurc.ir.lowering import Lowering
from recurc.quant.weights import calibrations

if TYPE_CHECKING:
    from recurc.api import Model as LoadedModel
    from recurc.api import Quantized
    from recurc.quant.model import QuantizedModel


@dataclass(frozen=True)
class Learning:
    """What weights are rounded by: the calibration method (None: the precision's own), the training puzzles that it draws, and
    the seed of the draw."""

    calibration: str | None = None
    puzzles: int = 128
    seed: int = 0


def calibration_options(function: Command) -> Command:
    """--calibration METHOD and --calibration-puzzles N; with `seed_option` a `Learning`."""
    function = click.option(
        "--calibration-puzzles",
        "puzzles",
        type=click.IntRange(min=1),
        default=128,
        metavar="N",
        help="Training puzzles that calibration draws. Default: 128.",
    )(function)
    return click.option(
        "--calibration",
        type=Calibration(),
        default=None,
        metavar="METHOD",
        help=f"How ranges are found where a precision is calibrated, one of {', '.join(calibrations())}: error feedback on "
        "data (gptq, the default), clip search (mse), or the weights' own range, without data (min-max). A precision that has "
        "no such method takes its best one.",
    )(function)


def layer_names(quantized: QuantizedModel) -> dict[str, str]:
    """Layers of a quantized model that are stored in another precision, for documents: name -> precision."""
    return {name: precision.name for name, precision in quantized.layers.items()}


def quantize_with_progress(
    console: Console,
    model: LoadedModel,
    chosen: Model,
    stored: tuple[str, Mapping[str, str]],
    learning: Learning,
    lowering: Lowering,
) -> Quantized:
    """Quantize `model`, calibrating on the training split when there is a dataset and the precision uses one.

    `stored`: the precision, and layers in another one.
    """
    from recurc.dataset import NoSplit
    from recurc.quant.weights import precision_named

    precision, layers = stored
    puzzles, used = learning.puzzles, [precision_named(p) for p in (precision, *layers.values())]
    learns = any(p.learns(learning.calibration) for p in used)
    train = None
    if chosen.data is not None:
        try:
            train = chosen.dataset("train")
        except InputError as error:
            if learns:  # accuracy would suffer without a word
                free = next((m for m in calibrations() if not any(p.learns(m) for p in used)), None)
                otherwise = f"pass --calibration {free}" if free else "choose another precision"
                raise InputError(
                    error.what, where=error.where, why=error.why, next=f"{error.next}. Without training puzzles {otherwise}"
                ) from None
            if not isinstance(error, NoSplit):
                raise
            console.note(f"no calibration puzzles: {error.paragraph()}")
    elif learns:
        console.note("no dataset is known, so calibration uses the weights alone; pass --data DIR for better weights")
    with console.progress("calibrating", puzzles, "puzzles") as advance:
        done = 0.0

        def progress(now: float, total: int) -> None:
            nonlocal done
            share = puzzles * now / total  # calibration may afford fewer puzzles than were drawn
            advance(share - done)
            done = share

        return model.quantize(
            precision,
            train,
            layers=layers,
            method=learning.calibration,
            puzzles=puzzles,
            seed=learning.seed,
            lowering=lowering,
            progress=progress,
        )
