"""Options that several commands share, and the model they mean when none is named."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from recurc.cli.common.output import Console
from recurc.cli.common.project import PROJECT_FILE, Project, read_project
from recurc.errors import InputError, UsageError
from recurc.ir.lowering import CARRIES, STORAGES
from recurc.quant.weights import precisions
from recurc.words import speak_of

DEFAULT_PRECISION = "int4"
_IN_PROJECT = {"puzzles": "calibration_puzzles"}  # options that the project file calls otherwise

pass_console = click.make_pass_decorator(Console)


@dataclass(frozen=True)
class Model:
    """The model a command works on.

    `checkpoint` is what `recurc.load` takes; `data` a dataset directory or None; `named` whether the user named that
    directory (else it lies beside the checkpoint); `said` tells where a model that was not named comes from, else "".
    project: what `recurc.toml` says, where the model comes from there or the file was named; else empty.
    """

    checkpoint: str
    data: Path | None
    named: bool = False
    said: str = ""
    project: Project = Project()
    console: Console | None = field(default=None, repr=False, compare=False)

    def stored(self, precision: str | None, layers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Precision and layers in another one: what the command line asks for, else `recurc.toml`, else int4."""
        own = {} if precision else dict(self.project.layers)  # another precision for all is another choice of layers too
        return precision or self.project.precision or DEFAULT_PRECISION, {**own, **layers}

    def settled(self, **options: Any) -> dict[str, Any]:
        """Options of the running command, by their names: as the command line has them, where it leaves them open as
        `recurc.toml` has them, else their defaults."""
        context, found = click.get_current_context(), {}
        for name, value in options.items():
            own = getattr(self.project, _IN_PROJECT.get(name, name))
            given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            found[name] = value if given or own is None else own
        return found

    def file(self) -> Path:
        """The weights file. Raises InputError."""
        from recurc.models.checkpoint import find_checkpoint

        return find_checkpoint(self.checkpoint)[0]

    def load(self):
        """The model as a `Reasoner`; what was assumed of it is told on the console. Raises InputError."""
        from recurc.models.checkpoint import load

        reasoner = load(self.checkpoint, self.data if self.named else None)
        speak_of(reasoner.config.seq_len)
        if self.console is not None:
            self.console.assumed(reasoner.notes)
        return reasoner

    def dataset(self, split: str, labels: bool = False):
        """One split of the dataset; with `labels` only what accuracy counts.

        Raises:
            InputError: also when no dataset is known, or labels are wanted and there are none.
        """
        from recurc.dataset import load_dataset

        if self.data is None:
            raise InputError(
                "no dataset is known for this model",
                where=self.checkpoint,
                why="none is given, none is configured, and no folder data lies beside the checkpoint",
                next="Pass the dataset directory with --data DIR",
            )
        found = load_dataset(self.data, split)
        speak_of(found.seq_len)
        return found.labelled() if labels else found


def train_split(console: Console, chosen: Model, without: str = "no calibration puzzles"):
    """The training split, or None with a remark: what it means to be `without`."""
    try:
        return chosen.dataset("train")
    except InputError as error:
        console.note(f"{without}: {error.paragraph()}")
        return None


def resolve_model(
    console: Console, checkpoint: str | None, data: str | Path | None = None, project_file: Path | None = None
) -> Model:
    """The model and dataset of a command line: what is named, else `recurc.toml` here, else the bundled default.

    A `project_file` that is named counts in any case, for what the command line leaves open. A model that was not named is
    said in one line on stderr.

    Raises:
        InputError: `recurc.toml` is not valid, or there is no bundled default.
    """
    from recurc.resources import DEFAULT_MODEL, bundled_models

    said = ""
    project = read_project(project_file) if checkpoint is None or project_file is not None else Project()
    data = data or project.data
    if checkpoint is None:
        if project.checkpoint is not None:
            checkpoint, said = project.checkpoint, f"model: {project.checkpoint} ({project_file or PROJECT_FILE})"
        else:
            bundled = bundled_models()
            name = DEFAULT_MODEL if DEFAULT_MODEL in bundled else next(iter(bundled), None)
            if name is None:
                raise InputError(
                    "no model is named and none is bundled", why=f"there is no {PROJECT_FILE} here",
                    next="Name a checkpoint",
                )  # fmt: skip
            checkpoint, said = name, f"model: {name} (bundled example; name a checkpoint to use another)"
        console.note(said)
    if data:
        return Model(checkpoint, Path(data).expanduser(), True, said, project, console)
    return Model(checkpoint, _data_beside(checkpoint), False, said, project, console)


def _data_beside(checkpoint: str) -> Path | None:
    from recurc.models.checkpoint import find_checkpoint
    from recurc.models.config_files import nearby_datasets

    file, _ = find_checkpoint(checkpoint)
    return next(iter(nearby_datasets(file)), None)


def open_build(console: Console, path: str | Path, *, to_run: bool = True, trust: bool = False):
    """The build in a folder, as `recurc.build.manifest.load_build`; what was assumed of its checkpoint is told."""
    from recurc.build.manifest import load_build

    build = load_build(path, to_run, trust)
    speak_of(build.config.seq_len)
    console.assumed(build.notes)
    return build


# -- options --------------------------------------------------------------------------------------------------------


class Precision(click.ParamType):
    """A precision by name; a wrong one is answered with the nearest."""

    name = "precision"

    def convert(self, value, param, ctx):
        known = list(precisions())
        if value in known:
            return value
        near = difflib.get_close_matches(str(value), known, n=1)
        raise UsageError(
            f"unknown precision {value!r}",
            where="--precision",
            why=f"precisions are {', '.join(known)}",
            next=f"Did you mean {near[0]}?" if near else "Choose one of them",
        )


class LayerPrecision(click.ParamType):
    """NAME=P as (name or pattern, precision)."""

    name = "layer"

    def convert(self, value, param, ctx):
        pattern, equals, precision = str(value).rpartition("=")
        if not equals or not pattern:
            raise UsageError(
                f"not a layer and its precision: {value!r}",
                where="--layer",
                why="they are joined by =",
                next="For example --layer '*.mlp.down_proj.weight=int8'; `recurc layers` lists the layers",
            )
        return pattern, Precision().convert(precision, param, ctx)


class Threshold(click.ParamType):
    """A halting margin: any number but NaN (nothing exceeds NaN); infinity means never or always."""

    name = "number"

    def convert(self, value, param, ctx):
        number = click.FLOAT.convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def checkpoint_argument(required: bool = False) -> Callable:
    """The argument CHECKPOINT, passed as text or None (see `resolve_model`)."""
    return click.argument("checkpoint", required=required, type=str, metavar="CHECKPOINT" if required else "[CHECKPOINT]")


def data_option(function: Callable) -> Callable:
    """--data DIR."""
    text = "Dataset directory (with train/ and test/), as the reference code builds it."
    return click.option("--data", metavar="DIR", default=None, help=text)(function)


def project_option(function: Callable) -> Callable:
    """--project FILE, passed as `project_file`."""
    return click.option(
        "--project",
        "project_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=None,
        metavar="FILE",
        help=f"Take what is not on the command line from FILE, as `recurc tune` writes it, in place of {PROJECT_FILE} here.",
    )(function)


def halting_options(function: Callable) -> Callable:
    """--halt/--no-halt (None: not given), --halt-threshold, --min-steps; `Model.halting` says what they come to."""
    for option in (
        click.option(
            "--min-steps",
            type=click.IntRange(1, 255),
            default=1,
            metavar="K",
            help="Steps before halting is asked. Default: 1.",
        ),
        click.option(
            "--halt-threshold",
            type=Threshold(),
            default=0.0,
            metavar="Q",
            help="Margin of the halting head to exceed. Default: 0.",
        ),
        click.option(
            "--halt/--no-halt",
            default=None,
            help="Stop early on the halting head (TRM: q_halt > 0; HRM: q_halt > q_continue), or never.",
        ),
    ):
        function = option(function)
    return function


def stored_options(function: Callable) -> Callable:
    """--precision P (None when not given) and --layer NAME=P, as a mapping; `Model.stored` says what they come to."""
    function = click.option(
        "--layer",
        "layers",
        type=LayerPrecision(),
        multiple=True,
        metavar="NAME=P",
        callback=lambda c, p, v: dict(v),
        help="Precision of one layer, or of all that match a pattern: '*.mlp.down_proj.weight=int8'. Repeatable.",
    )(function)
    text = f"One of {', '.join(precisions())}. Default: {DEFAULT_PRECISION}."
    return click.option("--precision", type=Precision(), default=None, metavar="P", help=text)(function)


def limit_option(default: int | None = None) -> Callable:
    """--limit N, at least 1."""
    text = "Use the first N examples" + (f". Default: {default}." if default else " (default: all).")
    return click.option("--limit", type=click.IntRange(min=1), default=default, metavar="N", help=text)


def seed_option(function: Callable) -> Callable:
    """--seed N, from 0 to 2^32-1."""
    kind = click.IntRange(0, 2**32 - 1)
    return click.option("--seed", type=kind, default=0, metavar="N", help="Seed of random choices. Default: 0.")(function)


def depth_options(function: Callable) -> Callable:
    """--h-cycles, --l-cycles, --steps: override the trained depth; each 1 to 255, None when not given."""
    kind = click.IntRange(1, 255)
    for name, text in (
        ("--steps", "Supervision steps (default: as trained)."),
        ("--l-cycles", "Low-level cycles a high-level one (default: as trained)."),
        ("--h-cycles", "High-level cycles a step (default: as trained)."),
    ):
        function = click.option(name, type=kind, default=None, metavar="N", help=text)(function)
    return function


def storage_options(function: Callable, carry: str | None = "fp32", puzzle_table: str | None = "auto") -> Callable:
    """--carry KIND and --puzzle-table WHERE: how the carry and the puzzle embeddings are stored; with their defaults."""
    function = click.option(
        "--puzzle-table",
        type=click.Choice(("auto", *STORAGES)),
        default=puzzle_table,
        metavar="WHERE",
        help="Puzzle embeddings: in the image, or streamed a row a puzzle from a table file of fp32 or int8 rows. "
        "Default: auto (in the image up to 64 KB, else fp32).",
    )(function)
    return click.option(
        "--carry",
        type=click.Choice(CARRIES),
        default=carry,
        metavar="KIND",
        help="How z_H and z_L are stored between ops: fp32, fp16, or int8 with a scale a row. Default: fp32.",
    )(function)


def storage_given(function: Callable) -> Callable:
    """The same options, None when not given."""
    return storage_options(function, carry=None, puzzle_table=None)


def scratch_option(function: Callable) -> Callable:
    """--scratch KB, passed on in bytes; None when not given."""
    return click.option(
        "--scratch",
        type=click.IntRange(4, 4096),
        default=None,
        metavar="KB",
        callback=lambda c, p, kb: kb and 1024 * kb,
        help="RAM for tiles, at most (default: 48). More means fewer passes over the weights, never other bits.",
    )(function)


def trust_option(function: Callable) -> Callable:
    """--trust-build, passed as `trust`."""
    return click.option(
        "--trust-build",
        "trust",
        is_flag=True,
        help="Run native code that lies in BUILD although you did not build it on this computer.",
    )(function)
