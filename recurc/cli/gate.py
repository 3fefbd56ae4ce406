"""`recurc gate`: how well fidelity predicts the loss of exact puzzles, and which threshold follows for builds."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.options import (
    Source,
    checkpoint_argument,
    data_option,
    limit_option,
    measured_models,
    pass_console,
    seed_option,
    train_split,
)
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.research import Computing, can_plot, check_results, compute_options, results_option, write, write_results
from recurc.errors import UsageError

DEFAULT_LIMIT = 128


@dataclass(frozen=True)
class Judging:
    """From which loss of exact on a variant is harmful (points), and whether the threshold is kept for `recurc build`."""

    tolerance: float
    keep: bool


@click.command()
@checkpoint_argument()
@data_option
@click.option(
    "--steps", type=click.IntRange(1, 255), default=None, metavar="N", help="Supervision steps (default: as trained)."
)
@limit_option(DEFAULT_LIMIT)
@seed_option
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=2.0,
    metavar="POINTS",
    show_default=True,
    help="A loss of exact above it is harmful.",
)
@click.option(
    "--keep", is_flag=True, help="Keep the threshold beside the checkpoint (fidelity.json), where build takes it from."
)
@compute_options
@results_option("NAME-gate")
@takes(source=Source, judging=Judging, computing=Computing)
@pass_console
def command(
    console: Console,
    steps: int | None,
    limit: int,
    seed: int,
    out: Path | None,
    source: Source,
    judging: Judging,
    computing: Computing,
) -> None:
    """How well fidelity predicts the loss of exact puzzles, and which threshold follows: for CHECKPOINT, or for all bundled
    examples.

    A ladder of variants is evaluated at the trained depth, from harmless to harmful. Interrupted or repeated, it goes on
    where it was: results are kept by the content of checkpoint, puzzles and code.
    """
    models, named = measured_models(console, source, "recurc gate")
    from recurc.evaluate import min_fidelity
    from recurc.report.csvfile import csv_text
    from recurc.study.ladder import ladder, measure_ladder, summary
    from recurc.study.workbench import Means

    folder, tolerance = out or Path("build") / f"{named}-gate", judging.tolerance / 100
    gates, kept, results = [], {}, computing.store(console)
    tests = [chosen.dataset("test", labels=True).take(limit) for chosen in models]
    if judging.keep:  # before a measurement of minutes, not after it
        for chosen, test in zip(models, tests):
            min_fidelity.check_keep(chosen.file())
            _check_number(len(test), tolerance, chosen.checkpoint)
    check_results(folder)
    with computing.executor() as where:
        for chosen, test in zip(models, tests, strict=True):
            name = Path(chosen.checkpoint).name or "model"
            train = train_split(console, chosen, "no calibration puzzles, so no static activation scales")
            reasoner = chosen.load()
            with console.progress(f"{name}: the ladder x {len(test)} puzzles", len(ladder()) * len(test)) as advance:
                gates.append(
                    measure_ladder(
                        name, reasoner, test, train, steps=steps, means=Means(where, results, seed), progress=advance
                    )
                )
            own = gates[-1].own(reasoner.sha256, tolerance) if judging.keep else None
            if own is not None:
                kept[min_fidelity.keep(own, reasoner)] = own.min_fidelity
            elif judging.keep:
                console.note(f"{name}: nothing is kept, because no threshold follows")
    document = summary(gates, tolerance)
    files = [write(folder, "gate.json", json_text(document)), write(folder, "gate.csv", csv_text(document["points"]))]
    files += _page(console, folder, document)
    console.emit_json({**document, "files": files, "kept": list(kept)})
    if not console.json:
        _show(console, document, folder)
        for path, least in kept.items():
            console.print(f"kept for `recurc build`: {path}, at least {least:g}")


def _check_number(n: int, tolerance: float, checkpoint: str) -> None:
    """That so many puzzles tell harm from none. Raises UsageError."""
    from recurc.study.threshold import least_puzzles

    least = least_puzzles(tolerance)
    if n < least:
        raise UsageError(
            f"{n} puzzles are too few to keep a threshold",
            where=f"{checkpoint}, --keep",
            why=f"one puzzle more or less is {100 / n:.3g} points of puzzles exact, and {100 * tolerance:g} are tolerated, so "
            "harm would pass for chance and the threshold come out too low",
            next=f"Take at least {least} puzzles (--limit), allow more (--tolerance), or leave out --keep"
            if tolerance > 0
            else "Allow more than nothing (--tolerance), or leave out --keep",
        )


def _page(console: Console, folder: Path, document: dict[str, Any]) -> list[Path]:
    from recurc.report import plots, sweep_page

    drawn = []
    if can_plot(console):
        thresholds = {m["model"]: m["threshold"]["phi"] for m in document["models"]}
        drawing = plots.loss_against_phi(document["points"], thresholds, document["all"]["threshold"]["phi"])
        drawn.append(
            plots.plot(
                "gate",
                "Loss against fidelity",
                "A point a variant, filled where it is harmful; bars are a "
                "standard error. Lines: each model's threshold; dotted: one for all.",
                drawing,
                folder,
            )
        )
    return write_results(folder, "gate", sweep_page.gate_results(document, drawn, shlex.join(["recurc", *sys.argv[1:]])))


def _show(console: Console, document: dict[str, Any], folder: Path) -> None:
    from recurc.report.sweep_page import (
        GATE_COLUMNS,
        GATE_LEAST,
        GATE_NOTES,
        POINT_COLUMNS,
        POINT_LEAST,
        gate_cells,
        gate_verdicts,
        point_cells,
    )

    for m in document["models"]:
        points = [p for p in document["points"] if p["model"] == m["model"]]
        console.table(
            POINT_COLUMNS,
            [point_cells(p) for p in points],
            text_columns=("by",),
            least=POINT_LEAST,
            title=f"{m['model']}, {m['n']} test puzzles, {m['steps']} steps, fp32 {100 * m['fp32_exact']:.1f} % exact",
        )
    console.table(GATE_COLUMNS, gate_cells(document), least=GATE_LEAST)
    for text in gate_verdicts(document):
        console.print(text)
    for note in GATE_NOTES:
        console.print(note, style="dim")
    console.print(f"table, plot and page: {folder / 'gate.html'}")
