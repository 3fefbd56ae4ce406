"""Shared by the commands that quantize: calibration options and the quantization with its progress bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from recurc.cli.common.options import Model
from recurc.cli.common.output import Console
from recurc.cli.common.project import CALIBRATIONS
from recurc.errors import InputError


def calibration_options(function: Callable) -> Callable:
    """--calibration METHOD and --calibration-puzzles N."""
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
        type=click.Choice(CALIBRATIONS),
        default=None,
        help="How ranges of int4, int4-g32 and int3 are found: error feedback on data (gptq, the default), clip search (mse), "
        "or the weights' own range, without data (min-max).",
    )(function)


def layer_names(quantized) -> dict[str, str]:
    """Layers of a quantized model that are stored in another precision, for documents: name -> precision."""
    return {name: precision.name for name, precision in quantized.layers.items()}


def quantize_with_progress(
    console: Console,
    model,
    chosen: Model,
    precision: str,
    layers: Mapping[str, str],
    *,
    calibration: str | None,
    puzzles: int,
    seed: int,
    **lowering,
):
    """Quantize `model`, calibrating on the training split when there is a dataset and the precision uses one.

    `layers`: layers in another precision. `lowering`: steps, h_cycles, l_cycles, carry, puzzle_table of
    `recurc.api.Model.quantize`.
    """
    from recurc.quant.weights import precision_named

    learns = any("gptq" in precision_named(p).methods for p in (precision, *layers.values())) and calibration != "min-max"
    train = None
    if chosen.data is not None:
        try:
            train = chosen.dataset("train")
        except InputError as error:
            if learns:  # accuracy would suffer without a word
                raise InputError(
                    error.what,
                    where=error.where,
                    why=error.why,
                    next=f"{error.next}. Without training puzzles pass --calibration min-max",
                ) from None
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
            precision, train, layers=layers, method=calibration, puzzles=puzzles, seed=seed, progress=progress, **lowering
        )
