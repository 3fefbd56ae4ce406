"""`recurc sweep --gate`: how well phi predicts damage, and a threshold for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recurc.cli.common.options import Model, resolve_model, train_split
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.research import can_plot, check_results, write, write_results
from recurc.errors import UsageError


def bundled(console: Console) -> list[Model]:
    """All bundled examples that have puzzles."""
    from recurc.resources import bundled_models

    return [resolve_model(console, name, None) for name, folder in bundled_models().items() if (folder / "data").is_dir()]


def run_gate(
    console: Console,
    models: list[Model],
    *,
    limit: int,
    seed: int,
    steps: int | None,
    tolerance: float,
    where: Any,
    results: Any,
    keep: bool,
    folder: Path,
    command: str,
) -> None:
    """Evaluate the ladder of each model, write gate.json, .csv, .html and .md into `folder`, and show the tables.

    keep: also write each model's threshold beside its checkpoint; refused for fewer puzzles than can tell.

    Raises:
        InputError, UsageError, ToolchainError.
    """
    from recurc.evaluate import min_fidelity as own_gate
    from recurc.report.csvfile import csv_text
    from recurc.study.ladder import gate_of, ladder, summary

    gates, kept = [], {}
    tests = [chosen.dataset("test", labels=True).take(limit) for chosen in models]
    if keep:  # before a measurement of minutes, not after it
        for chosen, test in zip(models, tests):
            own_gate.check_keep(chosen.file())
            _check_number(len(test), tolerance, chosen.checkpoint)
    check_results(folder)
    for chosen, test in zip(models, tests):
        name = Path(chosen.checkpoint).name or "model"
        train = train_split(console, chosen, "no calibration puzzles, so no static activation scales")
        reasoner = chosen.load()
        with console.progress(f"{name}: the ladder x {len(test)} puzzles", len(ladder()) * len(test)) as advance:
            gates.append(
                gate_of(name, reasoner, test, train, steps=steps, store=results, executor=where, seed=seed, progress=advance)
            )
        own = gates[-1].own(reasoner.sha256, tolerance) if keep else None
        if own is not None:
            kept[own_gate.keep(own, reasoner)] = own.min_fidelity
        elif keep:
            console.note(f"{name}: nothing is kept, because no threshold follows")
    document = summary(gates, tolerance)
    files = [write(folder, "gate.json", json_text(document)), write(folder, "gate.csv", csv_text(document["points"]))]
    files += _page(console, folder, document, command)
    console.emit_json({**document, "files": files, "kept": list(kept)})
    if not console.json:
        _show(console, document, folder)
        for path, least in kept.items():
            console.print(f"kept for `recurc build`: {path}, at least {least:g}")


def _check_number(n: int, tolerance: float, checkpoint: str) -> None:
    """That so many puzzles tell harm from none. Raises UsageError."""
    from recurc.study.ladder import least_puzzles

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


def _page(console: Console, folder: Path, document: dict[str, Any], command: str) -> list[Path]:
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
    return write_results(folder, "gate", sweep_page.gate_results(document, drawn, command))


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
