"""Options of a build: the board, the folder, the formats that it is delivered in, and what those are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from recurc.cli.common.groups import Command

MOST_COUNTER = (1 << 32) - 1


@dataclass(frozen=True)
class Delivery:
    """The board that is built for, the build's folder, the formats it is delivered in, and what those are told.

    update_of: the build whose firmware is to be given other weights, in place of all that; counter: of their image.
    """

    target: str
    out: Path | None
    as_: tuple[str, ...] = ()
    name: str = ""
    weights: str = "incbin"
    update_of: Path | None = None
    counter: int | None = None


_OPTIONS = (
    click.option("--target", default="stm32h7", metavar="BOARD", help="Board (see `recurc boards`). Default: stm32h7."),
    click.option(
        "--out",
        "-o",
        type=click.Path(path_type=Path),
        default=None,
        metavar="DIR",
        help="Build folder. Default: build/MODEL-BOARD-PRECISION, and -mixed where layers differ, -hHlLsN at another depth "
        "than the trained one, -solve with --solve, -FORMAT with --as.",
    ),
    click.option(
        "--as",
        "as_",
        multiple=True,
        metavar="FORMAT",
        help="What the build is delivered as, in place of what the board's file says: library for C sources to be part of your "
        "own program; zephyr, espidf-component, arduino (PlatformIO too) or cmsis-pack for the same as those take it. "
        "May be given several times.",
    ),
    click.option(
        "--name",
        default="",
        metavar="NAME",
        help="Of a library: what its symbols, macros and files begin with. Default: from CHECKPOINT's name.",
    ),
    click.option(
        "--weights",
        type=click.Choice(["incbin", "array", "file"]),
        default="incbin",
        help="How a library holds its weights: an assembly file that takes the image in, a C array, or the image alone, which "
        "your program places. Default: incbin.",
    ),
    click.option(
        "--update-of",
        type=click.Path(path_type=Path),
        default=None,
        metavar="BUILD",
        help="Make no build, but a weights image of CHECKPOINT for the firmware of this one, with its precision, layers and "
        "depth; --out names the file. Refused where more than the weights differs.",
    ),
    click.option(
        "--counter",
        type=click.IntRange(0, MOST_COUNTER),
        default=None,
        metavar="N",
        help="With --update-of: the image's counter, by which rc_choose knows the newer one of two. Default: 0.",
    ),
)


def delivery_options(function: Command) -> Command:
    """The options whose values are a `Delivery`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
