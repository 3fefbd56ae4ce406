"""The gate of `build`: fidelity after one supervision step, on which inputs, and how sure.

Calibration makes weights for the inputs that it saw, so fidelity on those is better than on others: it is judged on
training puzzles that calibration did not use, as long as there are enough of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recurc.arguments import argument
from recurc.dataset import Dataset
from recurc.documents.commands import GateEntry
from recurc.evaluate.candidate import Candidate
from recurc.evaluate.fidelity import carry_fidelity, mean_and_error
from recurc.evaluate.layer_damage import layer_damage
from recurc.evaluate.runs import Kept, run_engine, run_reference

GATE_PUZZLES = 32
GATE_MACS = 6e10  # compute that the gate may take; large models are judged on fewer puzzles
LEAST_PUZZLES = 8  # fewer say too little, where the compute for more is there
SPARE = "training puzzles that calibration did not use"
CALIBRATION = "calibration puzzles"
TRAINING = "training puzzles"
RANDOM = "random inputs"


@dataclass(frozen=True)
class Gate:
    """Fidelity after one supervision step on `puzzles` inputs, and the layers that lose most (name, relative error).

    error: the standard error over the inputs; None of a single one. inputs: what they are, in words. rows: which examples of
    the training split. note: what is to be said of the choice.
    """

    fidelity: float
    puzzles: int
    inputs: str
    damage: tuple[tuple[str, float], ...]
    error: float | None = None
    rows: tuple[int, ...] = ()
    note: str = ""

    def as_dict(self) -> GateEntry:
        """For documents and a build's manifest."""
        return {
            "fidelity": self.fidelity,
            "fidelity_error": self.error,
            "fidelity_puzzles": self.puzzles,
            "fidelity_inputs": self.inputs,
            "fidelity_rows": list(self.rows),
        }


@dataclass(frozen=True)
class Answers:
    """How the procedure that a build runs answers `n` test puzzles: `right` of them, where fp32 has `fp32_right` of the same
    after all steps. Fidelity is of one run, and refuses what asking again makes right."""

    n: int
    right: int
    fp32_right: int
    mean_steps: float

    @property
    def keep(self) -> bool:
        """Whether they are as good as fp32's, on as many puzzles as fidelity is judged on."""
        return self.n >= GATE_PUZZLES and self.right >= self.fp32_right

    def __str__(self) -> str:
        few = f", too few to tell: {GATE_PUZZLES} do" if self.n < GATE_PUZZLES else ""
        return f"asked again, it answers {self.right} of {self.n} test puzzles right (fp32: {self.fp32_right}{few})"


@dataclass(frozen=True)
class GateInputs:
    """Tokens [n, seq], identifiers [n], what they are, which examples of the training split, and what is to be said."""

    inputs: np.ndarray
    puzzle_ids: np.ndarray
    kind: str
    rows: tuple[int, ...] = ()
    note: str = ""


def puzzles_for(macs_per_step: int) -> int:
    """How many puzzles a model of such steps is judged on."""
    return int(max(1, min(GATE_PUZZLES, GATE_MACS // max(macs_per_step, 1))))


def choose(train: Dataset, drawn: int, used: int, seed: int, count: int) -> GateInputs:
    """`count` training puzzles to judge on.

    Args:
        drawn: how many calibration was given, the first of the order that the seed draws. used: how many of them decided the
            weights; 0 where the precision learns nothing from data.
    """
    order = train.order(seed)
    taken = order[:used]
    spare = train.unlike(taken, [*order[drawn:], *order[used:drawn]])[:count]
    if not used or len(spare) >= min(count, LEAST_PUZZLES):
        return _chosen(train, spare, SPARE if used else TRAINING)
    left = f"only {len(spare)} of" if len(spare) else "none of"
    left += f" the {len(train):,} training puzzles {'is' if len(spare) == 1 else 'are'} left"
    return _chosen(
        train,
        taken[:count],
        CALIBRATION,
        "fidelity is judged on the calibration's own puzzles, which is "
        f"optimistic: {left}; a smaller {argument('puzzles', option='calibration-puzzles')} leaves more",
    )


def _chosen(train: Dataset, rows: np.ndarray, kind: str, note: str = "") -> GateInputs:
    return GateInputs(train.inputs[rows], train.puzzle_ids[rows], kind, tuple(int(i) for i in rows), note)


def random_inputs(vocab_size: int, seq_len: int, count: int) -> GateInputs:
    """Inputs where there are no puzzles: they tell little, so they are no verdict."""
    inputs = np.random.default_rng(0).integers(0, vocab_size, (count, seq_len)).astype(np.uint8)
    return GateInputs(inputs, np.zeros(count, dtype=np.int64), RANDOM)


def judge(candidate: Candidate, judged: GateInputs, moments: Mapping[str, np.ndarray]) -> Gate:
    """The gate's verdict on a model. moments: of the layers' inputs, from calibration; empty where there was none."""
    n = len(judged.inputs)
    run = run_engine(candidate.engine, judged.inputs, judged.puzzle_ids, 1, kept=Kept((1,)))
    expected = run_reference(candidate.reasoner, judged.inputs, judged.puzzle_ids, candidate.depth(1))
    phi, error = mean_and_error(carry_fidelity(run.z_H[0], expected.z_H[0]))
    damage = layer_damage(candidate.model.program, candidate.model.weights, candidate.reasoner.tensors, moments)
    return Gate(phi, n, judged.kind, tuple(damage[:3]), error, judged.rows, judged.note)
