"""What `recurc tune` does with --solve, and what it refuses."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recurc.cli.common.groups import Command, given_options
from recurc.cli.common.options import Model
from recurc.cli.common.output import Console, json_text
from recurc.cli.common.project import PROJECT_FILE, Project, project_text
from recurc.cli.common.quantizing import Learning
from recurc.cli.common.research import Computing, write
from recurc.cli.common.solving import Asking, labelled
from recurc.errors import UsageError
from recurc.files import write_whole
from recurc.noise import START
from recurc.words import said

if TYPE_CHECKING:
    from recurc.dataset import Dataset
    from recurc.study.pricing import Prices
    from recurc.study.settings import Aim
    from recurc.study.variants import Variant
    from recurc.study.workbench import Workbench

DEFAULT_TOLERANCE = 2.0
_PROCEDURE = ("first_steps", "restarts", "restart_steps", "accept", "noise", "noise_at")  # keys of the recipe's table solve


@dataclass(frozen=True)
class Goal:
    """What must be kept, on how many puzzles, and what is to be cheap; whether puzzles are asked again, in which other forms,
    and how many steps one may take."""

    tolerance: float | None
    min_fidelity: float | None
    minimize: str
    limit: int
    solve: bool = False
    symmetry: str | None = None
    worst_steps: int | None = None

    def aim(self) -> Aim:
        from recurc.study.settings import Aim

        if self.min_fidelity is not None:
            return Aim("phi", 1 - self.min_fidelity)
        return Aim("exact", (DEFAULT_TOLERANCE if self.tolerance is None else self.tolerance) / 100)


@dataclass(frozen=True)
class Files:
    """Where the results are written, and the recipe once more."""

    out: Path | None
    toml: Path | None


@dataclass(frozen=True)
class Wanted:
    """The command's options, by group."""

    goal: Goal
    learning: Learning
    computing: Computing
    files: Files


@dataclass(frozen=True)
class SearchedAmong:
    """What measures and prices variants, what is aimed at and minimized, puzzles to search on and to confirm with, variants."""

    bench: Workbench
    prices: Prices
    aim: Aim
    measure: str
    searched: Dataset
    held: Dataset
    variants: Sequence[Variant]


def tuned_solving_options(function: Command) -> Command:
    """--solve, --symmetry and --worst-steps."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "--worst-steps",
            type=click.IntRange(min=1),
            default=None,
            metavar="N",
            help="With --solve: steps of all runs that a puzzle may take at most (default: any number).",
        ),
        click.option("--symmetry", metavar="NAME", help="With --solve: the other forms (default: as the labels allow)."),
        click.option(
            "--solve",
            is_flag=True,
            help="Search the procedure that asks again too: runs, restarts, theta, patience, noise, and what is believed.",
        ),
    )
    for option in options:
        function = option(function)
    return function


def check_solving(goal: Goal) -> None:
    """That what is asked of solving goes together. Raises UsageError."""
    alone = next(given_options("symmetry", "worst_steps"), None)
    if alone and not goal.solve:
        raise UsageError("it says how to solve", where=alone, next="Add --solve, or leave it out")
    if goal.solve and goal.min_fidelity is not None:
        raise UsageError(
            "--solve and --min-fidelity exclude each other",
            why="whether an answer that was asked for again is right, labels tell",
            next="Leave one of them out",
        )


def device_names(names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Precisions that a build can have. Raises UsageError."""
    from recurc.quant.weights import precisions

    for name in names or ():
        if name not in precisions() or precisions()[name].lossy:
            raise UsageError(
                f"{name} is for comparison only",
                where="--precisions",
                why="no build can have it",
                next="Choose among " + ", ".join(n for n, p in precisions().items() if not p.lossy),
            )
    return names or ()


def measured_by(wanted: str, known: tuple[str, ...], board: str) -> str:
    """What is minimized: what was asked for, or the best that is known."""
    if wanted == "auto":
        return known[0]
    if wanted not in known:
        raise UsageError(
            f"no {wanted} is known for {board}",
            where="--minimize",
            why=f"known are {', '.join(known)}",
            next="Choose one of them, or leave it out",
        )
    return wanted


def tune_solving(console: Console, chosen: Model, among: SearchedAmong, wanted: Wanted, folder: Path) -> None:
    """Search variants with the procedure that asks again; write tune.json and the recipe."""
    from recurc.study.tune_solving import SolveSearch

    goal, learning, files, aim, prices = wanted.goal, wanted.learning, wanted.files, among.aim, among.prices
    examples, config = labelled(chosen, goal.symmetry), among.bench.reasoner.config
    symmetry, forms = Asking(symmetry=goal.symmetry).forms(console, examples, config, learning.seed)
    with wanted.computing.executor() as where:
        search = SolveSearch(
            among.bench,
            prices,
            aim,
            among.measure,
            among.searched,
            among.held,
            forms,
            goal.worst_steps,
            where,
            console.progress,
            learning.seed,
        )
        found = search.run(among.variants)
    best = found.choice.as_dict()
    full = {"exact": found.full.exact, "n": found.full.n, "steps": found.full.steps, "exact_held": found.held_full}
    document: dict[str, Any] = {
        "name": Path(chosen.checkpoint).name or "model",
        "target": prices.board.name,
        "aim": {"kind": aim.kind, "limit": aim.limit},
        "minimize": among.measure,
        "symmetry": symmetry,
        "worst_steps": goal.worst_steps,
        "full": full,
        "choice": best,
        "held_out": {**found.held.as_dict(), "confirmed": found.confirmed},
        "tried": [t.as_dict() for t in found.tried],
        "passed_over": [t.as_dict() for t in found.passed_over],
    }
    sentences = _sentences(document)
    recipe = _recipe(best, symmetry, chosen, (prices.board.name, learning), sentences)
    written = [write(folder, PROJECT_FILE, recipe), write(folder, "tune.json", json_text(document))]
    if files.toml is not None:
        write_whole(files.toml, recipe, "the recipe", "Name a file that you may write with --write FILE")
        written.append(files.toml)
    console.emit_json({**document, "files": written, "recipe": recipe})
    if console.json:
        return
    for text in sentences:
        console.print(text)
    console.table(
        ("variant", "H", "L", "puzzles", "lost to fp32", "mean steps", "time (est.)", "image bytes"),
        [_cells(t) for t in document["tried"]],
        title="All variants, by the default procedure, on a few puzzles",
    )
    console.print(f"recipe: {files.toml or folder / PROJECT_FILE}; all that was tried: {folder / 'tune.json'}")


def _cells(t: dict[str, Any]) -> tuple[str, ...]:
    from recurc.report.timing import seconds_text

    seconds = "-" if t["seconds"] is None else seconds_text(t["seconds"])
    lost = f"{100 * t['deficit']:+.1f} ± {100 * t['deficit_se']:.1f}"
    return (t["stored"], str(t["h_cycles"]), str(t["l_cycles"]), str(t["n"]), lost, f"{t['mean_steps']:.2f}", seconds,
            f"{t['image_bytes']:,}")  # fmt: skip


def _sentences(document: dict[str, Any]) -> list[str]:
    """What was chosen, and how it did on the puzzles that the search had not seen."""
    from recurc.evaluate.halting import stayed_text

    c, h, full = document["choice"], document["held_out"], document["full"]
    how = "in another form"
    if c.get("noise"):
        how = f"with noise of {c['noise']:g} {'at the start' if c['noise_at'] == START else 'before each step'}"
    restarts = f", then up to {c['restarts']} of {c['restart_steps']} {how}" if c["restarts"] else ""
    verdict = "confirmed" if h["confirmed"] else "not confirmed, though not contradicted"
    return [
        f"{c['stored']}, H {c['h_cycles']}, L {c['l_cycles']}: a run of {c['first_steps']} steps{restarts}; a run ends above "
        f"{c['theta']:g}{stayed_text(c['patience'])}, believed by {c['accept']}.",
        f"{100 * c['exact']:.1f} % of {c['n']} puzzles exact in {c['mean_steps']:.2f} steps on average, at most "
        f"{c['policy_worst']} (fp32 in {full['steps']} steps: {100 * full['exact']:.1f} %).",
        f"On {h['n']} others {100 * h['exact']:.1f} % in {h['mean_steps']:.2f} steps (fp32 {100 * full['exact_held']:.1f} %): "
        f"{verdict}; {h['solved']} called solved, {h['wrong_solved']} of them wrongly.",
    ]


def _recipe(best: dict[str, Any], symmetry: str, chosen: Model, place: tuple[str, Learning], sentences: list[str]) -> str:
    """The project file's text. place: the board, and how weights are calibrated."""
    from recurc.resources import bundled_models

    target, learning = place
    bundled = chosen.checkpoint in bundled_models()
    project = Project(
        checkpoint=chosen.checkpoint if bundled else os.path.realpath(Path(chosen.checkpoint).expanduser()),
        data=os.path.realpath(chosen.data) if chosen.named and chosen.data is not None else None,
        precision=best["precision"],
        calibration=learning.calibration,
        calibration_puzzles=learning.puzzles if learning.puzzles != Learning.puzzles else None,
        seed=learning.seed or None,
        halt_threshold=best["theta"],
        min_steps=1,
        patience=best["patience"],
        target=target,
        lowering={"steps": max(best["first_steps"], best["restart_steps"]),
                  **{name: best[name] for name in ("h_cycles", "l_cycles", "carry")}},
        solving={"symmetry": symmetry, **{name: best[name] for name in _PROCEDURE if name in best}},
    )  # fmt: skip
    return project_text(project, said("\n".join(["recurc tune --solve", *sentences])))
