"""What asking again gives on puzzles that the setting was not chosen on: `python benchmarks/restarts.py`; writes restarts.md.

Every setting was chosen on the first puzzles of a model's test split, those of the column "chosen on"; the others show what it
is worth. Device arithmetic on this computer (the host engine), weights calibrated with the models' own training puzzles. Takes
some ten minutes of one core.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import recurc
from recurc.dataset import Dataset, load_dataset
from recurc.resources import bundled_models
from recurc.solve import Policy
from recurc.symmetries import draw, named

PAGE = Path(__file__).with_name("restarts.md")
FORMS, SEED = 24, 0
HEAD = """# Asked again: puzzles that nothing was chosen on

Written by `python benchmarks/restarts.py`. A policy of "B 4, K 16 x 4, theta 3" is a first run of at most 4 supervision steps
and up to 16 others of as many, each in another form of the puzzle; a run ends where the halting margin is above theta, and its
answer is believed. It was chosen on the first puzzles of the test split and measured on the rest, in the device's arithmetic.
Errors are standard errors. "Wrong": of those that are called solved.

| model, weights | policy | chosen on | exact there | held out | exact there | mean steps | most steps | solved | wrong |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Case:
    """chosen: puzzles from 0 on; end: where the held-out ones end."""

    model: str
    weights: str
    symmetry: str
    chosen: int
    end: int
    policy: Policy


CASES = (
    Case("sudoku9-mlp", "int4", "sudoku:3x3", 512, 1024, Policy(4, 16, 4, 3.0, 0)),
    Case("sudoku9-mlp", "int3", "sudoku:3x3", 512, 1024, Policy(4, 16, 4, 3.0, 0)),
    Case("sudoku9-mlp", "int2", "sudoku:3x3", 256, 512, Policy(8, 16, 8, 5.0, 0)),
    Case("sudoku9-paper", "int4", "sudoku:3x3", 64, 192, Policy(4, 16, 4, 4.0, 0)),
    Case("sudoku6-attn", "int8", "sudoku:2x3", 256, 512, Policy(4, 16, 4, 2.0, 0)),
    Case("sudoku6-attn", "int2", "sudoku:2x3", 256, 512, Policy(6, 16, 6, 3.0, 0)),
)


def part(data: Dataset, begin: int, end: int) -> Dataset:
    return replace(data, inputs=data.inputs[begin:end], labels=data.labels[begin:end], puzzle_ids=data.puzzle_ids[begin:end])


def row(case: Case) -> str:
    """A row of the page."""
    folder = bundled_models()[case.model] / "data"
    data, p = load_dataset(folder, "test"), case.policy
    forms = draw(named(case.symmetry, data.seq_len, data.vocab_size), FORMS, SEED)
    quantized = recurc.load(case.model).quantize(case.weights, load_dataset(folder, "train"))
    chosen, held = (
        quantized.solve(part(data, *ends), p, forms).as_dict() for ends in ((0, case.chosen), (case.chosen, case.end))
    )

    def exact(found: dict) -> str:
        return f"{100 * found['exact']:.1f} ± {100 * found['exact_error']:.1f} %"

    return (
        f"| {case.model} {case.weights} | B {p.steps}, K {p.restarts} x {p.restart_steps}, theta {p.threshold:g} "
        f"| 0 to {case.chosen - 1} | {exact(chosen)} @ {chosen['mean_steps']:.2f} | {case.chosen} to {case.end - 1} "
        f"| **{exact(held)}** | {held['mean_steps']:.2f} ± {held['mean_steps_error']:.2f} | {held['worst_steps']} "
        f"| {held['solved']} of {case.end - case.chosen} | {held['wrong_solved']} |\n"
    )


def main() -> None:
    rows = []
    for case in CASES:
        rows.append(row(case))
        print(rows[-1], end="", file=sys.stderr)
    PAGE.write_text(HEAD + "".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
