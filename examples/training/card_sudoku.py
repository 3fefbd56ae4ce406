"""What the card of a Sudoku model says of its task."""

from __future__ import annotations

from .card_text import CardTexts, halting_rule
from .recipe import Recipe

SPLIT = {
    4: "The split is by puzzle: there are only two essentially different 4x4 solution grids, so the test set shares "
    "solution grids with training, but no test puzzle is a symmetry of a training puzzle.",
    6: "The split is by solution grid: of the 49 essentially different 6x6 grids, those of the test set occur in no "
    "training puzzle, under any symmetry.",
    9: "The split is by solution grid: no test grid is a symmetry (digits, rows, columns, bands, stacks, "
    "transposition) of a training grid.",
}


def _bucket(bucket: dict) -> str:
    low, high = bucket["givens"]
    return f"{low} givens" if low == high else f"{low}-{high} givens"


def texts(metrics: dict, recipe: Recipe) -> CardTexts:
    task, held = recipe.task, metrics["held_out"]
    given = "-".join(map(str, task.givens))
    test_given = "-".join(map(str, task.test_givens))
    drawn = "a random symmetry" if task.n == 4 else "cells of the solution given back, then a random symmetry"
    measured = "" if held["n"] == recipe.export.test_slice else f", of which the first {held['n']} were measured"
    harder = ""
    if task.test_givens[0] < task.givens[0]:
        harder = f"Puzzles with fewer than {task.givens[0]} givens were not trained on."
    vocab = recipe.model.vocab_size
    return CardTexts(
        task=f"Sudoku {task.n}x{task.n}, tokens 0 PAD, 1 blank, digit d -> d + 1 (vocabulary {vocab})",
        licence="Apache-2.0 (weights and puzzles; both made by the scripts of this project)",
        figures=f"""
            Puzzles solved completely, in %, after a number of supervision steps. Held-out puzzles with {test_given} givens,
            computed in {metrics["compute"]} from the weights as stored. *Early exit* stops at the first step
            {halting_rule(recipe.model.family)}. {harder} {SPLIT[task.n]}""",
        bucket=_bucket,
        drawn=f"Puzzles with {given} givens are drawn on the fly from {task.pool:,} base puzzles: {drawn}.",
        rows="""The puzzle embedding (one row) is trained by the same optimizer, where the original code uses sign-SGD.""",
        limits="""
            One puzzle size, and givens as in the tables: with fewer givens than trained on, or several solutions, expect
            wrong grids. The model can be confidently wrong: check a grid before you rely on it. Trained for minutes, not
            tuned for the best accuracy.""",
        files=f"`data/train`: {recipe.export.train_slice} training puzzles for calibration.\n"
        f"`data/test`: {recipe.export.test_slice} held-out puzzles{measured}.",
    )
