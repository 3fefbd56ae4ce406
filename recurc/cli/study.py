"""`recurc study`: every published compression of a checkpoint, scored, in one table with definitions and a verdict."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.groups import takes
from recurc.cli.common.options import (
    Source,
    checkpoint_argument,
    data_option,
    limit_option,
    pass_console,
    seed_option,
    train_split,
)
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.research import Computing, can_plot, check_results, compute_options, results_option, write, write_results
from recurc.cli.common.solving import Asking, asking_options, labelled
from recurc.errors import UsageError
from recurc.solve import ACCEPT

if TYPE_CHECKING:
    from recurc.cli.common.options import Model
    from recurc.dataset import Dataset
    from recurc.evaluate.measured import Asking as AskedAgain
    from recurc.models.reasoner import Reasoner
    from recurc.study.methods import Method

DEFAULT_LIMIT = 64


@dataclass(frozen=True)
class Wanted:
    """The methods that are studied, and what those learn from that learn."""

    methods: str
    outliers: bool
    train: str | None
    updates: int | None


@dataclass(frozen=True)
class Running:
    """Supervision steps (None: as trained), on how many puzzles, and the seed of what is drawn."""

    steps: int | None
    limit: int
    seed: int


@click.command()
@checkpoint_argument()
@data_option
@click.option(
    "--methods",
    default="",
    metavar="M,...",
    help="Methods or groups of them: weights, activations, toolchains, "
    "structure, training (default: all). An unknown one is answered with the list.",
)
@click.option(
    "--outliers", is_flag=True, help="Study beside it a copy that computes the same function with outliers in its weights."
)
@click.option(
    "--train",
    metavar="DIR",
    default=None,
    help="Dataset directory whose train split methods learn from (default: that of --data).",
)
@click.option(
    "--updates",
    type=click.IntRange(1, 1_000_000),
    default=None,
    metavar="N",
    help="Optimizer updates of the long training (default: 400); others take at most as many.",
)
@click.option(
    "--steps", type=click.IntRange(1, 255), default=None, metavar="N", help="Supervision steps (default: as trained)."
)
@limit_option(DEFAULT_LIMIT)
@seed_option
@asking_options("Beside one run of all steps: ")
@compute_options
@results_option("NAME-study")
@takes(source=Source, running=Running, wanted=Wanted, asking=Asking, computing=Computing)
@pass_console
def command(
    console: Console, out: Path | None, source: Source, running: Running, wanted: Wanted, asking: Asking, computing: Computing
) -> None:
    """Which compressions CHECKPOINT survives: weights, activations, other toolchains, structure, training.

    Trained models and scores are kept by content: interrupted or repeated, it goes on with what is there.
    """
    from recurc.report.results import near
    from recurc.study.methods import chosen as chosen_methods
    from recurc.study.outliers import outlier_copy
    from recurc.study.study import Puzzles, as_csv, study, work
    from recurc.study.verdict import beside_outliers, verdict
    from recurc.study.workbench import Means

    model = source.model(console)
    name = Path(model.checkpoint).name or "model"
    folder = out or Path("build") / f"{name}-study"
    check_results(folder)
    reasoner = model.load()
    calibration = train_split(console, model, "no training puzzles, so methods that need some are left out")
    test, learning = model.dataset("test", labels=True).take(running.limit), _learning(wanted.train)
    calibration, learning = calibration or learning, learning or calibration
    if wanted.train is not None and not any(m.schooling for m in chosen_methods(_names(wanted.methods), reasoner)):
        raise UsageError(
            "--train names puzzles to learn from, and no chosen method learns",
            where="--train",
            next="Leave it out, or choose a method of the group training",
        )
    asked = chosen_methods(_names(wanted.methods), reasoner, wanted.updates, data=learning is not None)
    todo = [(name, reasoner, asked)]
    if wanted.outliers:
        todo.append((f"{name}, outlier copy", outlier_copy(reasoner), [m for m in asked if not m.functional]))
    results, total = computing.store(console), sum(work(ms, len(test), len(learning or ())) for _, _, ms in todo)
    again = _asking(console, model, reasoner, asking, running)
    tables = []
    with computing.executor() as where, console.progress(name, total, "puzzles and updates") as advance:
        for title, subject, ms in todo:
            tables.append(
                study(
                    subject,
                    Puzzles(test, calibration, learning),
                    ms,
                    steps=running.steps,
                    means=Means(where, results, running.seed),
                    asking=again,
                    note=console.note,
                    progress=functools.partial(_advance, advance, title),
                )
            )
    mixer, count = reasoner.config.mixer, len(learning or ())
    document = {
        "checkpoint": reasoner.source,
        "checkpoint_sha256": reasoner.sha256,
        "data": str(model.data),
        "n": len(test),
        "steps": tables[0][0].outcome.steps,
        "mixer": mixer,
        "learning": {"puzzles": count, "data": str(wanted.train or model.data)} if learning is not None else None,
        "subjects": [
            {"name": title, "verdict": verdict(rows, mixer=mixer, learning=count), "rows": [row.as_dict() for row in rows]}
            for (title, _, _), rows in zip(todo, tables)
        ],
        "beside": beside_outliers(tables[0], tables[1]) if wanted.outliers else [],
        "remarks": _remarks(asked, count, near(wanted.train or str(model.data))),
    }
    files = [write(folder, "study.csv" if not i else "study-outliers.csv", as_csv(rows)) for i, rows in enumerate(tables)]
    files += [write(folder, "study.json", json_text(document)), *_page(console, folder, name, document)]
    console.emit_json({**document, "files": files})
    if not console.json:
        _show(console, document, folder)


def _asking(console: Console, model: Model, reasoner: Reasoner, asking: Asking, running: Running) -> AskedAgain | None:
    """How puzzles are asked again, by the checkpoint's own halting rule where one is kept; None where there is neither a
    symmetry nor noise."""
    from recurc.evaluate.halting import stayed_text
    from recurc.evaluate.measured import Asking as AskedAgain
    from recurc.evaluate.own_halting import halting_of, kept

    symmetry, forms = asking.forms(console, labelled(model, asking.symmetry), reasoner.config, running.seed)
    if not forms and not asking.noise:
        return None
    own = kept(reasoner)
    halt, whence = halting_of(reasoner) if own is None else (own.halt, str(own))
    console.assumed([f"a run halts above {halt.threshold:g}{stayed_text(halt.patience)}: {whence}"])
    steps = running.steps or reasoner.config.halt_max_steps
    return AskedAgain(asking.policy(steps, halt, own.accept if own is not None else ACCEPT[0], running.seed), forms, symmetry)


def _advance(advance: Callable[..., None], title: str, n: float) -> None:
    advance(n, note=title)


def _names(methods: str) -> list[str]:
    return [part.strip() for part in methods.split(",") if part.strip()]


def _learning(train: str | None) -> Dataset | None:
    """The train split that --train names. Raises InputError."""
    from recurc.dataset import load_dataset

    return None if train is None else load_dataset(Path(train).expanduser(), "train")


def _remarks(methods: list[Method], count: int, where: str) -> list[str]:
    trained = [m.name for m in methods if m.schooling is not None]
    return [f"Learned from {count} puzzles of {where}: {', '.join(trained)}."] if trained else []


def _page(console: Console, folder: Path, name: str, document: dict[str, Any]) -> list[Path]:
    from recurc.report import study_page

    drawn = study_page.draw(document["subjects"], folder) if can_plot(console) else []
    found = study_page.results(f"{name}: what it survives", document, drawn, shlex.join(["recurc", *sys.argv[1:]]))
    return write_results(folder, "study", found)


def _show(console: Console, document: dict[str, Any], folder: Path) -> None:
    from recurc.report import study_page

    for subject in document["subjects"]:
        console.table(
            study_page.COLUMNS,
            [study_page.cells(line) for line in subject["rows"]],
            text_columns=("by",),
            least=study_page.LEAST,
            title=f"{subject['name']}, {document['n']} test puzzles, {document['steps']} steps",
        )
        for finding in subject["verdict"]:
            console.print(finding)
            console.print()
    for finding in document["beside"]:
        console.print(finding)
        console.print()
    console.pairs(study_page.definitions(document["subjects"][0]["rows"]))
    for note in (*study_page.NOTES, *document["remarks"]):
        console.print(note, style="dim")
    console.print(f"table, plots and page: {folder / 'study.html'}")
