"""`recurc run`: a model's own answer, from the fp32 reference, the device's arithmetic, or a firmware."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np

from recurc.cli.common.answered import answer_document, show_answers
from recurc.cli.common.groups import takes
from recurc.cli.common.inputs import Inputs, from_dataset, from_file, from_text
from recurc.cli.common.kinds import Precision
from recurc.cli.common.options import (
    Halting,
    Model,
    data_option,
    halting_options,
    limit_option,
    open_build,
    pass_console,
    resolve_model,
    trust_option,
)
from recurc.cli.common.output import Console
from recurc.cli.common.solving import Solving, built_policy, built_solving_options
from recurc.errors import UsageError
from recurc.files import check_file
from recurc.ir.lowering import Lowering
from recurc.reading import is_file

if TYPE_CHECKING:
    from recurc.cli.common.answered import Found
    from recurc.evaluate.halting import Halt
    from recurc.models.reasoner import ReasonerConfig
    from recurc.solve import Policy
    from recurc.verify.answers import Answerer

_ANSWERS = ("the file of answers", "Name a file that you may write with --out FILE.npy")


@dataclass(frozen=True)
class Asked:
    """What is asked: tokens, a file of inputs, or examples of a dataset."""

    tokens: str | None
    file: str | None
    data: str | None
    offset: int
    limit: int | None
    puzzle: int | None


@dataclass(frozen=True)
class Place:
    """Where a build runs, or what a checkpoint runs in."""

    on: str | None
    precision: str | None
    trust: bool


@click.command()
@click.argument("model", metavar="[CHECKPOINT|BUILD]", required=False, type=str)
@click.option(
    "--on",
    default=None,
    metavar="WHERE",
    help="Where a BUILD runs: host (default: its firmware as a process here), qemu, or a port.",
)
@click.option(
    "--tokens",
    metavar="TEXT",
    default=None,
    help="The input: numbers with spaces or commas between them; or one word of the symbols that the dataset names; a sudoku "
    "also as its cells, '53..7....6...'.",
)
@click.option("--input", "file", metavar="FILE", default=None, help="Inputs from a .npy or JSON file, or from stdin with -.")
@data_option
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Skip N test examples. Default: 0.")
@limit_option()
@click.option(
    "--puzzle",
    type=click.IntRange(min=0),
    default=None,
    metavar="ID",
    help="Number of the puzzle embedding that the inputs are asked with, of a model that has some. Default: that of the "
    "example in the dataset or file, else 0.",
)
@click.option(
    "--precision",
    type=Precision(),
    default=None,
    metavar="P",
    help="What a CHECKPOINT runs in. Default: the fp32 reference; any other in the device's arithmetic.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 65535),
    default=None,
    metavar="N",
    help="Supervision steps (default: as trained or compiled).",
)
@halting_options
@built_solving_options
@trust_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.npy",
    help="Write the answers as an array [N, seq_len] of tokens.",
)
@takes(asked=Asked, place=Place, halting=Halting, solving=Solving)
@pass_console
def command(
    console: Console,
    model: str | None,
    steps: int | None,
    out: Path | None,
    asked: Asked,
    place: Place,
    halting: Halting,
    solving: Solving,
) -> None:
    """Ask CHECKPOINT or BUILD, and print what it answers after each step.

    Without --tokens and --input the first test example of its dataset is asked. CHECKPOINT runs in fp32, as trained, or in
    the device's arithmetic with --precision; a BUILD runs as it was compiled, and with --solve its device answers by itself.
    """
    file = asked.file
    halting.check_used(bool(halting.halt or solving.solve))
    if asked.tokens is not None and file is not None:
        raise UsageError("--tokens and --input exclude each other", next="Pass one of them")
    if out is not None and out.suffix != ".npy":
        raise UsageError(
            "--out names no .npy file",
            where=str(out),
            why="the answers are written as a NumPy array",
            next=f"name it {out}.npy, or use --json for text",
        )
    if out is not None and file is not None and os.path.realpath(out) == os.path.realpath(file):
        raise UsageError(
            "--out would overwrite the inputs",
            where=str(out),
            why="--input names the same file",
            next="Name another file for the answers",
        )
    if out is not None:
        check_file(out, *_ANSWERS)
    runs = _build(console, model, place, asked.data) if _is_build(model) else _checkpoint(console, model, place, asked.data)
    with runs as (answerer, config, told, source):
        inputs = _inputs(asked, source, config)
        rows, ids = _checked(config, inputs, asked.puzzle)
        stop = halting.rule if halting.halt else None
        policy = _policy(answerer, solving, halting, steps)
        ask = _asker(answerer, policy, steps, stop)
        found: list[Found] = []
        with console.progress(told, len(rows), "inputs") as advance:
            for row, puzzle_id in zip(rows, ids, strict=True):
                found.append(ask(row, int(puzzle_id)))
                advance()
    if out is not None:
        _write(out, np.stack([a.tokens for a in found]).astype(np.int32))
    console.emit_json(
        {
            "model": model,
            "runs_in": told,
            "n": len(found),
            "halt": None if stop is None else vars(stop),
            **({} if policy is None else {"solve": policy.as_dict()}),
            "answers": [answer_document(a, inputs, i, config.vocab_size, source.symbols) for i, a in enumerate(found)],
            "out": out,
        }
    )
    if not console.json:
        show_answers(console, found, inputs, config, told, source.symbols)
        if out is not None:
            console.print(f"answers: {out}")


# -- what runs ------------------------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Where examples come from unless they are given: a dataset directory, or None and why there is none; the file of the
    checkpoint that they must suit, where it is known; the characters of tokens 1, 2, ..., where they are."""

    data: str | Path | None
    no_data: str
    checkpoint: str | None
    symbols: str = ""


class Running(NamedTuple):
    """What answers, its model's configuration, words for it, and where examples come from."""

    answerer: Answerer
    config: ReasonerConfig
    told: str
    source: Source


def _is_build(model: str | None) -> bool:
    from recurc.build.listing import MANIFEST

    return model is not None and is_file(Path(model) / MANIFEST)


@contextmanager
def _build(console: Console, model: str | None, place: Place, data: str | None) -> Iterator[Running]:
    """A build's firmware."""
    from recurc.verify.answers import Connection

    if place.precision is not None:
        raise UsageError(
            "--precision is for a checkpoint",
            where=str(model),
            why="a build has the precision it was built in",
            next="Leave it out, or name the checkpoint",
        )
    made = open_build(console, str(model), trust=place.trust)
    with Connection(made, place.on or "host") as connection:
        where = "as a process of this computer" if connection.on == "host" else f"on {connection.board.name}"
        told = f"{made.name}, {made.details.get('label', made.precision)}, firmware {where}"
        yield Running(
            connection,
            made.config,
            told,
            Source(data or made.data, made.no_data, made.checkpoint, _symbols(data or made.data, made.config) or made.symbols),
        )


@contextmanager
def _checkpoint(console: Console, model: str | None, place: Place, data: str | None) -> Iterator[Running]:
    """A checkpoint, in fp32 or in a precision."""
    from recurc.api import Model as LoadedModel
    from recurc.verify.answers import EngineAnswerer, ReferenceAnswerer

    chosen: Model = resolve_model(console, model, data)
    if place.on is not None:
        raise UsageError(
            "--on is for a build",
            where=chosen.checkpoint,
            why="a checkpoint has no firmware",
            next="Make one with `recurc build`, or leave --on out",
        )
    loaded = LoadedModel(chosen.load(), chosen.checkpoint)
    config = loaded.config
    unknown = "no dataset is known for this model"
    source = Source(chosen.data, unknown, loaded.reasoner.source, _symbols(chosen.data, config))
    if place.precision is None:
        yield Running(ReferenceAnswerer(loaded.reasoner), config, f"{loaded.name}, the fp32 reference", source)
        return
    from recurc.cli.common.quantizing import Learning, quantize_with_progress

    quantized = quantize_with_progress(console, loaded, chosen, (place.precision, {}), Learning(), Lowering())
    answerer = EngineAnswerer(quantized.engine, quantized.model.program.steps)
    yield Running(answerer, config, f"{loaded.name}, {quantized.model.label}, the device's arithmetic", source)


def _symbols(folder: str | Path | None, config: ReasonerConfig) -> str:
    """The characters of a dataset's tokens, where they can be the model's; "" where there are none."""
    from recurc.dataset import dataset_symbols

    found = "" if folder is None else dataset_symbols(Path(folder).expanduser())
    return found if len(found) < config.vocab_size else ""


def _asker(
    answerer: Answerer, policy: Policy | None, steps: int | None, stop: Halt | None
) -> Callable[[np.ndarray, int], Found]:
    """What asks for one input's answer. A device is asked again when the line loses something."""
    from recurc.verify.answers import Connection, answer

    if isinstance(answerer, Connection):
        if policy is not None:
            return lambda row, puzzle: answerer.solve(row, np.array([puzzle]), policy=policy)[0]
        return partial(answerer.answer, steps=steps, halt=stop)
    return partial(answer, answerer, steps=steps, halt=stop)


def _policy(answerer: Answerer, solving: Solving, halting: Halting, steps: int | None) -> Policy | None:
    """How a build's device is to answer by itself; None where it is stepped.

    Raises:
        UsageError: it is no build; or something is asked that --solve decides.
    """
    from recurc.verify.answers import Connection

    if not isinstance(answerer, Connection):
        if solving.asked():
            raise UsageError(
                "--solve is for a build",
                why="the forms of a puzzle lie in a build's image",
                next="Build with --solve, or score a checkpoint with `recurc eval --solve`",
            )
        return None
    policy = built_policy(answerer.build, solving, halting)
    if policy is not None and (steps is not None or halting.halt is not None):
        raise UsageError("--solve decides by itself", where="--steps, --halt", next="Leave one of them out")
    return policy


# -- what is asked --------------------------------------------------------------------------------------------------------


def _inputs(asked: Asked, source: Source, config: ReasonerConfig) -> Inputs:
    from recurc.dataset import check_compatible, load_dataset

    if asked.tokens is not None:
        return from_text(asked.tokens, config.seq_len, config.vocab_size, source.symbols)
    if asked.file is not None:
        return from_file(asked.file)
    if source.data is None:
        raise UsageError("no input is given", why=source.no_data, next="Pass --tokens, --input FILE or --data DIR")
    data = load_dataset(source.data, "test")
    check_compatible(data, config, source.checkpoint)
    return from_dataset(data, asked.offset, asked.limit)


def _checked(config: ReasonerConfig, inputs: Inputs, puzzle: int | None) -> tuple[np.ndarray, np.ndarray]:
    from recurc.models.inputs import check_inputs

    ids = inputs.puzzle_ids
    if puzzle is not None:
        count = config.num_puzzle_identifiers if config.puzzle_emb_ndim else 0
        if puzzle >= max(count, 1):
            raise UsageError(
                f"the model has no puzzle embedding {puzzle}",
                where=f"--puzzle {puzzle}",
                why=f"it has {count:,}, numbered from 0" if count else "it has none at all",
                next="Choose one of them, or leave --puzzle out" if count else "Leave --puzzle out",
            )
        ids = np.full(len(inputs.tokens), puzzle)
    elif not config.puzzle_emb_ndim:
        ids = None  # a dataset numbers its puzzles also for models that have no rows for them
    return check_inputs(config, inputs.tokens, ids)


def _write(path: Path, tokens: np.ndarray) -> None:
    from recurc.files import write_whole

    data = io.BytesIO()
    np.save(data, tokens)
    write_whole(path, data.getvalue(), *_ANSWERS)
