"""Accuracy and fidelity of a quantized model, with the device's arithmetic, on this computer."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.dataset import Dataset
from recurc.evaluate.fidelity import carry_fidelity, mean_and_error
from recurc.evaluate.runs import Progress, reference_runs, run_engine
from recurc.evaluate.scores import Scores, score
from recurc.evaluate.stopping import Halting, halting
from recurc.models.reasoner import Reasoner
from recurc.quant.model import QuantizedModel
from recurc.targets.host import HostEngine


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
    fidelity_first_error: float | None = None
    fidelity_last_error: float | None = None
    halting: Halting | None = None

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
    reasoner: Reasoner,
    model: QuantizedModel,
    engine: HostEngine,
    data: Dataset,
    *,
    halt: bool = False,
    threshold: float = 0.0,
    min_steps: int = 1,
    fidelity_puzzles: int = 64,
    progress: Progress | None = None,
    steps: int | None = None,
) -> EvalResult:
    """Accuracy of a model on a dataset, and its fidelity to the fp32 reference.

    All supervision steps are run, as the reference does; with `halt` the answer at the step where the halting head
    stops is scored beside that of the last step.

    Args:
        steps: at most those that the model was lowered for (default: these).
        progress: called with 1 after each puzzle, and after each puzzle of the fidelity run.
    """
    steps = model.program.steps if steps is None else steps
    keep = min(fidelity_puzzles, len(data.inputs))
    runs = run_engine(engine, data.inputs, data.puzzle_ids, steps, threshold=threshold, keep_carries=keep, progress=progress)
    expected, exact = reference_runs(reasoner, data.inputs[:keep], data.puzzle_ids[:keep], model, steps, progress)
    reference, beside = (score(t, data.labels[:keep], data.valid[:keep]) for t in (exact, runs.tokens[:keep, -1]))
    marks = sorted({s for s in (1, 2, 4, 8, 16, 32, 64) if s < steps} | {steps})
    by_step = {s: score(runs.tokens[:, s - 1], data.labels, data.valid) for s in marks}
    stopped = halting(runs, data, min_steps)
    first, last = (mean_and_error(carry_fidelity(runs.carries[:, i], expected[:, i])) for i in (0, 1))
    return EvalResult(
        len(data.inputs),
        steps,
        by_step[steps],
        by_step,
        first[0],
        last[0],
        keep,
        stopped.scores if halt else None,
        stopped.mean_steps if halt else float(steps),
        reference,
        beside,
        first[1],
        last[1],
        stopped,
    )
