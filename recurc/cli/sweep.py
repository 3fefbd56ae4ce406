"""`recurc sweep`: precision x activations x depth, in one table, CSV, JSON, plots and a page."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from recurc.cli.common.groups import Command, takes
from recurc.cli.common.kinds import Names, Numbers
from recurc.cli.common.options import (
    Source,
    checkpoint_argument,
    data_option,
    limit_option,
    pass_console,
    seed_option,
    storage_options,
    train_split,
)
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.quantizing import Learning, calibration_options
from recurc.cli.common.research import Computing, can_plot, check_results, compute_options, results_option, write, write_results
from recurc.cli.common.solving import Solving, procedure, solve_entry, solving_options
from recurc.errors import UsageError
from recurc.ir.lowering import Lowering

DEFAULT_LIMIT = 128
_MANY = 40  # rows of a table that are still looked at


@dataclass(frozen=True)
class Grid:
    """What is varied: every combination is tried, on so many puzzles."""

    precisions: tuple[str, ...]
    activations: tuple[str, ...]
    h_cycles: tuple[int, ...]
    l_cycles: tuple[int, ...]
    steps: tuple[int, ...]
    engine: str
    limit: int


def _gate_options(function: Command) -> Command:
    """--gate, --tolerance and --keep, which this command once had: it says where they are now."""

    def moved(ctx: click.Context, parameter: click.Parameter, value: object) -> None:
        if value:
            raise UsageError(
                f"{parameter.opts[0]} is not of this command any more",
                where="recurc sweep",
                why="how well fidelity predicts a loss, and which threshold follows, is measured by a command of its own",
                next="use recurc gate",
            )

    for name in ("--gate", "--tolerance", "--keep"):
        option = click.option if name == "--tolerance" else partial(click.option, is_flag=True)
        function = option(name, hidden=True, expose_value=False, is_eager=True, callback=moved)(function)
    return function


@click.command()
@checkpoint_argument()
@data_option
@click.option(
    "--precisions",
    type=Names("precision"),
    default="int8,int4,int4-g32,int4-naive",
    metavar="P,...",
    show_default=True,
    help="Weights; all for every scheme there is. Plain fp32 is always there.",
)
@click.option(
    "--activations",
    type=Names("activations"),
    default="int8-row",
    metavar="A,...",
    show_default=True,
    help="Inputs of linear layers: fp32, int8-row, int8-tensor, int8-static, int4-row, int4-block32, or all.",
)
@click.option("--h-cycles", type=Numbers(), default=(), metavar="N,...", help="High-level cycles (default: as trained).")
@click.option("--l-cycles", type=Numbers(), default=(), metavar="N,...", help="Low-level cycles (default: as trained).")
@click.option(
    "--steps",
    type=Numbers(),
    default=(),
    metavar="N,...",
    help="Supervision steps, all from one run of the most (default: as trained).",
)
@click.option(
    "--engine",
    type=click.Choice(("auto", "device", "fake")),
    default="auto",
    show_default=True,
    help="The device's code where it has a variant's arithmetic (auto), or fake quantization in torch.",
)
@limit_option(DEFAULT_LIMIT)
@seed_option
@storage_options
@calibration_options
@solving_options
@compute_options
@_gate_options
@results_option("NAME-sweep")
@takes(source=Source, tried=Grid, learning=Learning, lowering=Lowering, solving=Solving, computing=Computing)
@pass_console
def command(
    console: Console,
    out: Path | None,
    source: Source,
    tried: Grid,
    learning: Learning,
    lowering: Lowering,
    solving: Solving,
    computing: Computing,
) -> None:
    """What CHECKPOINT keeps of its accuracy in each precision at each depth.

    Interrupted or repeated, it goes on where it was: results are kept by the content of checkpoint, puzzles and code.
    """
    from recurc.evaluate.halting import Halt
    from recurc.evaluate.measured import Asking
    from recurc.study.sweep import Depths, as_csv, grid, rows_of
    from recurc.study.workbench import Workbench

    chosen = source.model(console)
    name = Path(chosen.checkpoint).name or "model"
    folder = out or Path("build") / f"{name}-sweep"
    check_results(folder)
    reasoner = chosen.load()
    test, train = chosen.dataset("test", labels=True).take(tried.limit), train_split(console, chosen)
    deepest = Lowering(steps=max(tried.steps, default=reasoner.config.halt_max_steps))
    policy, symmetry, forms = procedure(console, chosen, reasoner, (solving, deepest, learning.seed), Halt())
    asking = None if policy is None else Asking(policy, forms, symmetry)
    bench = Workbench(
        reasoner, test, train, puzzles=learning.puzzles, seed=learning.seed, store=computing.store(console), asking=asking
    )
    variants = [
        bench.resolve(v)
        for v in grid(
            reasoner.config,
            tried.precisions,
            tried.activations,
            Depths(tried.h_cycles, tried.l_cycles, tried.steps),
            engine=tried.engine,
            method=learning.calibration,
            carry=lowering.carry,
            puzzle_table=lowering.puzzle_table,
        )
    ]
    with (
        computing.executor() as where,
        console.progress(f"{len(variants)} variants x {len(test)} puzzles", len(variants) * len(test)) as advance,
    ):
        outcomes = bench.evaluate(variants, where, advance)
    rows = rows_of(outcomes, tried.steps)
    lines = [row.as_dict() for row in rows]
    document = {
        "checkpoint": reasoner.source,
        "checkpoint_sha256": reasoner.sha256,
        "data": str(chosen.data),
        "n": len(test),
        "steps": max(line["steps"] for line in lines),
        "trained": {
            "h_cycles": reasoner.config.H_cycles,
            "l_cycles": reasoner.config.L_cycles,
            "steps": reasoner.config.halt_max_steps,
        },
        **({} if asking is None else {"solve": solve_entry(symmetry, asking.policy, len(asking.forms))}),
        "rows": lines,
    }
    files = [write(folder, "sweep.csv", as_csv(rows)), write(folder, "sweep.json", json_text(document))]
    files += _page(console, folder, name, document, lines, variants[0].schedule)
    console.emit_json({**document, "files": files})
    if not console.json:
        _show(console, lines, name, document, folder)


def _page(
    console: Console, folder: Path, name: str, document: dict[str, Any], lines: list[dict[str, Any]], depth: tuple[int, int]
) -> list[Path]:
    from recurc.report import sweep_page
    from recurc.report.results import Results, Table, near

    drawn = []
    if can_plot(console):
        trained = (document["trained"]["h_cycles"], document["trained"]["l_cycles"])
        shown = trained if any((line["h_cycles"], line["l_cycles"]) == trained for line in lines) else depth
        drawn = sweep_page.draw(lines, shown, folder)
    found = Results(
        f"{name}: what survives",
        f"{document['n']} test puzzles of {near(document['data'])}.",
        plots=drawn,
        verdicts=sweep_page.sweep_verdicts(lines),
        tables=[Table("All variants", *sweep_page.table(lines))],
        notes=sweep_page.notes(lines),
        command=shlex.join(["recurc", *sys.argv[1:]]),
    )
    return write_results(folder, "sweep", found)


def _show(console: Console, lines: list[dict[str, Any]], name: str, document: dict[str, Any], folder: Path) -> None:
    from recurc.report.sweep_page import LEAST, notes, sweep_verdicts, table

    shown = lines
    if len(lines) > _MANY:
        deepest = max(line["steps"] for line in lines)
        shown = [line for line in lines if line["steps"] == deepest or line["pareto"] or line["tied"]]
    console.print(
        f"{name}, {document['n']} test puzzles"
        + (f"; {len(shown)} of {len(lines)} rows, the rest in sweep.csv" if len(shown) < len(lines) else "")
    )
    columns, cells = table(shown)
    console.table(columns, cells, text_columns=("by",), least=LEAST)
    for text in sweep_verdicts(lines):
        console.print(text)
    for note in notes(shown):
        console.print(note, style="dim")
    console.print(f"table, plots and page: {folder / 'sweep.html'}")
