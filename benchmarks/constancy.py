"""Writes benchmarks/constancy.md: how little a step's instructions depend on the puzzle, and how long the hook waits, counted.

    python benchmarks/constancy.py [--puzzles N] [--boards NAME,...]

Bundled models in the emulator, which counts; beside it what `recurc report` says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import FOLDER, table  # noqa: E402  found through the path set above
from benchmarks.counting import build_steps, run_counts  # noqa: E402
from recurc.models.checkpoint import load  # noqa: E402
from recurc.plan.cost import MARGIN, estimate, work_summary  # noqa: E402
from recurc.plan.hook import macs_between, op_times  # noqa: E402
from recurc.plan.kernels import choose_kernels  # noqa: E402
from recurc.quant.model import QuantizedModel, quantize_model  # noqa: E402
from recurc.quant.weights import precision_named  # noqa: E402
from recurc.resources import bundled_models  # noqa: E402
from recurc.targets.boards import Board, load_board  # noqa: E402
from recurc.targets.fit import early_plan  # noqa: E402

PAGE = FOLDER / "constancy.md"
MODELS = ("sudoku4-tiny", "hrm-sudoku4")
BOARDS = ("mps2-an500", "mps3-an547", "riscv32-virt")
STEPS = 2


@dataclass(frozen=True)
class Counted:
    """Instructions of each step that was run [puzzles, steps], the longest time between calls of the hook in any of them, and
    what was said beforehand: of a step, with its worst error, and of that time."""

    steps: np.ndarray
    hook: int
    estimated: int
    most: int
    hook_most: int

    @property
    def spread(self) -> float:
        """Most less least, of steps of the same number, as a share."""
        return float(((self.steps.max(axis=0) - self.steps.min(axis=0)) / self.steps.min(axis=0)).max())


def count(board: Board, model: QuantizedModel, puzzles: np.ndarray, out: Path, steps: int = STEPS) -> Counted:
    """Run puzzles [n, seq_len] on an emulated board. Raises ToolchainError: no compiler for it."""
    elf = build_steps(board, model, out, steps=steps, puzzles=puzzles)
    ticks = np.array(run_counts(board, elf, 2 * steps * len(puzzles))).reshape(len(puzzles), steps, 2)
    found = np.round(ticks / board.ticks.per_instruction).astype(int)
    plan = early_plan(model.program, model.forms, board, choose_kernels(board.features))
    work = work_summary(plan.program, plan.layout, plan.forms, plan.kernels)
    said = estimate(work, board, plan.placement["image"])
    more = op_times(work, board, plan.placement["image"], macs_between(said))
    assert said is not None and more is not None
    ops, hook = more
    most = sum(op["times"] * op["most"] for op in ops)
    return Counted(found[:, :, 0], int(found[:, :, 1].max()), said["instructions"], most, hook["instructions"])


def puzzles_of(model: str, n: int) -> np.ndarray:
    """The first test puzzles of a bundled model, and two that no dataset has: nothing given, and one token everywhere."""
    tokens = np.load(bundled_models()[model] / "data/test/all__inputs.npy")[: n - 2]
    return np.concatenate([tokens, np.full((2, tokens.shape[1]), [[1], [2]])]).astype(np.uint8)


def main() -> None:
    """Count, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--puzzles", type=int, default=8)
    parser.add_argument("--boards", default=",".join(BOARDS))
    asked = parser.parse_args()
    rows = []
    for name in MODELS:
        model = quantize_model(load(name), precision_named("int4"))
        for board in asked.boards.split(","):
            with tempfile.TemporaryDirectory() as folder:
                found = count(load_board(board), model, puzzles_of(name, asked.puzzles), Path(folder))
            steps = found.steps
            print(name, board, steps.min(), steps.max(), found.spread, found.most, found.hook, found.hook_most)
            rows.append([name, board, int(steps.min()), int(steps.max()), f"{1e6 * found.spread:.1f}", found.most, found.hook,
                         found.hook_most])  # fmt: skip
    head = ("model", "board", "least", "most", "spread, millionths", "said: at most", "hook, counted", "hook, said")
    words = f"""
# What a step takes does not depend on the puzzle

Instructions of a supervision step, counted in QEMU over {asked.puzzles} puzzles ({STEPS} steps each), int4 weights, among them
an empty puzzle and one with the same token in every cell. The spread is of one step over all puzzles. Beside it is what
`recurc report` says before anything is built: a step at most ({100 * MARGIN:.0f} % above its estimate), and the longest time
between two calls of the hook, both in instructions. `python benchmarks/constancy.py` writes this page.
"""
    PAGE.write_text(f"{words.lstrip()}\n{table(head, rows, 2)}\n")


if __name__ == "__main__":
    main()
