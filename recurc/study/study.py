"""Which compressions a checkpoint survives: every method of the published study and what toolchains deploy, in one table.

A method is an entry of `methods`: its definition in words, the model that it puts in the checkpoint's place, and the
arithmetic that this runs in. All are scored on the same puzzles by the same mechanism (`recurc.study.workbench`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

import numpy as np

from recurc.dataset import Dataset
from recurc.errors import ToolchainError, UsageError
from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner
from recurc.study import compressions as c
from recurc.study.peers import PEERS, Peer, fp32_model, quantized_by_onnxruntime, stored_bytes
from recurc.study.runners import Part, measure
from recurc.study.variants import Outcome, Variant
from recurc.study.workbench import Executor, Workbench, reference_run

Note = Callable[[str], None]
Make = Callable[[Reasoner, Dataset, Callable[[int], None]], Reasoner]


@dataclass(frozen=True)
class Method:
    """One compression. group: of the table; definition: what exactly is done.

    precision, activations, method: the arithmetic (see Variant). make: the model in the checkpoint's place, None for the
    checkpoint itself; updates: optimizer updates that making it takes. peer: onnxruntime's pipeline instead of all that.
    attention_only: has no meaning for models that mix tokens by an MLP.
    """

    name: str
    group: str
    definition: str
    precision: str = "fp32"
    activations: str = "fp32"
    calibration: Optional[str] = None
    make: Optional[Make] = None
    updates: int = 0
    peer: Optional[Peer] = None
    attention_only: bool = False

    def variant(self, steps: Optional[int]) -> Variant:
        engine = "fake" if self.make is not None else "auto"  # the device's code is for models as they were loaded
        return Variant(self.precision, self.activations, steps=steps, method=self.calibration, engine=engine, name=self.name,
                       transform=self.name if self.make is not None else "")


def _qat(precision: str, recipe: c.Recipe) -> Make:
    return lambda model, data, progress: c.quantization_aware(model, data, precision, recipe, progress)


def _retrained(model: Reasoner, data: Dataset, progress: Callable[[int], None]) -> Reasoner:
    return c.retrained(c.linear_attention(model), data, c.RETRAIN, progress)


FP32 = Method("fp32", "reference", "the checkpoint, not quantized")
_ROWS = "activations int8 a row, dynamic"
METHODS: tuple[Method, ...] = (
    FP32,
    Method("int8", "weights", f"int8 symmetric a channel; {_ROWS}: the device's arithmetic", "int8", "int8-row"),
    Method("int4 naive", "weights", f"one scale a tensor, symmetric; {_ROWS}", "int4-naive", "int8-row"),
    Method("int4 naive, weights only", "weights", "the same weights, activations fp32: the published table's row", "int4-naive",
           "fp32"),
    Method("int4 channel symmetric", "weights", f"a scale a channel, -7..7; {_ROWS}", "int4-symmetric", "int8-row"),
    Method("int4 channel min-max", "weights", f"asymmetric a channel, the row's range, no data (the study's 'calibrated'); {_ROWS}",
           "int4", "int8-row", "min-max"),
    Method("int4 calibrated", "weights", f"asymmetric a channel, clip search and error feedback on calibration inputs; {_ROWS}",
           "int4", "int8-row", "gptq"),
    Method("int8 x int8 a tensor", "activations", "int8 weights; activations a scale a tensor, found at every call", "int8",
           "int8-tensor"),
    Method("int8 x int8 static", "activations", "int8 weights; activations one scale a layer from calibration: what static "
           "toolchains deploy", "int8", "int8-static"),
    Method("int8 x int4 a row", "activations", "int8 weights; activations int4 a row", "int8", "int4-row"),
    Method("int8 x int4 blocks", "activations", "int8 weights; activations int4 in blocks of 32, power-of-two scales", "int8",
           "int4-block32"),
    Method("int4 blocks x int4 blocks", "activations", "weights and activations int4 in blocks of 32, power-of-two scales",
           "int4-mx32", "int4-block32"),
    *(Method(p.name, "toolchains", p.definition, "int8", "fp32", peer=p) for p in PEERS),
    Method("pruned 25 %", "structure", "the quarter of each layer's rows with the least L2 norm set to zero, fp32",
           make=lambda model, data, progress: c.pruned(model)),
    Method("linear attention", "structure", "softmax replaced by elu + 1 features, the same weights, fp32", attention_only=True,
           make=lambda model, data, progress: c.linear_attention(model)),
    Method("linear attention, retrained", "training", f"the same after {c.RETRAIN.words}, fp32", make=_retrained,
           updates=c.RETRAIN.updates, attention_only=True),
    Method("distilled", "training", f"student of half the width, one layer, one H cycle; {c.DISTILL.words}, 0.7 KL at "
           "temperature 4 + 0.3 cross-entropy, fp32", updates=c.DISTILL.updates,
           make=lambda model, data, progress: c.distilled(model, data, c.DISTILL, progress)),
    Method("int4 naive, QAT short", "training", f"fake quantization in the recursion, straight-through; {c.QAT_SHORT.words}, "
           f"cross-entropy; {_ROWS}", "int4-naive", "int8-row", make=_qat("int4-naive", c.QAT_SHORT),
           updates=c.QAT_SHORT.updates),
    Method("int4 naive, QAT long", "training", f"the same, {c.QAT_LONG.words}", "int4-naive", "int8-row",
           make=_qat("int4-naive", c.QAT_LONG), updates=c.QAT_LONG.updates),
)


@dataclass(frozen=True)
class Row:
    """A method and what it scored; loss of exact against fp32 and its standard error; parameters of the model."""

    method: Method
    outcome: Outcome
    parameters: int
    loss: float
    loss_se: float
    losses: tuple[float, ...] = ()

    def fits(self, flash_bytes: int) -> bool:
        """Whether what is read fits so much flash beside 32 KB of code."""
        return self.outcome.bytes + (32 << 10) <= flash_bytes

    def as_dict(self) -> dict[str, Any]:
        o, m = self.outcome, self.method
        phi = {name: None if np.isnan(value) else value for name, value in (("phi_first", o.phi_first), ("phi_last", o.phi_last))}
        return {
            "name": m.name, "group": m.group, "definition": m.definition, "cell": o.cell, "exact": o.exact, **phi,
            "loss": self.loss, "loss_se": self.loss_se, "kept": o.kept, "bytes": o.bytes, "parameters": self.parameters,
            "fits_4mb": self.fits(4 << 20), "fits_8mb": self.fits(8 << 20), "engine": "onnxruntime" if m.peer else o.variant.engine,
            "updates": m.updates, "training_loss": None if not self.losses else {"first": self.losses[0], "last": self.losses[-1]},
            "exact_by_step": [float(x) for x in o.exact_by_step],
        }


def chosen(names: Sequence[str], reasoner: Reasoner) -> list[Method]:
    """Methods by name or group (none: all that have a meaning for the model), plain fp32 first.

    Raises:
        UsageError: an unknown name.
    """
    known = {m.name for m in METHODS} | {m.group for m in METHODS}
    for name in names:
        if name not in known:
            raise UsageError(f"unknown method {name!r}", where="--methods", why="known are " + ", ".join(sorted(known)),
                             next="Choose among them")
    mlp = reasoner.config.mixer == "mlp_t"
    return [FP32, *(m for m in METHODS[1:] if (not names or m.name in names or m.group in names)
                    and not (m.attention_only and mlp))]


def work(methods: Sequence[Method], puzzles: int) -> int:
    """What `study` counts as progress: a puzzle of a method, or an optimizer update."""
    return sum(puzzles + m.updates for m in methods)


def study(
    reasoner: Reasoner, test: Dataset, train: Dataset, methods: Sequence[Method], *, steps: Optional[int] = None,
    learning: Optional[Dataset] = None, executor: Optional[Executor] = None, progress: Callable[[int], None] = lambda n: None,
    note: Note = lambda text: None, **bench_options: Any,
) -> list[Row]:
    """Score methods on `test`.

    Args:
        train: what calibration draws from. learning: what methods that train learn from (default: `train`).
        steps: supervision steps; None as trained.
        note: told what is left out, for people.

    Raises:
        InputError, UsageError, ToolchainError: as `Workbench`.
    """
    subjects: dict[str, Reasoner] = {}
    data = train if learning is None else learning
    for method in methods:
        if method.make is not None:
            subjects[method.name] = method.make(reasoner, data, progress)
    bench = Workbench(reasoner, test, train, subjects=subjects, **bench_options)
    own = [m for m in methods if m.peer is None]
    outcomes = dict(zip((m.name for m in own), bench.evaluate([m.variant(steps) for m in own], executor, progress)))
    for method in methods:
        if method.peer is not None:
            try:
                outcomes[method.name] = _peer_outcome(bench, method, steps, progress)
            except ToolchainError as error:
                note(f"{method.name} is left out: {error.paragraph()}")
    fp32, rows = outcomes[FP32.name], []
    for method in methods:
        if method.name in outcomes:
            outcome = outcomes[method.name]
            rows.append(Row(method, outcome, subjects.get(method.name, reasoner).parameters, *outcome.loss(fp32)))
    return rows


def _peer_outcome(bench: Workbench, method: Method, steps: Optional[int], progress: Callable[[int], None]) -> Outcome:
    """onnxruntime's pipeline, scored like any variant."""
    assert method.peer is not None and bench.sample is not None
    plain = bench.resolve(Variant("fp32", "fp32", steps=steps))
    subject, parts = bench.subject(plain), []
    with tempfile.TemporaryDirectory(prefix="recurc-peer-") as folder:
        runner = quantized_by_onnxruntime(bench.reasoner, method.peer, bench.sample, Path(folder))
        assert plain.steps is not None
        for chunk in bench.chunks(plain.steps):
            run = runner.run(chunk.inputs, chunk.puzzle_ids, plain.steps)
            parts.append(measure(run, reference_run(subject, chunk), chunk.labels, chunk.valid))
            progress(len(chunk.inputs))
        size = stored_bytes(Path(folder))
    program = lower(bench.reasoner.config, steps=plain.steps, puzzle_table="auto")
    return Outcome(method.variant(plain.steps), Part.joined(parts), program.macs_per_step, size)


# -- the verdict -------------------------------------------------------------------------------------------------------


def _names(rows: Sequence[Row]) -> str:
    words = [r.method.name for r in rows]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def verdict(rows: Sequence[Row], tolerance: float = 0.02) -> list[str]:
    """Sentences that follow from the numbers of a study's rows, whose first is fp32.

    A method keeps the model when its loss of exact is within `tolerance` or within two standard errors; destroys it when less
    than a tenth of fp32's exact accuracy is left; damages it in between.
    """
    fp32, rest = rows[0].outcome, rows[1:]
    kept = [r for r in rest if r.loss <= max(tolerance, 2 * r.loss_se)]
    dead = [r for r in rest if r not in kept and r.outcome.exact < 0.1 * fp32.exact]
    hurt = [r for r in rest if r not in kept and r not in dead]
    said = [f"fp32 solves {100 * fp32.exact:.1f} % of {fp32.n} puzzles completely after {fp32.steps} steps."]
    if kept:
        said.append(f"Kept (a loss within {100 * tolerance:g} points or two standard errors): {_names(kept)}.")
    if hurt:
        worst = max(hurt, key=lambda r: r.loss)
        said.append(f"Damaged: {_names(hurt)}; most by {worst.method.name}, {100 * worst.loss:.1f} points.")
    if dead:
        hidden = max(dead, key=lambda r: r.outcome.cell)
        said.append(f"Destroyed (less than a tenth of the puzzles left): {_names(dead)}; {hidden.method.name} still has "
                    f"{100 * hidden.outcome.cell:.1f} % of the cells right with {100 * hidden.outcome.exact:.1f} % of the puzzles.")
    if not dead:
        said.append("Nothing here destroys it.")
    said += _comparisons({r.method.name: r for r in rows})
    small = [r for r in kept if r.fits(4 << 20)]
    if small:
        best = min(small, key=lambda r: r.outcome.bytes)
        said.append(f"The smallest that keeps it is {best.method.name}, {best.outcome.bytes:,} bytes.")
    return said


def _comparisons(by: Mapping[str, Row]) -> list[str]:
    """Pairs that the published studies argue about, where both were measured."""
    def points(row: Row) -> str:
        return f"{100 * row.outcome.exact:.1f} %"

    said = []
    if {"int4 naive", "int4 calibrated"} <= by.keys():
        naive, fine = by["int4 naive"], by["int4 calibrated"]
        gain = 100 * (fine.outcome.exact - naive.outcome.exact)
        said.append(f"Naive int4 leaves {points(naive)}, calibrated int4 {points(fine)}: {gain:+.1f} points.")
    if "int8 x int8 static" in by and "int8" in by:
        said.append(f"With int8 weights, activation scales a row leave {points(by['int8'])}, static ones "
                    f"{points(by['int8 x int8 static'])} (onnxruntime's own static pipeline: "
                    f"{points(by['onnxruntime int8 static'])})." if "onnxruntime int8 static" in by else
                    f"With int8 weights, activation scales a row leave {points(by['int8'])}, static ones "
                    f"{points(by['int8 x int8 static'])}.")
    trained = [by[n] for n in ("int4 naive, QAT short", "int4 naive, QAT long") if n in by]
    if trained and "int4 naive" in by:
        naive, best = by["int4 naive"], max(trained, key=lambda r: r.outcome.exact)
        gain = best.outcome.exact - naive.outcome.exact
        verb = "gains" if gain > 2 * best.loss_se else "loses" if gain < -2 * best.loss_se else "changes little:"
        said.append(f"Training with the quantizer in the loop {verb} {100 * gain:+.1f} points over naive int4 at best "
                    f"({best.method.name}: {points(best)}).")
    return said


__all__ = ["FP32", "METHODS", "Method", "Row", "chosen", "fp32_model", "study", "verdict", "work"]
