"""Accuracy and fidelity of a quantized model, with the device's arithmetic, on this computer."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.dataset import Dataset
from recurc.evaluate.candidate import Candidate
from recurc.evaluate.fidelity import carry_fidelity, mean_and_error
from recurc.evaluate.halting import Halt
from recurc.evaluate.runs import Kept, Progress, ends, run_engine, run_reference
from recurc.evaluate.scores import Scores, score
from recurc.evaluate.stopping import Halting, halting


@dataclass(frozen=True)
class EvalResult:
    """Result of `evaluate`.

    fidelity: phi after the first and the last step (1.0 = same direction), on `fidelity_n` puzzles, with its standard error;
    None of a single puzzle. halting: what the halting head would do, asked for or not.
    by_step: step -> Scores at 1, 2, 4, ... and the last. halted: scores when the halting head stops early, with
    mean_steps; None without halting. reference: fp32 after the last step on the fidelity puzzles, and the model on the same.
    """

    n: int
    steps: int
    scores: Scores
    by_step: dict[int, Scores]
    fidelity_first: float
    fidelity_last: float
    fidelity_n: int
    halted: Scores | None
    mean_steps: float
    reference: Scores
    beside_reference: Scores
    fidelity_first_error: float | None
    fidelity_last_error: float | None
    halting: Halting

    @property
    def final(self) -> Scores:
        """What was asked for: the scores where the halting head stops, or else after the last step."""
        return self.halted or self.scores

    @property
    def cell(self) -> float:
        return self.final.cell

    @property
    def exact(self) -> float:
        return self.final.exact

    @property
    def exact_error(self) -> float:
        return self.final.exact_error

    def __repr__(self) -> str:
        return f"EvalResult({self.final!r}, {self.mean_steps:.4g} steps, fidelity {self.fidelity_last:.4f})"


def evaluate(
    candidate: Candidate,
    data: Dataset,
    *,
    halt: Halt = Halt(),  # noqa: B008 - it is frozen
    halted: bool = False,
    fidelity_puzzles: int = 64,
    progress: Progress | None = None,
    steps: int | None = None,
) -> EvalResult:
    """Accuracy of a model on a dataset, and its fidelity to the fp32 reference.

    All supervision steps are run, as the reference does; with `halted` the answer at the step where the halting head
    stops is scored beside that of the last step.

    Args:
        halt: the halting rule, also of what the result tells of halting where it was not asked for.
        steps: at most those that the model was lowered for (default: these).
        progress: called with 1 after each puzzle, and after each puzzle of the fidelity run.
    """
    steps = candidate.model.program.steps if steps is None else steps
    n, keep = len(data.inputs), min(fidelity_puzzles, len(data.inputs))
    run = run_engine(candidate.engine, data.inputs, data.puzzle_ids, steps, kept=Kept(ends(steps), keep), progress=progress)
    fp32 = run_reference(candidate.reasoner, data.inputs[:keep], data.puzzle_ids[:keep], candidate.depth(steps), progress)
    valid = data.valid
    reference, beside = (score(t[-1, :keep], data.labels[:keep], valid[:keep]) for t in (fp32.tokens, run.tokens))
    marks = sorted({s for s in (1, 2, 4, 8, 16, 32, 64) if s < steps} | {steps})
    by_step = {s: score(run.tokens[s - 1], data.labels, valid) for s in marks}
    stopped = halting(run, data, halt)
    first, last = (mean_and_error(carry_fidelity(run.z_H[i], fp32.z_H[i])) for i in (0, -1))
    return EvalResult(
        n,
        steps,
        by_step[steps],
        by_step,
        first[0],
        last[0],
        keep,
        stopped.scores if halted else None,
        stopped.mean_steps if halted else float(steps),
        reference,
        beside,
        first[1],
        last[1],
        stopped,
    )
