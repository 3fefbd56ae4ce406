"""`recurc sweep`: precision x activations x depth, in one table, CSV, JSON, plots and a page."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from recurc.cli.common.options import (
    checkpoint_argument,
    data_option,
    limit_option,
    pass_console,
    resolve_model,
    seed_option,
    storage_options,
    train_split,
)
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.quantizing import calibration_options
from recurc.cli.common.research import (
    Names,
    Numbers,
    can_plot,
    check_results,
    compute_options,
    executor,
    store,
    write,
    write_results,
)
from recurc.errors import UsageError

DEFAULT_LIMIT = 128
_MANY = 40  # rows of a table that are still looked at


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
@compute_options
@click.option(
    "--gate",
    is_flag=True,
    help="Measure instead how well fidelity predicts the loss of exact puzzles, and which "
    "threshold follows: for CHECKPOINT, or for all bundled examples.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    default=2.0,
    metavar="POINTS",
    show_default=True,
    help="With --gate: a loss of exact above it is harmful.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="With --gate: keep the threshold beside the checkpoint (fidelity.json), where build takes it from.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder of the results. Default: build/NAME-sweep, or -gate.",
)
@pass_console
@click.pass_context
def command(
    ctx: click.Context,
    console: Console,
    checkpoint: str | None,
    data: str | None,
    precisions: tuple[str, ...],
    activations: tuple[str, ...],
    h_cycles: tuple[int, ...],
    l_cycles: tuple[int, ...],
    steps: tuple[int, ...],
    engine: str,
    limit: int,
    seed: int,
    carry: str,
    puzzle_table: str,
    calibration: str | None,
    puzzles: int,
    jobs: int | None,
    scheduler: str | None,
    cache: Path | None,
    no_cache: bool,
    gate: bool,
    tolerance: float,
    keep: bool,
    out: Path | None,
) -> None:
    """What CHECKPOINT keeps of its accuracy in each precision at each depth.

    Interrupted or repeated, it goes on where it was: results are kept by the content of checkpoint, puzzles and code.
    """
    if gate:
        _gate(
            ctx,
            console,
            checkpoint,
            data,
            steps,
            limit,
            seed,
            tolerance,
            jobs,
            scheduler,
            store(console, cache, no_cache),
            keep,
            out,
        )
        return
    from recurc.study.sweep import as_csv, grid, rows_of
    from recurc.study.workbench import Workbench

    for name in ("tolerance", "keep"):
        if given(ctx, name):
            raise UsageError(f"--{name} belongs to --gate", next="Add --gate, or leave it out")
    chosen = resolve_model(console, checkpoint, data)
    name = Path(chosen.checkpoint).name or "model"
    folder = out or Path("build") / f"{name}-sweep"
    check_results(folder)
    reasoner = chosen.load()
    test, train = chosen.dataset("test", labels=True).take(limit), train_split(console, chosen)
    bench = Workbench(reasoner, test, train, puzzles=puzzles, seed=seed, store=store(console, cache, no_cache))
    variants = [
        bench.resolve(v)
        for v in grid(
            reasoner.config,
            precisions,
            activations,
            h_cycles=h_cycles,
            l_cycles=l_cycles,
            steps=steps,
            carry=carry,
            engine=engine,
            method=calibration,
        )
    ]
    with (
        executor(jobs, scheduler) as where,
        console.progress(f"{len(variants)} variants x {len(test)} puzzles", len(variants) * len(test)) as advance,
    ):
        outcomes = bench.evaluate(variants, where, advance)
    rows = rows_of(outcomes, steps)
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
        "rows": lines,
    }
    files = [write(folder, "sweep.csv", as_csv(rows)), write(folder, "sweep.json", json_text(document))]
    files += _page(console, folder, name, document, lines, variants[0].schedule)
    console.emit_json({**document, "files": files})
    if not console.json:
        _show(console, lines, name, document, folder)


def given(ctx: click.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _gate(
    ctx: click.Context,
    console: Console,
    checkpoint: str | None,
    data: str | None,
    steps: tuple[int, ...],
    limit: int,
    seed: int,
    tolerance: float,
    jobs: int | None,
    scheduler: str | None,
    results,
    keep: bool,
    out: Path | None,
) -> None:
    """--gate: its variants and depth are its own. Raises UsageError for options that it has no use for."""
    from recurc.cli.common.gating import bundled, run_gate

    other = [
        f"--{name.replace('_', '-')}"
        for name in (
            "precisions",
            "activations",
            "h_cycles",
            "l_cycles",
            "engine",
            "carry",
            "puzzle_table",
            "calibration",
            "puzzles",
        )
        if given(ctx, name)
    ]
    other += ["several --steps"] if len(steps) > 1 else []
    other += ["--data without CHECKPOINT"] if data and checkpoint is None else []
    if other:
        raise UsageError(
            f"--gate does not take {', '.join(other)}",
            next="Leave it out",
            why="it evaluates a ladder of its own at the trained depth, of CHECKPOINT or of all bundled examples",
        )
    models = [resolve_model(console, checkpoint, data)] if checkpoint is not None else bundled(console)
    name = Path(checkpoint).name or "model" if checkpoint is not None else "examples"
    with executor(jobs, scheduler) as where:
        run_gate(
            console,
            models,
            limit=limit,
            seed=seed,
            steps=steps[0] if steps else None,
            tolerance=tolerance / 100,
            where=where,
            results=results,
            keep=keep,
            folder=out or Path("build") / f"{name}-gate",
            command=shlex.join(["recurc", *sys.argv[1:]]),
        )


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
        tables=[Table("All variants", sweep_page.COLUMNS, [sweep_page.cells(line) for line in lines])],
        notes=sweep_page.NOTES,
        command=shlex.join(["recurc", *sys.argv[1:]]),
    )
    return write_results(folder, "sweep", found)


def _show(console: Console, lines: list[dict[str, Any]], name: str, document: dict[str, Any], folder: Path) -> None:
    from recurc.report.sweep_page import COLUMNS, LEAST, NOTES, cells, sweep_verdicts

    shown = lines
    if len(lines) > _MANY:
        deepest = max(line["steps"] for line in lines)
        shown = [line for line in lines if line["steps"] == deepest or line["pareto"] or line["tied"]]
    console.print(
        f"{name}, {document['n']} test puzzles"
        + (f"; {len(shown)} of {len(lines)} rows, the rest in sweep.csv" if len(shown) < len(lines) else "")
    )
    console.table(COLUMNS, [cells(line) for line in shown], text_columns=("by",), least=LEAST)
    for text in sweep_verdicts(lines):
        console.print(text)
    for note in NOTES:
        console.print(note, style="dim")
    console.print(f"table, plots and page: {folder / 'sweep.html'}")
