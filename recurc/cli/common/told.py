"""`--seq-len`, `--heads` and `--pos`: what the command line says of a checkpoint that no file beside it does."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import click

from recurc.cli.common.groups import Command
from recurc.recursion import POSITIONS


@dataclass(frozen=True)
class Told:
    """What the command line says of a checkpoint that no file beside it does: fields of its configuration."""

    seq_len: int | None = None
    num_heads: int | None = None
    pos_encodings: str | None = None

    @property
    def fields(self) -> dict[str, object]:
        """By the configuration's names; None where nothing is said."""
        return asdict(self)


def told_options(function: Command) -> Command:
    """`--seq-len`, `--heads` and `--pos`, of the group `Told`."""
    for option in reversed((
        click.option("--seq-len", type=click.IntRange(1), metavar="N",
                     help="Cells of a puzzle, where no file says it. With convert, every later command knows it."),
        click.option("--heads", "num_heads", type=click.IntRange(1), metavar="N",
                     help="Attention heads, where no file says it."),
        click.option("--pos", "pos_encodings", type=click.Choice(POSITIONS),
                     help="Position encodings, where no file says it."),
    )):  # fmt: skip
        function = option(function)
    return function
