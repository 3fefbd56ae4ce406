"""`recurc build`: from a checkpoint to firmware."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.delivery import Delivery, delivery_options
from recurc.cli.common.groups import takes
from recurc.cli.common.memory import show_changes, show_memory
from recurc.cli.common.options import (
    Halting,
    Source,
    Stored,
    checkpoint_argument,
    data_option,
    depth_options,
    pass_console,
    project_option,
    scratch_option,
    seed_option,
    storage_options,
    stored_options,
)
from recurc.cli.common.output import Console
from recurc.cli.common.quantizing import Learning, calibration_options, layer_names, quantize_with_progress
from recurc.cli.common.solving import Solving, procedure, solve_entry, solving_options
from recurc.cli.common.updating import update, update_asked
from recurc.errors import DoesNotFitError
from recurc.evaluate.min_fidelity import DEFAULT_MIN_FIDELITY, least_fidelity
from recurc.ir.lowering import Lowering
from recurc.reading import is_folder
from recurc.recursion import Depth

if TYPE_CHECKING:
    from recurc.api import Model as LoadedModel
    from recurc.api import Quantized
    from recurc.build.manifest import Build
    from recurc.cli.common.options import Model
    from recurc.dataset import Dataset
    from recurc.documents.shares import SolveEntry
    from recurc.evaluate.gate import Answers
    from recurc.evaluate.halting import Halt
    from recurc.models.reasoner import Reasoner, ReasonerConfig
    from recurc.solve import Policy
    from recurc.targets.boards import Board


@dataclass(frozen=True)
class Demands:
    """What a build must keep, and how many test puzzles show what it keeps."""

    min_fidelity: float | None
    allow_lossy: bool
    accuracy_puzzles: int | None


@click.command()
@checkpoint_argument()
@project_option
@delivery_options
@stored_options
@data_option
@seed_option
@depth_options
@storage_options
@scratch_option
@calibration_options
@solving_options
@click.option(
    "--min-fidelity",
    type=click.FloatRange(-1, 1),
    default=None,
    metavar="PHI",
    help="Refuse below this fidelity after one step. Default: what `recurc gate CHECKPOINT --keep` kept "
    f"beside the checkpoint, else {DEFAULT_MIN_FIDELITY}.",
)
@click.option("--allow-lossy", is_flag=True, help="Build in spite of low fidelity or a precision for comparison.")
@click.option(
    "--accuracy-puzzles",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="Test puzzles that accuracy is shown for, when there is data. Default: 32, with --solve 128; 0 for none.",
)
@takes(delivery=Delivery, source=Source, stored=Stored, lowering=Lowering, learning=Learning, solving=Solving, demands=Demands)
@pass_console
def command(
    console: Console,
    delivery: Delivery,
    source: Source,
    stored: Stored,
    lowering: Lowering,
    learning: Learning,
    solving: Solving,
    demands: Demands,
) -> None:
    """Quantize CHECKPOINT, check that it still reasons, fit it into a board's memory and compile its firmware.

    For a chip that only its own SDK compiles (`recurc boards`: written), the build has a project for that and no ELF.
    """
    from recurc.package.registry import asked_of, delivered_as, toolchains
    from recurc.targets.boards import load_board
    from recurc.targets.toolchain import find_compiler

    started = time.monotonic()
    chosen = source.model(console)
    if update_asked(delivery):
        update(console, chosen, delivery, chosen.settled(learning), chosen.settled(demands))
        return
    lowering, learning, demands = chosen.settled(lowering), chosen.settled(learning), chosen.settled(demands)
    solving = chosen.settled(solving)
    board = delivered_as(load_board(chosen.either("target", delivery.target)), delivery.as_, delivery.weights)
    asked_of(board, delivery.name, delivery.weights)  # before the long work
    # Before the long work, not after it; a board without toolchain or port is told so after its plan.
    for family in dict.fromkeys((*toolchains(board), "host")):
        find_compiler(family)
    precision, layers = stored.of(chosen)
    from recurc.api import Model as LoadedModel
    from recurc.make.project import check_output
    from recurc.report.document import report_build

    reasoner = chosen.load()
    # A broken fidelity.json or halting.json is told before the long work.
    (least, least_from), halt = least_fidelity(reasoner, demands.min_fidelity), _halting(chosen, reasoner)
    name = Path(chosen.checkpoint).name or "model"
    model = LoadedModel(reasoner, name)
    named = f"{name}-{board.name}-{precision}{'-mixed' if layers else ''}{_depth_name(lowering, reasoner.config)}"
    forms = "".join(f"-{format}" for format in delivery.as_)
    folder = delivery.out or Path("build") / (named + ("-solve" if solving.solve else "") + forms)
    check_output(folder, console.note)
    lowering, policy, solve = _solving(console, chosen, solving, lowering, learning.seed, reasoner)
    try:
        # Planned from shapes alone first: who is refused is not kept waiting for the calibration.
        _plan_first(board, reasoner, (precision, layers), lowering)
        shown = demands.accuracy_puzzles if demands.accuracy_puzzles is not None else 128 if policy else 32
        test = _test_split(console, chosen, model) if shown else None
        quantized = quantize_with_progress(console, model, chosen, (precision, layers), learning, lowering)
        quantized.check_target(board, allow_lossy=demands.allow_lossy)
        with console.progress("fidelity", 1):
            gate = quantized.gate()
        accuracy, answers = _accuracy(console, quantized, test, shown, halt, policy)
        with console.progress("compiling", 1):
            build = quantized.build(
                board,
                folder,
                min_fidelity=demands.min_fidelity,
                allow_lossy=demands.allow_lossy,
                gate=gate,
                answers=answers,
                name=delivery.name,
                weights=delivery.weights,
                details={
                    "accuracy": accuracy,
                    "data": None if chosen.data is None else os.path.realpath(chosen.data),
                    "halt": chosen.project.halt,
                    "solve": solve,
                },
                note=console.note,
            )
    except DoesNotFitError as error:
        _show_refused(console, error, board, name, precision)
        raise
    document = report_build(build)
    main = build.boards[build.target]
    console.emit_json(
        {
            "target": build.target,
            "twin": build.twin,
            "precision": precision,
            "layers": layer_names(quantized.model),
            "calibration": quantized.model.method,
            "carry": lowering.carry,
            "halt": chosen.project.halt,
            "solve": solve,
            "puzzle_table": quantized.model.puzzle_storage,
            "image_bytes": build.details["image_bytes"],
            "elf": main.elf,
            "compiled": main.elf is not None,
            "out": build.path,
            "fits": True,
            **gate.as_dict(),
            "min_fidelity": least,
            "calibration_puzzles": quantized.calibration.puzzles if quantized.calibration else 0,
            "min_fidelity_from": least_from,
            "accuracy": accuracy,
            "regions": [r for r in document["regions"] if r["used"]],
            "model": document["model"],
            "stack": document["stack"],
            "time_a_step": _time_a_step(document),
            "linked": document["linked"],
            "model_sha256": main.model_sha256,
            "build_id": main.build_id,
            "verified": board.verified,
            "seconds": time.monotonic() - started,
            "kept": list(build.kept),
            "elves": {n: artifact.elf for n, artifact in build.boards.items()},
        }
    )
    if not console.json:
        _show(console, build, document, time.monotonic() - started)


def _solving(
    console: Console, chosen: Model, solving: Solving, lowering: Lowering, seed: int, reasoner: Reasoner
) -> tuple[Lowering, Policy | None, SolveEntry | None]:
    """The lowering with the forms that the image is to hold, how the build answers, and what the manifest says of that."""
    rule = chosen.settled(Halting()).rule
    policy, name, forms = procedure(console, chosen, reasoner, (solving, lowering, seed), rule)
    if policy is None:
        return lowering, None, None
    noisy_runs = policy.restarts if policy.noise else None
    made = replace(lowering, symmetries=forms, noisy_runs=noisy_runs, own_noise=policy.noisy)
    return made, policy, solve_entry(name, policy, len(forms))


def _depth_name(lowering: Lowering, config: ReasonerConfig) -> str:
    """What tells a build of another depth from one of the trained depth, in its folder's name."""
    depth = vars(lowering.depth(config))
    names = ("h_cycles", "l_cycles", "steps")
    return "" if lowering.depth(config) == config.trained else "-" + "".join(f"{name[0]}{depth[name]}" for name in names)


def _plan_first(board: Board, reasoner: Reasoner, stored: tuple[str, dict[str, str]], lowering: Lowering) -> None:
    """Raises DoesNotFitError where no build can end well."""
    from recurc.report.planning import plan_checkpoint

    if board.family == "host":
        return
    error = plan_checkpoint(reasoner.config, board, *stored, lowering).error
    if error is not None:
        raise error


def _show_refused(console: Console, error: DoesNotFitError, board: Board, name: str, precision: str) -> None:
    """The plan that does not fit, above the error that says so; in the JSON document beside it."""
    if not error.summary:
        return
    from recurc.report.document import report_plan

    model = error.summary["model"]
    document = report_plan(
        error.summary,
        board,
        {"name": name},
        precision=precision,
        carry=model.get("carry"),
        depth=Depth(model["steps"], model["h_cycles"], model["l_cycles"]),
    )
    console.emit_json(
        {
            "target": board.name,
            "precision": precision,
            "fits": False,
            "error": error.entry(),
            "plan": error.summary,
            "regions": [r for r in document["regions"] if r["used"]],
        }
    )
    if not console.json:
        show_memory(console, document["regions"], f"Memory of {board.name}")
        show_changes(console, document)


def _test_split(console: Console, chosen: Model, model: LoadedModel) -> Dataset | None:
    """The test split, read before the long work; None, with a word, where there is none or it has no labels."""
    from recurc.dataset import check_compatible

    if chosen.data is None:
        return None
    if not is_folder(chosen.data / "test") and is_folder(chosen.data / "train"):
        console.note("the dataset has no test split, so accuracy is not shown")
        return None
    test = chosen.dataset("test")
    check_compatible(test, model.config, model.reasoner.source)
    if not test.valid.any():
        console.note("the test split has no labels, so accuracy is not shown")
        return None
    return test.labelled()


def _halting(chosen: Model, reasoner: Reasoner) -> tuple[Halt, str]:
    """The rule that a run stops early by, and where it comes from: `recurc.toml`, what is kept beside the checkpoint, or the
    default. Raises InputError: what is kept there is broken."""
    from recurc.evaluate.halting import Halt
    from recurc.evaluate.own_halting import halting_of

    if chosen.project.halt is not None:
        return Halt(**chosen.project.halt), "as asked for"
    return halting_of(reasoner)


def _accuracy(
    console: Console, quantized: Quantized, test: Dataset | None, count: int, halt: tuple[Halt, str], policy: Policy | None
) -> tuple[dict[str, Any] | None, Answers | None]:
    """Accuracy on the first of some test puzzles, where there are any and the work is small; beside it that of fp32, what
    stopping early does by a rule (and where that is from), and how the build's procedure answers, if it has one."""
    from recurc.cli.eval import hopeless_text
    from recurc.evaluate.gate import GATE_MACS, Answers
    from recurc.evaluate.runs import run_engine
    from recurc.evaluate.scores import hopeless, score
    from recurc.evaluate.stopping import halting

    program = quantized.model.program
    affordable = int(GATE_MACS * 4 // max(program.macs_per_step * program.steps, 1))
    if test is None or min(count, affordable) < 1:
        return None, None
    test = test.take(min(count, affordable))
    with console.progress("accuracy, beside fp32", 2 * len(test), "puzzles") as advance:
        run = run_engine(quantized.engine, test.inputs, test.puzzle_ids, program.steps, progress=advance)
        reference = quantized.source.evaluate(test, **vars(program.depth), progress=advance)
    rule, whence = halt
    scores, stopped = (score(run.tokens[-1], test.labels, test.valid), halting(run, test, rule))
    if hopeless(reference, len(test)):
        console.assumed([hopeless_text(reference, len(test))])
    answers: Answers | None = None
    told: dict[str, Any] = {}
    if policy is not None:
        with console.progress("answers", len(test), "puzzles") as advance:
            found = quantized.solve(test, policy, program.symmetries, progress=advance)
        n = len(test)
        answers = Answers(n, round(found.scores.exact * n), round(reference.exact * n), found.mean_steps)
        told = {"answers": {**found.scores.shares(), "mean_steps": found.mean_steps, "solved": int(found.solved.sum()),
                            "wrong_solved": found.wrong_solved}}  # fmt: skip
    return {
        "n": len(test),
        "cell": scores.cell,
        "exact": scores.exact,
        "exact_error": scores.exact_error,
        "fp32_cell": reference.cell,
        "fp32_exact": reference.exact,
        "halting": {
            **asdict(rule),
            "whence": whence,
            **stopped.scores.shares(),
            "mean_steps": stopped.mean_steps,
            "lost": stopped.lost,
            "lost_error": stopped.error,
        },
        **told,
    }, answers


def _time_a_step(document: dict[str, Any]) -> dict[str, Any] | None:
    """Estimated instructions of a supervision step, and seconds where the board's clock is known; None without an estimate."""
    found = (document.get("time") or {}).get("estimate")
    return found and {"estimated": True, "seconds": found["seconds"], "instructions": found["instructions"]}


def _with_time(rows: list[tuple[str, str]], document: dict[str, Any]) -> list[tuple[str, str]]:
    """The estimated time of a step among the facts, before the schedule."""
    from recurc.report.timing import seconds_text

    found = _time_a_step(document)
    if found is None:
        return rows
    steps = document["model"]["steps"]
    said = f"{found['instructions']:,} instructions"
    if found["seconds"]:
        said = f"{seconds_text(found['seconds'])}, {seconds_text(found['seconds'] * steps)} for {steps} steps ({said})"
    at = [name for name, _ in rows].index("schedule")
    return [*rows[:at], ("time a step", f"{said}; an estimate, not measured"), *rows[at:]]


def _show(console: Console, build: Build, document: dict[str, Any], seconds: float) -> None:
    from recurc.package.registry import delivered
    from recurc.report.wording import fact_rows

    show_memory(console, document["regions"], f"Memory of {build.target}")
    console.pairs(
        [
            ("fits", document["board"]["title"]),
            *_with_time(fact_rows(document), document),
            (
                "firmware",
                ", ".join(str(a.elf) for n, a in build.boards.items() if n != "host" or n == build.target)
                if build.elf
                else f"not compiled here: {'; '.join(delivered(build.packages))} of {build.path}. The README.md there says how",
            ),
            *([("kept in it", ", ".join(build.kept))] if build.kept else []),
            ("build", f"{build.path} in {seconds:.1f} s; `recurc report {build.path} --html` draws its memory"),
        ]
    )
