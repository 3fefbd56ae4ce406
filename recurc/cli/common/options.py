"""Options that several commands share, and the model they mean when none is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from recurc.cli.common.groups import Command, given, given_options
from recurc.cli.common.kinds import LayerPrecision, Precision, Threshold
from recurc.cli.common.output import Console
from recurc.cli.common.project import PROJECT_FILE, Project, blamed, read_project
from recurc.errors import InputError, UsageError
from recurc.ir.lowering import AUTO, CARRIES, MOST_CYCLES, WORDS
from recurc.quant.weights import precisions
from recurc.words import speak_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from recurc.build.manifest import Build
    from recurc.dataset import Dataset
    from recurc.evaluate.halting import Halt
    from recurc.models.reasoner import Reasoner

DEFAULT_PRECISION = "int4"

Options = TypeVar("Options", bound="DataclassInstance")
T = TypeVar("T")

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

    def settled(self, options: Options) -> Options:
        """A group of options of the running command: as the command line has them, where it leaves them open as `recurc.toml`
        has them, else their defaults."""
        return replace(options, **{f.name: self.either(f.name, getattr(options, f.name)) for f in fields(options)})

    def either(self, name: str, value: T) -> T:
        """One option of the running command and its value, in the same way."""
        own = self.project.value(name)
        return value if own is None or given(name) else own

    def file(self) -> Path:
        """The weights file. Raises InputError."""
        from recurc.models.checkpoint import find_checkpoint

        return find_checkpoint(self.checkpoint)[0]

    def load(self, told: Mapping[str, object] | None = None) -> Reasoner:
        """The model as a `Reasoner`; what was assumed of it is told on the console. Raises InputError.

        told: fields of its configuration that the command line says.
        """
        from recurc.models.checkpoint import load

        reasoner = load(self.checkpoint, self.data if self.named else None, told)
        speak_of(reasoner.config.seq_len)
        if self.console is not None:
            self.console.assumed(reasoner.notes)
        return reasoner

    def dataset(self, split: str, labels: bool = False) -> Dataset:
        """One split of the dataset; with `labels` only what accuracy counts.

        Raises:
            NoSplit: it is not there, or no dataset is known. InputError: also when labels are wanted and there are none.
        """
        from recurc.dataset import NoSplit, load_dataset

        if self.data is None:
            raise NoSplit(
                "no dataset is known for this model",
                where=self.checkpoint,
                why="none is given, none is configured, and no folder data lies beside the checkpoint",
                next="Pass the dataset directory with --data DIR",
            )
        found = load_dataset(self.data, split)
        speak_of(found.seq_len)
        return found.labelled() if labels else found


def measured_models(console: Console, source: Source, command: str) -> tuple[list[Model], str]:
    """What a command measures, and its name for a folder: CHECKPOINT, or all bundled examples that have puzzles.

    Raises:
        UsageError: a dataset is named, and no checkpoint that it is for.
    """
    from recurc.resources import bundled_models

    if source.checkpoint is not None:
        return [source.model(console)], Path(source.checkpoint).name or "model"
    if source.data:
        raise UsageError(
            "--data needs a CHECKPOINT",
            where=command,
            why="without one all bundled examples are measured, each on its own puzzles",
            next="Name the checkpoint that the puzzles are for, or leave --data out",
        )
    names = [name for name, folder in bundled_models().items() if (folder / "data").is_dir()]
    return [resolve_model(console, name, None) for name in names], "examples"


def train_split(console: Console, chosen: Model, without: str = "no calibration puzzles") -> Dataset | None:
    """The training split, or None with a remark where there is none: what it means to be `without`.

    Raises:
        InputError: there is one, and something is wrong with it or it cannot be read.
    """
    from recurc.dataset import NoSplit

    try:
        return chosen.dataset("train")
    except NoSplit as error:
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
    console.blame = partial(blamed, project=project, options=_left_to(project))
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


def _left_to(project: Project) -> dict[str, str]:
    """Options of the running command that a project file answers: as they are spelt -> as they are passed on."""
    ctx = click.get_current_context(silent=True)
    options = [p for p in ctx.command.params if isinstance(p, click.Option) and p.name] if ctx is not None else []
    return {p.opts[0]: str(p.name) for p in options if project.value(str(p.name)) is not None and not _closed(str(p.name))}


def _closed(name: str) -> bool:
    """Whether the command line leaves nothing of an option to the project file; single layers of it may stand in both."""
    return given(name) and name != "layers"


def _data_beside(checkpoint: str) -> Path | None:
    from recurc.models.checkpoint import find_checkpoint
    from recurc.models.config_files import nearby_datasets

    file, _ = find_checkpoint(checkpoint)
    return next(iter(nearby_datasets(file)), None)


@dataclass(frozen=True)
class Source:
    """What a command works on: CHECKPOINT, --data and --project."""

    checkpoint: str | None = None
    data: str | None = None
    project_file: Path | None = None

    def model(self, console: Console) -> Model:
        """The model that is meant, see `resolve_model`. Raises InputError."""
        return resolve_model(console, self.checkpoint, self.data, self.project_file)


@dataclass(frozen=True)
class Stored:
    """--precision (None: not given) and --layer, as a mapping."""

    precision: str | None = None
    layers: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: Model) -> tuple[str, dict[str, str]]:
        """Precision and layers in another one: what the command line asks for, else `recurc.toml`, else int4."""
        project = model.project  # another precision for all is another choice of layers too
        own = {} if self.precision else dict(project.layers)
        return self.precision or project.precision or DEFAULT_PRECISION, {**own, **self.layers}


@dataclass(frozen=True)
class Halting:
    """--halt/--no-halt (None: not given), --halt-threshold, --min-steps and --patience."""

    halt: bool | None = None
    halt_threshold: float = 0.0
    min_steps: int = 1
    patience: int = 1

    @property
    def rule(self) -> Halt:
        """The rule that they make, asked for or not."""
        from recurc.evaluate.halting import Halt

        return Halt(self.halt_threshold, self.min_steps, self.patience)

    def check_used(self, stops: bool) -> None:
        """That no number of a rule is given in vain. stops: whether runs stop early. Raises UsageError where they do not."""
        alone = next(given_options("halt_threshold", "min_steps", "patience"), None)
        if alone and not stops:
            raise UsageError("it says when to stop early", where=alone, next="Add --halt, or leave it out")


def open_build(console: Console, path: str | Path, *, to_run: bool = True, trust: bool = False) -> Build:
    """The build in a folder, as `recurc.build.manifest.load_build`; what was assumed of its checkpoint is told."""
    from recurc.build.manifest import load_build

    build = load_build(path, to_run, trust)
    speak_of(build.config.seq_len)
    console.assumed(build.notes)
    return build


# -- options --------------------------------------------------------------------------------------------------------


def checkpoint_argument(required: bool = False) -> Callable[[Command], Command]:
    """The argument CHECKPOINT, passed as text or None (see `resolve_model`)."""
    return click.argument("checkpoint", required=required, type=str, metavar="CHECKPOINT" if required else "[CHECKPOINT]")


def data_option(function: Command) -> Command:
    """--data DIR."""
    text = "Dataset directory (with train/ and test/), as the reference code builds it."
    return click.option("--data", metavar="DIR", default=None, help=text)(function)


def project_option(function: Command) -> Command:
    """--project FILE, passed as `project_file`."""
    return click.option(
        "--project",
        "project_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        default=None,
        metavar="FILE",
        help=f"Take what is not on the command line from FILE, as `recurc tune` writes it, in place of {PROJECT_FILE} here.",
    )(function)


def halting_options(function: Command) -> Command:
    """--halt/--no-halt (None: not given), --halt-threshold, --min-steps, --patience: a `Halting`."""
    for option in (
        click.option(
            "--patience",
            type=click.IntRange(0, 255),
            default=1,
            metavar="P",
            help="Steps in a row that the tokens must have stayed the same. Default: 1; 0 asks the halting head alone.",
        ),
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
            help="Stop early where the halting head says so (TRM: q_halt > 0; HRM: q_halt > q_continue) and the tokens have "
            "stayed, or never.",
        ),
    ):
        function = option(function)
    return function


def stored_options(function: Command) -> Command:
    """--precision P (None when not given) and --layer NAME=P: a `Stored`."""
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


def limit_option(default: int | None = None) -> Callable[[Command], Command]:
    """--limit N, at least 1."""
    text = "Use the first N examples" + (f". Default: {default}." if default else " (default: all).")
    return click.option("--limit", type=click.IntRange(min=1), default=default, metavar="N", help=text)


def seed_option(function: Command) -> Command:
    """--seed N, from 0 to 2^32-1."""
    kind = click.IntRange(0, 2**32 - 1)
    return click.option("--seed", type=kind, default=0, metavar="N", help="Seed of random choices. Default: 0.")(function)


def depth_options(function: Command) -> Command:
    """--h-cycles, --l-cycles, --steps: override the trained depth; None when not given."""
    kind = click.IntRange(1, MOST_CYCLES)
    for name, text in (
        ("--steps", "Supervision steps (default: as trained)."),
        ("--l-cycles", "Low-level cycles a high-level one (default: as trained)."),
        ("--h-cycles", "High-level cycles a step (default: as trained)."),
    ):
        function = click.option(name, type=kind, default=None, metavar="N", help=text)(function)
    return function


def storage_options(function: Command) -> Command:
    """--carry KIND and --puzzle-table WHERE: how the carry and the puzzle embeddings are stored."""
    function = click.option(
        "--puzzle-table",
        type=click.Choice(WORDS["puzzle_table"]),
        default=AUTO,
        metavar="WHERE",
        help="Puzzle embeddings: in the image, or streamed a row a puzzle from a table file of fp32 or int8 rows. "
        "Default: auto (in the image up to 64 KB, else fp32).",
    )(function)
    return click.option(
        "--carry",
        type=click.Choice(WORDS["carry"]),
        default=CARRIES[0],
        metavar="KIND",
        help="How z_H and z_L are stored between ops: fp32, fp16, or int8 with a scale a row. Default: fp32.",
    )(function)


def scratch_option(function: Command) -> Command:
    """--scratch KB, passed on in bytes; None when not given."""
    return click.option(
        "--scratch",
        type=click.IntRange(4, 4096),
        default=None,
        metavar="KB",
        callback=lambda c, p, kb: kb and 1024 * kb,
        help="RAM for tiles, at most (default: 48). More means fewer passes over the weights, never other bits.",
    )(function)


def trust_option(function: Command) -> Command:
    """--trust-build, passed as `trust`."""
    return click.option(
        "--trust-build",
        "trust",
        is_flag=True,
        help="Run native code that lies in BUILD although you did not build it on this computer.",
    )(function)
