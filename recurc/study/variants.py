"""One mechanism for every comparison: a Variant is a model in some arithmetic at some depth, an Outcome what it scores.

Where the device has a variant's arithmetic, its own code runs (the host engine, the firmware's bits); else torch with fake
quantization (`recurc.study.fake`). An Outcome says which. The plain fp32 variant is the torch reference itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Unpack

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.evaluate.fidelity import mean_and_error
from recurc.evaluate.halting import Halt, stop_index
from recurc.evaluate.measured import Part
from recurc.evaluate.scores import Scores
from recurc.ir.lower import lower
from recurc.ir.lowering import Knobs, Lowering
from recurc.ir.program import Program
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.quant.model import QuantizedModel
from recurc.quant.weights import precisions
from recurc.study.fake import ACTIVATIONS, weight_schemes
from recurc.types import BoolArray

ENGINES = ("auto", "device", "fake", "reference")


@dataclass(frozen=True)
class Variant(Lowering):
    """A lowering with a weight scheme, an activation scheme, and perhaps another model in the checkpoint's place.

    precision: of `weight_schemes()`; activations: of ACTIVATIONS; method: calibration method (None: the scheme's best).
    transform: name of the model that stands in for the checkpoint ("" is the checkpoint itself), see `Workbench`.
    engine: "device", "fake", "reference" (plain fp32), or "auto": the device's code where it has this arithmetic.
    name: for people; what it is when left out. layers: (linear layer's name, its precision) where that is another one.
    """

    precision: str = "int4"
    activations: str = "int8-row"
    method: str | None = None
    transform: str = ""
    engine: str = "auto"
    name: str = ""
    layers: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The name, else weights x activations and what is out of the ordinary."""
        if self.name:
            return self.name
        words = [self.precision if self.precision == self.activations else f"{self.precision} x {self.activations}"]
        words += [self.method] if self.method and self.method != weight_schemes()[self.precision].methods[0] else []
        words += self._mixed
        words += [f"{self.carry} carry"] if self.carry != "fp32" else []
        return ", ".join(words + ([self.transform] if self.transform else []))

    @property
    def _mixed(self) -> list[str]:
        others = Counter(precision for _, precision in self.layers)
        return [f"{n} layer{'s' * (n > 1)} {precision}" for precision, n in others.items()]

    @property
    def stored_as(self) -> str:
        """Weights and carry in words: "int4, 2 layers int8, fp16 carry"."""
        return ", ".join([self.precision, *self._mixed] + ([f"{self.carry} carry"] if self.carry != "fp32" else []))

    @property
    def plain(self) -> bool:
        """Whether it is the fp32 model itself, at some depth."""
        return (self.precision, self.activations, self.carry, self.transform, self.layers) == ("fp32", "fp32", "fp32", "", ())

    @property
    def on_device(self) -> bool:
        """Whether the device has this arithmetic."""
        if any(name not in precisions() for _, name in self.layers):
            return False
        scheme = precisions().get(self.precision)
        wanted = "fp32" if scheme is not None and not scheme.form.integer else "int8-row"
        return scheme is not None and self.activations == wanted

    def resolved(self, config: ReasonerConfig, *, compiler: bool = True) -> Variant:
        """The same with depth, method and engine filled in.

        Args:
            compiler: whether this computer can compile the device's code.

        Raises:
            UsageError: a name that is unknown, or an engine that does not have this arithmetic.
        """
        schemes = weight_schemes()
        for what, value, known in (
            ("precision", self.precision, tuple(schemes)),
            ("activations", self.activations, tuple(ACTIVATIONS)),
            ("engine", self.engine, ENGINES),
        ):
            if value not in known:
                raise UsageError(
                    f"unknown {what} {value!r}",
                    where=self.label if what != "precision" else "",
                    why="known are " + ", ".join(known),
                    next="choose one of them",
                )
        methods = schemes[self.precision].methods
        method = self.method if self.method in methods else methods[0]
        engine = self.engine
        if engine == "auto":
            engine = "reference" if self.plain else "device" if self.on_device and compiler else "fake"
        elif (engine == "device" and not self.on_device) or (engine == "reference" and not self.plain):
            raise UsageError(
                f"the {engine} does not have the arithmetic of {self.label}",
                where=argument("engine"),
                why="the device rounds activations to int8 a row, for its own precisions",
                next="use engine auto or fake",
            )
        if engine != "device" and self.table_storage(config) == "int8" and config.puzzle_emb_ndim:
            raise UsageError(
                f"{self.label} has no puzzle table of int8 rows",
                where=argument("puzzle_table"),
                why=f"its engine is {engine}, and only the device's code reads such rows",
                next="leave puzzle_table out, or use engine device",
            )
        return replace(self, **vars(self.depth(config)), method=method, engine=engine)

    @property
    def schedule(self) -> tuple[int, int]:
        """(H, L) of a resolved variant."""
        assert self.h_cycles and self.l_cycles
        return self.h_cycles, self.l_cycles

    def program(self, config: ReasonerConfig, **knobs: Unpack[Knobs]) -> Program:
        """The program of a resolved variant; knobs that are given in the place of its own."""
        return lower(config, self, **knobs)


def model_bytes(model: QuantizedModel) -> int:
    """Bytes of everything that is read: weights with scales and zero points, tables and vectors of the image, fp32."""
    rest = [*model.tables.values(), *model.vectors.values(), *model.constants().values()]
    return sum(w.stored_bytes for w in model.weights.values()) + sum(4 * int(t.size) for t in rest)


@dataclass(frozen=True)
class AskedAgain:
    """Puzzles asked again where a run did not halt: scores (exact alone), steps of all runs on average, how many were called
    solved, and how many of these wrongly."""

    scores: Scores
    mean_steps: float
    solved: int
    wrong: int

    def as_dict(self) -> dict[str, Any]:
        """For documents."""
        return {"exact": self.scores.exact, "exact_error": self.scores.exact_error, "mean_steps": self.mean_steps,
                "solved": self.solved, "wrong_solved": self.wrong}  # fmt: skip


def asked_columns(asked: AskedAgain | None) -> dict[str, Any]:
    """The same in a table: asked_exact, asked_mean_steps, asked_solved, asked_wrong; None where nobody asked."""
    found = asked.as_dict() if asked else {}
    return {f"asked_{key.removesuffix('_solved')}": found.get(key) for key in ("exact", "mean_steps", "solved", "wrong_solved")}


@dataclass(frozen=True)
class Outcome:
    """What a resolved variant scored on n puzzles; everything "by step" is [steps], shares and cosines 0..1.

    All smaller numbers of steps are in it (`until`). phi is the cosine of z_H to the fp32 checkpoint's at the same depth, mean
    over positions ("flat": of the flattened z_H), NaN when the carries' shapes differ. Halting is by the default rule.
    """

    variant: Variant
    part: Part
    macs_per_step: int
    bytes: int

    @property
    def n(self) -> int:
        return len(self.part.cells)

    @property
    def steps(self) -> int:
        return len(self.part.right)

    def until(self, steps: int) -> Outcome:
        """The outcome with fewer steps; what asking again gave is of all of them.

        Raises:
            ValueError: more steps than were run.
        """
        if not 1 <= steps <= self.steps:
            raise ValueError(f"{steps} of {self.steps} steps")
        part = self.part.until(steps)
        if steps < self.steps:
            part = replace(part, taken=np.zeros_like(part.taken))
        return replace(self, variant=replace(self.variant, steps=steps), part=part)

    def joined(self, more: Outcome) -> Outcome:
        """This and the same variant on further puzzles."""
        return replace(self, part=Part.joined((self.part, more.part)))

    def first(self, n: int) -> Outcome:
        """The same on the first n puzzles."""
        part = Part(**{f.name: getattr(self.part, f.name)[..., :n] for f in fields(Part)})
        return self if n == self.n else replace(self, part=part)

    @cached_property
    def solved(self) -> BoolArray:
        """bool [steps, n]: every cell right; false where no cell counts, for want of labels."""
        return np.asarray((self.part.right == self.part.cells) & (self.part.cells > 0))

    @cached_property
    def _shares(self) -> np.ndarray:
        return np.asarray(self.part.right / np.maximum(self.part.cells, 1))

    @property
    def labelled(self) -> bool:
        """Whether any cell counts; else cell and exact are NaN."""
        return bool(self.part.cells.any())

    @property
    def cell_by_step(self) -> np.ndarray:
        return self._shares.mean(axis=1) if self.labelled else np.full(self.steps, np.nan)

    @property
    def exact_by_step(self) -> np.ndarray:
        return self.solved.mean(axis=1) if self.labelled else np.full(self.steps, np.nan)

    @property
    def phi_by_step(self) -> np.ndarray:
        return np.asarray(self.part.phi.mean(axis=1, dtype=np.float64))

    @property
    def flat_by_step(self) -> np.ndarray:
        return np.asarray(self.part.flat.mean(axis=1, dtype=np.float64))

    @property
    def kept_by_step(self) -> np.ndarray:
        """Share of puzzles answered exactly as fp32 answers them at the same step: needs no labels."""
        return np.asarray(self.part.kept.mean(axis=1))

    @property
    def cell(self) -> float:
        return float(self.cell_by_step[-1])

    @property
    def exact(self) -> float:
        return float(self.exact_by_step[-1])

    @property
    def phi_first(self) -> float:
        return float(self.phi_by_step[0])

    @property
    def phi_last(self) -> float:
        return float(self.phi_by_step[-1])

    def phi_error(self, step: int) -> float | None:
        """Standard error of phi after a step (an index); None of a single puzzle, or where phi is not known."""
        error = mean_and_error(self.part.phi[step].astype(np.float64))[1]
        return None if error is None or np.isnan(error) else error

    @property
    def kept(self) -> float:
        return float(self.kept_by_step[-1])

    def stops(self, halt: Halt = Halt()) -> np.ndarray:  # noqa: B008 - it is frozen
        """Index [n] of the step at which each puzzle stops by a rule, the last step at the latest."""
        return stop_index(self.part.margins, self.part.same, halt)

    @cached_property
    def _stops(self) -> np.ndarray:
        return self.stops()

    @property
    def mean_steps(self) -> float:
        return float(self._stops.mean() + 1)

    @property
    def halted_exact(self) -> float:
        return float(self.solved[self._stops, np.arange(self.n)].mean())

    @property
    def halted_cell(self) -> float:
        return float(self._shares[self._stops, np.arange(self.n)].mean())

    @property
    def asked(self) -> AskedAgain | None:
        """What asking again gave; None where nobody asked."""
        p = self.part
        if not p.taken.any():
            return None
        believed, labelled = p.believed, p.cells > 0
        return AskedAgain(
            Scores(float("nan"), float(p.correct[labelled].mean()) if labelled.any() else float("nan"), int(labelled.sum())),
            float(p.taken.mean()),
            int(believed.sum()),
            int((believed & labelled & ~p.correct).sum()),
        )

    @property
    def macs(self) -> int:
        """Multiply-adds of a puzzle, all steps."""
        return self.macs_per_step * self.steps

    @property
    def halted_macs(self) -> float:
        """Mean multiply-adds of a puzzle that stops at the halting head."""
        return self.macs_per_step * self.mean_steps

    def loss(self, fp32: Outcome) -> tuple[float, float]:
        """(exact lost against `fp32` after the last step, its standard error over the same puzzles), in 0..1."""
        lost = fp32.solved[-1].astype(float) - self.solved[-1]
        return float(lost.mean()), float(lost.std(ddof=1) / np.sqrt(self.n)) if self.n > 1 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything but the per-puzzle arrays, for JSON."""
        v = self.variant
        return {
            "label": v.label,
            "precision": v.precision,
            "activations": v.activations,
            "method": v.method,
            "carry": v.carry,
            "transform": v.transform,
            "layers": dict(v.layers),
            "engine": v.engine,
            "h_cycles": v.h_cycles,
            "l_cycles": v.l_cycles,
            "steps": self.steps,
            "n": self.n,
            "cell": self.cell,
            "exact": self.exact,
            "phi_first": self.phi_first,
            "phi_last": self.phi_last,
            "phi_first_error": self.phi_error(0),
            "phi_last_error": self.phi_error(-1),
            "phi_flat_first": float(self.flat_by_step[0]),
            "phi_flat_last": float(self.flat_by_step[-1]),
            "kept": self.kept,
            "mean_steps": self.mean_steps,
            "halted_cell": self.halted_cell,
            "halted_exact": self.halted_exact,
            "macs": self.macs,
            "halted_macs": self.halted_macs,
            "bytes": self.bytes,
            "by_step": {
                name: [float(x) for x in getattr(self, f"{name}_by_step")] for name in ("cell", "exact", "phi", "flat", "kept")
            },
        }


Subjects = Mapping[str, Reasoner]  # transform's name -> the model in the checkpoint's place
