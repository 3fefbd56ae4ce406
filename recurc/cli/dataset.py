"""`recurc dataset`: examples of one's own as a dataset directory, and what is in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from recurc.cli.common.groups import takes
from recurc.cli.common.options import pass_console, seed_option
from recurc.cli.common.output import Console

_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True)
class Examples:
    """The files of examples, and the characters of their cells."""

    inputs: Path
    labels: Path | None
    ids: Path | None
    symbols: str


@click.group()
def command() -> None:
    """Make a dataset directory from your own examples, or describe one."""


@command.command()
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--inputs",
    type=_FILE,
    required=True,
    metavar="FILE",
    help="Tokens [N, cells]: .npy; or a table with labels and ids beside them: .npz, .csv, .jsonl.",
)
@click.option("--labels", type=_FILE, metavar="FILE", help="What is right for each cell; -100 where a cell does not count.")
@click.option("--ids", type=_FILE, metavar="FILE", help="Puzzle identifier of each example, for models with puzzle embeddings.")
@click.option(
    "--symbols",
    metavar="TEXT",
    default="",
    help="In cells of text: the characters, in the order of their tokens from 1 on (0 is padding). A sudoku's are "
    "'.123456789'. They are kept, and answers are written in them.",
)
@click.option(
    "--vocab", type=click.IntRange(2, 2**20), metavar="N", help="Tokens of the vocabulary. Default: as many as are used."
)
@click.option("--ignore-label", type=int, metavar="N", help="A label that does not count, beside -100. Default: none.")
@click.option(
    "--split",
    default="0.2",
    metavar="WHICH",
    help="train, test, or the share of the examples that becomes the test split. Default: 0.2.",
)
@seed_option
@takes(examples=Examples)
@pass_console
def make(
    console: Console, out: Path, vocab: int | None, ignore_label: int | None, split: str, seed: int, examples: Examples
) -> None:
    """Write the dataset directory OUT from your own examples.

    A table's columns are told by name: inputs (or question, puzzle), labels (or answer, solution), ids. Tokens are whole
    numbers from 0 on, where 0 is usually padding. OUT then serves as --data of every command, and of the original code.
    """
    from recurc.datafiles import read_examples
    from recurc.datamake import shape_of, split_examples, write_dataset
    from recurc.words import speak_of

    read = read_examples(**vars(examples))
    shape = shape_of(read, vocab, ignore_label, examples.symbols)
    speak_of(shape.seq_len)
    parts = split_examples(read, split, seed)
    write_dataset(out, parts, shape, ignore_label)
    if read.told:
        console.note(f"columns: {read.told}")
    if read.labels is None:
        console.note("there are no labels: what needs none works, and accuracy is not known")
    console.emit_json({"out": out, "splits": {name: len(p.inputs) for name, p in parts.items()}, **vars(shape)})
    if not console.json:
        counts = ", ".join(f"{len(p.inputs):,} in {name}" for name, p in parts.items())
        console.print(
            f"{out}: {counts}; {shape.seq_len} cells each, vocabulary {shape.vocab_size}, {shape.identifiers} puzzle "
            f"identifier{'s' if shape.identifiers > 1 else ''}"
        )


@command.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--symmetry",
    metavar="NAME",
    help="Hold this symmetry against the labels: sudoku:3x3, square, tokens:2-10, file:PATH, several joined by +, or arc. "
    "Default: all that puzzles of this size may have.",
)
@pass_console
def describe(console: Console, directory: Path, symmetry: str | None) -> None:
    """Say what is in the dataset directory DIR, which symmetries its answers have, and all that is wrong with it."""
    from recurc.cli.common.drawn import draw_steps
    from recurc.datadescribe import describe_splits, symmetries
    from recurc.dataset import load_splits
    from recurc.words import speak_of

    splits = load_splits(directory)
    speak_of(next(iter(splits.values())).seq_len)
    document = describe_splits(splits)
    found = symmetries(splits, symmetry)
    console.emit_json({"directory": directory, **document, "symmetries": {name: why or None for name, why in found.items()}})
    if console.json:
        return
    parts = document["splits"]
    rows = [(column, *(_text(row[column]) for row in parts.values())) for column in document["columns"]]
    console.table(("", *parts), rows, title=str(directory))
    for remark in document["remarks"]:
        console.print(remark)
    for sentence in _symmetries(found, symmetry):
        console.print(sentence)
    first: Any = next(iter(splits.values()))
    labels = np.where(first.valid[0], first.labels[0], 0) if first.valid[0].any() else None
    console.print()
    console.print(
        f"the first example of {first.split}, and what is right:"
        if labels is not None
        else f"the first example of {first.split}:"
    )
    draw_steps(
        console, first.inputs[0], [] if labels is None else [labels], first.vocab_size, said=False, symbols=first.symbols
    )


def _symmetries(found: Mapping[str, str], asked: str | None) -> list[str]:
    """What is to be said of symmetries and their counterexamples; "" for one that the labels allow."""
    allowed = [name for name, why in found.items() if not why]
    lines = [f"symmetries that the labels allow: {', '.join(allowed)}"] if allowed else []
    lines += [f"no symmetry: {name}: {why}" for name, why in found.items() if why]
    return lines if found or not asked else [f"{asked}: there are too few labels to tell"]


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f} %" if isinstance(value, float) else str(value)
