"""`recurc eval`: accuracy and fidelity with the device's arithmetic, on this computer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.options import (
    Halting,
    Source,
    Stored,
    checkpoint_argument,
    data_option,
    depth_options,
    halting_options,
    limit_option,
    pass_console,
    project_option,
    seed_option,
    storage_options,
    stored_options,
)
from recurc.cli.common.output import Console
from recurc.cli.common.quantizing import Learning, calibration_options, layer_names, quantize_with_progress
from recurc.cli.common.solving import Solving, procedure, solved_text, solving_options
from recurc.ir.lowering import DEPTH, Lowering
from recurc.report.numbers import fidelity_text
from recurc.report.wording import halting_text, tune_command

if TYPE_CHECKING:
    from recurc.documents.commands import Evaluated
    from recurc.documents.plan import Carry
    from recurc.documents.shares import SolvedEntry
    from recurc.evaluate.scores import Scores


@dataclass(frozen=True)
class Puzzles:
    """How many examples are measured, and on how many of them fidelity is."""

    limit: int | None
    fidelity_puzzles: int


@click.command()
@checkpoint_argument()
@data_option
@stored_options
@limit_option()
@seed_option
@depth_options
@storage_options
@calibration_options
@halting_options
@solving_options
@project_option
@click.option(
    "--fidelity-puzzles",
    type=click.IntRange(min=1),
    default=64,
    metavar="N",
    help="Puzzles that fidelity is measured on. Default: 64.",
)
@takes(puzzles=Puzzles, source=Source, stored=Stored, lowering=Lowering, learning=Learning, halting=Halting, solving=Solving)
@pass_console
def command(
    console: Console,
    puzzles: Puzzles,
    source: Source,
    stored: Stored,
    lowering: Lowering,
    learning: Learning,
    halting: Halting,
    solving: Solving,
) -> None:
    """Cell and puzzle-exact accuracy of CHECKPOINT in a precision, and its fidelity to fp32.

    The arithmetic is the firmware's, bit for bit: the generated C runs on this computer.
    """
    from recurc.api import Model as LoadedModel
    from recurc.dataset import check_compatible
    from recurc.evaluate.halting import Halt
    from recurc.evaluate.scores import hopeless

    chosen = source.model(console)
    lowering, learning, rule = chosen.settled(lowering), chosen.settled(learning), chosen.settled(halting).rule
    solving = chosen.settled(solving)
    halt = chosen.project.halt is not None if halting.halt is None else halting.halt
    precision, layers = stored.of(chosen)
    test = chosen.dataset("test", labels=True).take(puzzles.limit)
    fidelity_puzzles = puzzles.fidelity_puzzles
    model = LoadedModel(chosen.load(), chosen.checkpoint)
    check_compatible(test, model.config, model.reasoner.source)  # before the calibration, not after it
    policy, symmetry, forms = procedure(console, chosen, model.reasoner, (solving, lowering, learning.seed), rule)
    quantized = quantize_with_progress(console, model, chosen, (precision, layers), learning, lowering)
    total = len(test) + min(fidelity_puzzles, len(test))
    with console.progress(f"{precision}, then fidelity", total, "puzzles") as advance:
        result = quantized.evaluate(test, halt=halt, **vars(rule), fidelity_puzzles=fidelity_puzzles, progress=advance)
    final = result.final
    document: Evaluated = {
        "checkpoint": model.reasoner.source,
        "precision": precision,
        "layers": layer_names(quantized.model),
        "calibration": quantized.model.method,
        "carry": cast("Carry", lowering.carry),  # `Lowering` is held to them
        "puzzle_table": quantized.model.puzzle_storage,
        "n": result.n,
        "steps": result.steps,
        "cell": final.cell,
        "exact": final.exact,
        "fidelity": result.fidelity_first,
        "fidelity_error": result.fidelity_first_error,
        "fidelity_last": result.fidelity_last,
        "fidelity_last_error": result.fidelity_last_error,
        "fidelity_n": result.fidelity_n,
        "mean_steps": result.mean_steps,
        "exact_error": final.exact_error,
        "fp32": {"n": result.fidelity_n, **result.reference.shares(), "exact_beside": result.beside_reference.exact},
        "by_step": {str(s): {"cell": v.cell, "exact": v.exact} for s, v in result.by_step.items()},
    }
    stopped = result.halting
    assert stopped is not None  # a whole evaluation has one
    document["halting"] = {
        "threshold": rule.threshold,
        "min_steps": rule.min_steps,
        "patience": rule.patience,
        "cell": stopped.scores.cell,
        "exact": stopped.scores.exact,
        "mean_steps": stopped.mean_steps,
        "lost": stopped.lost,
        "lost_error": stopped.error,
    }
    if halt:
        document["full"] = {"cell": result.scores.cell, "exact": result.scores.exact, "steps": result.steps}
    solved = None
    if policy:
        with console.progress("with restarts", len(test), "puzzles") as advance:
            solved = quantized.solve(test, policy, forms, progress=advance)
        document["solve"] = cast("SolvedEntry", {"symmetry": symmetry, **solved.as_dict()})
    if hopeless(result.reference, result.fidelity_n):
        console.assumed([hopeless_text(result.reference, result.fidelity_n)])
    console.emit_json(document)
    if console.json:
        return
    console.print(f"{quantized.model.label}, {lowering.carry} carry, {result.n} test puzzles, the device's arithmetic")
    rows = [(f"after step {s}", *_cells(v)) for s, v in result.by_step.items()]
    if halt and result.halted:
        rows.append((f"halting, {result.mean_steps:.2f} steps on average", *_cells(result.halted)))
    if solved:
        rows.append((f"with restarts, {solved.mean_steps:.2f} steps on average", *_cells(solved.scores)))
    few = result.fidelity_n
    fp32 = "fp32 at this depth" if any(getattr(lowering, name) for name in DEPTH) else "fp32"
    rows.append((f"{fp32}, first {few}", *_cells(result.reference)))
    if few < result.n:
        rows.append((f"{precision}, first {few}", *_cells(result.beside_reference)))
    console.table(("", "cells", "puzzles exact"), rows)
    console.print(
        f"fidelity to fp32: {fidelity_text(result.fidelity_first, result.fidelity_first_error)} after 1 step, "
        f"{fidelity_text(result.fidelity_last, result.fidelity_last_error)} after {result.steps} (cosine of z_H, "
        f"first {result.fidelity_n} puzzles)"
    )
    for line in solved_text(solved, symmetry) if solved else []:
        console.print(line)
    usual = rule == Halt()
    if halt or (usual and stopped.costs):
        advice = tune_command(chosen.checkpoint, chosen.data if chosen.named else None) if usual else None
        console.print(halting_text(stopped, result.steps, advice))


def _cells(scores: Scores) -> tuple[str, str]:
    """Cells, and puzzles exact with their standard error."""
    return f"{100 * scores.cell:.2f} %", f"{100 * scores.exact:.2f} ± {100 * scores.exact_error:.2f} %"


def hopeless_text(reference: Scores, n: int) -> str:
    """What to say where fp32 itself solves next to nothing; fidelity cannot see that."""
    return (
        f"fp32 itself solves {round(reference.exact * n)} of {n} puzzles, so most likely the configuration or the dataset "
        "is not the one that this checkpoint was trained with: `recurc inspect` shows what is taken for granted"
    )
