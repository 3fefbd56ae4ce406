"""`recurc verify`: a build's firmware runs puzzles and is compared with the host, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.groups import given, takes
from recurc.cli.common.options import (
    Halting,
    data_option,
    halting_options,
    limit_option,
    open_build,
    pass_console,
    trust_option,
)
from recurc.cli.common.output import Console
from recurc.cli.common.solving import Solving, built_policy, built_solving_options
from recurc.errors import DeviceUnreachableError, InputError, MismatchError, RecurcError, UsageError

if TYPE_CHECKING:
    from recurc.build.manifest import BoardArtifact, Build
    from recurc.dataset import Dataset
    from recurc.evaluate.halting import Halt
    from recurc.targets.boards import Board
    from recurc.verify.journal import Identity, Journal
    from recurc.verify.phi import FidelityMeter
    from recurc.verify.result import PuzzleResult

DEFAULT_LIMIT = 8
_KEPT = (
    "on",
    "n",
    "offset",
    "matched",
    "bit_exact",
    "cell",
    "exact",
    "mean_steps",
    "stack_used",
    "stack_bytes",
    "ticks",
    "instructions_per_step",
    "seconds_per_step",
)


@dataclass(frozen=True)
class Place:
    """Where the firmware runs, and whether the user trusts it."""

    on: str
    trust: bool


@dataclass(frozen=True)
class Puzzles:
    """The part of the test split that is run, and for how many supervision steps (None: as compiled)."""

    steps: int | None
    data: str | None
    limit: int | None
    offset: int


@dataclass(frozen=True)
class Fidelity:
    """On how many puzzles fidelity is measured (None: it depends), and the checkpoint that it is measured against."""

    fidelity: int | None
    reference: str | None


@dataclass(frozen=True)
class Record:
    """What is shown and kept of the run."""

    tokens: bool
    show: bool
    journal: Path | None
    resume: bool
    junit: Path | None


@click.command()
@click.argument("build", metavar="BUILD", type=click.Path(path_type=Path))
@click.option(
    "--on",
    default="qemu",
    metavar="WHERE",
    help="qemu (default), host, onnxruntime (an independent check), or a port: /dev/ttyACM0, tcp://HOST:PORT.",
)
@data_option
@limit_option(DEFAULT_LIMIT)
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Skip the first N examples. Default: 0.")
@click.option(
    "--steps", type=click.IntRange(min=1), default=None, metavar="N", help="Supervision steps (default: as compiled)."
)
@halting_options
@built_solving_options
@click.option("--tokens", is_flag=True, help="Keep what the device predicts in the journal and the JSON document.")
@click.option("--show", is_flag=True, help="Draw the first puzzle after each step.")
@click.option(
    "--fidelity",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="Puzzles whose carry is read back and held against the fp32 model. Default: up to 4, fewer of large models.",
)
@click.option("--reference", metavar="CHECKPOINT", help="The build's checkpoint, when it is not where it was.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where results are kept as they arrive. Default: BUILD/verify-BOARD.jsonl. The one before is kept as FILE~.",
)
@click.option("--resume", is_flag=True, help="Go on with the journal: puzzles that are in it are not run again.")
@trust_option
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write JUnit XML for CI.")
@takes(puzzles=Puzzles, place=Place, halting=Halting, solving=Solving, fidelity=Fidelity, record=Record)
@pass_console
def command(
    console: Console,
    build: Path,
    puzzles: Puzzles,
    place: Place,
    halting: Halting,
    solving: Solving,
    fidelity: Fidelity,
    record: Record,
) -> None:
    """Run puzzles on the firmware in BUILD and compare every step with the host.

    After each supervision step the checksums of carry, logits and predicted tokens and both halting logits are
    compared, after the last one all logits and tokens. At the first difference the puzzle is run again op by op: step,
    block call, op, element and both values are named, and the exit code is 8.
    """
    from recurc.cli.common.live import LiveTable
    from recurc.cli.common.verified import document, print_result, worst_stack
    from recurc.verify.device import check_trusted, resolve
    from recurc.verify.journal import Identity, dataset_digest
    from recurc.verify.junit import check_junit
    from recurc.verify.options import Listener, RunOptions
    from recurc.verify.record import keep as keep_result
    from recurc.verify.result import StepView
    from recurc.verify.run import verify

    on, offset, junit, steps = place.on, puzzles.offset, record.junit, puzzles.steps
    if junit is not None:
        check_junit(junit)
    made = open_build(console, build, trust=place.trust)
    check_trusted(made, "its host engine would be loaded into this process, and its firmware run in an emulator or on a board")
    everything, dataset = _puzzles(made, puzzles)
    policy = built_policy(made, solving, halting)
    if policy is not None:
        steps, fidelity = _answering(on, steps, halting, fidelity)
    rule = None if policy else _rule(made, halting)
    if on == "onnxruntime":
        from recurc.cli.common.onnxruntime import verify_on_onnxruntime

        return verify_on_onnxruntime(console, made, dataset, steps, offset)
    board, artifact = resolve(made, on)
    meter, measured = _meter(console, made, fidelity)
    views: list[StepView] = []
    arrived: list[PuzzleResult] = []
    live = LiveTable(console, f"verify on {board.name}", len(dataset), policy.worst_steps if policy else steps or made.steps)
    properties: dict[str, Any] = {
        "board": board.name,
        "on": on,
        "build_id": artifact.build_id,
        "model_sha256": artifact.model_sha256,
    }
    written: list[Path] = []

    def opened(answered: Board, artifact: BoardArtifact) -> Journal | None:
        properties.update(board=answered.name, build_id=artifact.build_id, model_sha256=artifact.model_sha256)
        live.answered(answered, counts=on == "qemu")
        identity = Identity.of(artifact, answered.name, dataset_digest(everything), steps or made.steps, rule, policy)
        kept = _journal(console, record, made.path / f"verify-{answered.name}.jsonl", identity)
        if kept is not None:
            written.append(kept.path)
            arrived.extend(r for i, r in sorted(kept.results.items()) if offset <= i < offset + len(dataset))
            live.resumed(arrived)
        return kept

    def keep(result: PuzzleResult) -> None:
        arrived.append(result)
        live.result(result)

    try:
        with live:
            result = verify(
                made, on, dataset,
                RunOptions(
                    steps=steps, halt=rule, policy=policy, offset=offset, meter=meter, fidelity=measured, tokens=record.tokens,
                ),
                Listener(live.progress, views.append if record.show else None, keep, live.traced, opened),
            )  # fmt: skip
    except (RecurcError, KeyboardInterrupt) as error:
        if isinstance(error, (DeviceUnreachableError, MismatchError, KeyboardInterrupt)) and arrived and written:
            console.note(f"{len(arrived)} of {len(dataset)} puzzles are in {written[0]}; `--resume` goes on from there")
        if junit is not None and isinstance(error, RecurcError):
            _junit(junit, arrived, properties, error=error)
        raise
    print_result(console, made, result, views)
    told: Mapping[str, Any] = document(result, offset, worst_stack(made, result))
    keep_result(made, result.info.build_id, {**{k: told[k] for k in _KEPT}, "steps": result.steps}, result.journal)
    if junit is not None:
        phi = result.fidelity
        properties |= {
            "cell": result.cell,
            "exact": result.exact,
            "ticks_per_step": told["ticks_per_step"],
            "stack_used": result.stack_used,
            "fidelity_after_step_1": phi and phi.first,
            "fidelity_after_last_step": phi and phi.last,
            "fidelity_puzzles": phi and phi.n,
        }
        times = {p.puzzle: s for p in result.puzzles if (s := result.seconds(p.ticks)) is not None}
        _junit(junit, result.puzzles, properties, times)
    console.emit_json(told)
    if result.first_difference is not None:
        raise MismatchError(
            "the device's results differ from the host's", where=result.board.name, why=f"{result.first_difference}",
            next="This is a bug in recurc, the compiler or the device: please report it with this line",
        )  # fmt: skip


def _answering(on: str, steps: int | None, halting: Halting, fidelity: Fidelity) -> tuple[None, Fidelity]:
    """What --solve leaves open: the policy says how many steps, and no carry is read while the device answers by itself.

    Raises:
        UsageError: something is asked that it excludes.
    """
    for wrong, option in (
        (on == "onnxruntime", "--on onnxruntime"),
        (steps is not None, "--steps"),
        (halting.halt is not None, "--halt"),
        (bool(fidelity.fidelity), "--fidelity"),
    ):
        if wrong:
            raise UsageError("--solve decides by itself", where=option, next="Leave one of them out")
    return None, replace(fidelity, fidelity=0)


def _rule(build: Build, halting: Halting) -> Halt | None:
    """When to stop early: as the command line says, where it leaves that open as the build was tuned; None: never.

    Raises:
        UsageError: numbers of a rule are given, and no run stops early.
    """
    tuned = getattr(build, "details", {}).get("halt")
    if halting.halt is False or (halting.halt is None and tuned is None):
        halting.check_used(False)
        return None
    rule = halting.rule
    if tuned is None:
        return rule
    own = {"threshold": tuned["threshold"], "min_steps": tuned["min_steps"], "patience": tuned.get("patience", 0)}
    options = {"threshold": "halt_threshold"}
    return replace(rule, **{name: value for name, value in own.items() if not given(options.get(name, name))})


def _puzzles(build: Build, puzzles: Puzzles) -> tuple[Dataset, Dataset]:
    """The whole test split, and the part of it that is to be run."""
    from recurc.dataset import check_compatible, load_dataset

    folder = puzzles.data or getattr(build, "details", {}).get("data")  # by default what the build was checked with
    if folder is None:
        raise UsageError(
            "no puzzles to run",
            where=str(build.path),
            why=f"no dataset is given, and {build.no_data}",
            next="Pass the dataset directory with --data DIR",
        )
    everything = load_dataset(folder, "test")
    check_compatible(everything, build.config, build.checkpoint)
    dataset = everything.take(puzzles.limit, puzzles.offset)
    if not len(dataset):
        raise UsageError(
            "no puzzles to run",
            where=f"--offset {puzzles.offset}",
            why=f"the split has {len(everything)} examples",
            next="Use a smaller offset",
        )
    return everything, dataset


def _meter(console: Console, build: Build, wanted: Fidelity) -> tuple[FidelityMeter | None, int]:
    """What measures fidelity, and on how many puzzles; None when the fp32 model is not to be had."""
    from recurc.ir.lower import lower
    from recurc.verify.phi import build_meter, default_puzzles

    checkpoint, count = wanted.reference, wanted.fidelity
    if count == 0:
        return None, 0
    try:
        meter = build_meter(build, checkpoint)
    except InputError as error:
        if checkpoint is not None or count is not None:
            raise
        console.note(f"fidelity is not measured: {error.paragraph()}")
        return None, 0
    program = lower(build.config, build.lowering)
    return meter, default_puzzles(program.macs_per_step * program.steps) if count is None else count


def _journal(console: Console, record: Record, file: Path, identity: Identity) -> Journal | None:
    """The open journal, in `file` where none is named; None, with a note, when that one cannot be written."""
    from recurc.verify.journal import Journal

    try:
        return Journal(record.journal or file, identity, record.resume, follow=record.journal is not None)
    except (InputError, UsageError) as error:
        if record.journal is not None or record.resume:
            raise
        console.note(f"results are not journaled: {error.paragraph()}")
        return None


def _junit(
    path: Path,
    puzzles: Sequence[PuzzleResult],
    properties: Mapping[str, object],
    seconds: Mapping[int, float] | None = None,
    error: RecurcError | None = None,
) -> None:
    from recurc.verify.junit import junit_document, write_junit

    write_junit(path, junit_document(f"verify on {properties['board']}", puzzles, properties, seconds, error))
