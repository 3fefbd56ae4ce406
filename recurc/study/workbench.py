"""A checkpoint, its puzzles and its calibration, and the work of evaluating variants of it in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch

from recurc.arguments import argument
from recurc.dataset import Dataset, check_compatible
from recurc.errors import ToolchainError, UsageError
from recurc.evaluate.measured import Asking, Part
from recurc.evaluate.runs import Progress
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.quant.calibrate import BATCH, DEFAULT_PUZZLES, Calibration, calibrate, depth_for_budget
from recurc.quant.layer_precisions import own_layers
from recurc.quant.model import QuantizedModel, quantize_model
from recurc.study import weight_arrays
from recurc.study.fake import Peaks, weight_schemes
from recurc.study.memo import Memo
from recurc.study.store import Store, code_version, content, digest
from recurc.study.units import Chunk, Executor, Subject, Threads, Told, chunk_size
from recurc.study.variants import Outcome, Subjects, Variant, model_bytes
from recurc.symmetries import Grids
from recurc.targets.toolchain import find_compiler


def can_compile() -> bool:
    """Whether the device's code can be compiled for this computer."""
    try:
        find_compiler("host")
    except ToolchainError:
        return False
    return True


@dataclass(frozen=True)
class Means:
    """How results come about: where they are computed (None: in threads of this process), where they are kept (None: nowhere),
    and the seed of what is drawn."""

    executor: Executor | None = None
    store: Store | None = None
    seed: int = 0


class Workbench:
    """Evaluates variants of one checkpoint on one dataset.

    Args:
        reasoner: the fp32 checkpoint: what phi and the loss of accuracy are measured against.
        data: puzzles to score, with labels.
        calibration: training split that `puzzles` examples are drawn from; None quantizes without data.
        subjects: models that variants name as their `transform`.
        store: where results are kept.
        asking: how puzzles are asked again, if they are.
        full: measure phi and kept answers against the fp32 checkpoint's last step as deep as it was trained, not at the same
            depth: what a cheaper schedule loses counts as well.

    Raises:
        InputError: a dataset of another shape than the model.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        data: Dataset,
        calibration: Dataset | None = None,
        *,
        puzzles: int = DEFAULT_PUZZLES,
        seed: int = 0,
        subjects: Subjects | None = None,
        store: Store | None = None,
        full: bool = False,
        asking: Asking | None = None,
    ) -> None:
        for dataset in (data, calibration):
            if dataset is not None:
                check_compatible(dataset, reasoner.config, reasoner.source)
        self.reasoner, self.data, self.seed, self.full = reasoner, data, seed, full
        self.asking = asking
        self.sample = None if calibration is None else calibration.sample(puzzles, seed)
        self.subjects = {"": reasoner, **(subjects or {})}
        self.store = store or Store(None)
        self._memo = Memo(64)
        self._compiler = can_compile()

    # -- what is evaluated ------------------------------------------------------------------------------------------

    def resolve(self, variant: Variant) -> Variant:
        """The variant with everything filled in.

        Raises:
            UsageError: it names something unknown, or static scales without calibration data.
        """
        if variant.transform not in self.subjects:
            raise UsageError(
                f"unknown model {variant.transform!r}", why="known are " + ", ".join(self.subjects), next="choose one of them"
            )
        if variant.activations == "int8-static" and self.sample is None:
            raise UsageError(
                "static activation scales need calibration data",
                where=variant.label,
                why="no training split is known",
                next=f"pass {argument('data', 'DIR')} with a train folder",
            )
        return variant.resolved(self.subjects[variant.transform].config, compiler=self._compiler)

    def chunks(self, steps: int, data: Dataset | None = None) -> Iterator[Chunk]:
        """The puzzles of `data` (its own when left out) in order, in units of work."""
        size, d = chunk_size(self.reasoner.config, steps), self.data if data is None else data
        valid = d.valid
        for start in range(0, len(d), size):
            cut = slice(start, start + size)
            arrays = (d.inputs[cut], d.puzzle_ids[cut], d.labels[cut], valid[cut])
            yield Chunk(*arrays, key=digest(*arrays))

    def _content(self, transform: str) -> str:
        return self._memo.get(("content", transform), lambda: content(self.subjects[transform]))

    @property
    def _calibration_key(self) -> str:
        if self.sample is None:
            return "none"
        sample = self.sample
        return self._memo.get("sample", lambda: digest(sample.inputs, sample.puzzle_ids, self.seed))

    def calibration(self, transform: str = "") -> Calibration | None:
        """Second moments of the layers' inputs on the calibration sample; None without one."""
        sample = self.sample
        if sample is None:
            return None
        torch.set_num_threads(1)
        return self._memo.get(
            ("moments", transform),
            lambda: calibrate(self.subjects[transform], sample.inputs, sample.puzzle_ids, seed=self.seed),
        )

    def model(self, variant: Variant) -> QuantizedModel:
        """The stored form of a resolved variant; weights are quantized once for all depths, activations and mixtures."""
        base, scheme = self._base(variant), weight_schemes()[variant.precision]
        program = variant.program(self.subjects[variant.transform].config)
        layers = {**own_layers(program, scheme), **dict(variant.layers)}
        others = {name: self._base(replace(variant, precision=name)) for name in set(layers.values())}
        if others:
            weights = {**base.weights, **{name: others[p].weights[name] for name, p in layers.items()}}
            named = {name: weight_schemes()[p] for name, p in layers.items() if p != scheme.name}
            base = replace(base, weights=weights, layers=named)
        return replace(base, program=program, precision=scheme)

    def _base(self, variant: Variant) -> QuantizedModel:
        """All layers in the variant's precision, heads too, at some depth."""
        method = weight_schemes()[variant.precision].method(variant.method)
        alone = replace(variant, layers=(), method=method)
        return self._memo.get((alone.transform, alone.precision, method, alone.puzzle_table), lambda: self._quantized(alone))

    def _quantized(self, variant: Variant) -> QuantizedModel:
        subject, scheme = self.subjects[variant.transform], replace(weight_schemes()[variant.precision], heads="")
        learns = self.sample is not None and scheme.learns(variant.method)
        key = digest(
            "weights", code_version(), self._content(variant.transform), scheme.name, variant.method, self._calibration_key
        )
        kept = self.store.read(key, lambda arrays: weight_arrays.of_model(subject, arrays)) if learns else None
        if kept is not None:
            known = {id(subject.tensors[name]): w for name, w in kept.items()}
            model = quantize_model(
                subject,
                replace(scheme, quantize=lambda w, moment, method: known[id(w)]),
                method=variant.method,
                puzzle_table=variant.puzzle_table,
                name=variant.precision,
            )
            return replace(model, precision=scheme)
        model = quantize_model(
            subject,
            scheme,
            self.calibration(variant.transform) if learns else None,
            method=variant.method,
            puzzle_table=variant.puzzle_table,
            name=variant.precision,
        )
        if learns:
            self.store.put(key, weight_arrays.to_arrays(model.weights))
        return model

    def peaks(self, transform: str) -> Mapping[str, float]:
        """Largest inputs of the layers on the calibration sample, as deep as calibration affords."""
        sample = self.sample
        assert sample is not None

        def make() -> Mapping[str, float]:
            torch.set_num_threads(1)
            subject, found = self.subjects[transform], Peaks()
            program = Variant().resolved(subject.config).program(subject.config)
            puzzles, steps = depth_for_budget(program.macs_per_step, len(sample), program.steps)
            reference = Reference(subject, found)
            for start in range(0, puzzles, BATCH):
                cut = slice(start, min(start + BATCH, puzzles))
                for _ in reference.steps(sample.inputs[cut], sample.puzzle_ids[cut], steps):
                    pass
            return found.found

        return self._memo.get(("peaks", transform), make)

    def subject(self, variant: Variant) -> Subject:
        """All that a resolved variant needs besides puzzles."""
        model = None if variant.engine == "reference" else self.model(variant)
        peaks = self.peaks(variant.transform) if variant.activations == "int8-static" else {}
        return Subject(
            variant,
            self.reasoner,
            self.subjects[variant.transform],
            model,
            peaks,
            self._content(""),
            self.key(variant),
            self.full,
            self.asking,
        )

    def key(self, variant: Variant) -> str:
        """Digest of all that decides a resolved variant's results, but the puzzles."""
        return digest(
            code_version(),
            self._content(""),
            self._content(variant.transform),
            replace(variant, name=""),
            self._calibration_key,
            "full" * self.full,
            *_asking_parts(self.asking),
        )

    # -- the work ---------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        variants: Sequence[Variant],
        executor: Executor | None = None,
        progress: Progress | None = None,
        data: Dataset | None = None,
    ) -> list[Outcome]:
        """Outcomes of variants, in their order; results that the store has are not computed again.

        Args:
            executor: where to compute; threads of this process when left out.
            progress: called with the number of puzzles done since the last call, of parts of one too, from any thread.
            data: puzzles in place of the workbench's own, of the same model.

        Raises:
            UsageError: see `resolve`. ToolchainError: the device's code does not compile.
        """
        wanted = [self.resolve(v) for v in variants]
        if executor is not None:
            parts = self._parts(wanted, executor, progress, data)
        else:
            before = torch.get_num_threads()
            with Threads() as threads:
                parts = self._parts(wanted, threads, progress, data)
            torch.set_num_threads(before)
        return [
            Outcome(v, Part.joined(found), v.program(self.subjects[v.transform].config).macs_per_step, self.bytes_of(v))
            for v, found in zip(wanted, parts)
        ]

    def bytes_of(self, variant: Variant) -> int:
        """Bytes that a resolved variant reads."""
        return model_bytes(self.model(variant))

    def _parts(
        self, variants: Sequence[Variant], executor: Executor, progress: Progress | None, data: Dataset | None
    ) -> list[list[Part]]:
        chunks = list(self.chunks(max((v.steps or 1 for v in variants), default=1), data))
        found: list[list[Part | None]] = [[None] * len(chunks) for _ in variants]
        # Variants of one depth go through a chunk together: they share the reference's run of it.
        order = sorted(range(len(variants)), key=lambda i: (variants[i].schedule, variants[i].steps))
        todo = (
            (i, j)
            for depth in _runs_of([variants[i].schedule for i in order])
            for j in range(len(chunks))
            for i in (order[k] for k in depth)
        )
        waiting: dict[Future[Part], tuple[int, int, str, Told]] = {}
        told = progress or (lambda puzzles: None)

        def keep(future: Future[Part]) -> None:
            i, j, key, unit = waiting.pop(future)
            found[i][j] = part = future.result()
            self.store.put(key, {f.name: getattr(part, f.name) for f in fields(Part)})
            unit.done()

        def collect(least: int) -> None:
            while len(waiting) > least:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    keep(future)

        try:
            for i, j in todo:
                key = digest("part", self.key(variants[i]), chunks[j].key)
                n, steps = len(chunks[j].inputs), variants[i].steps or 1
                if (kept := self.store.read(key, partial(Part.stored, steps=steps, n=n))) is not None:
                    found[i][j] = kept
                    told(n)
                    continue
                unit = Told(n, told)
                waiting[executor.submit(partial(self.subject, variants[i]), chunks[j], unit)] = (i, j, key, unit)
                collect(2 * executor.workers)
            collect(0)
        except BaseException:
            for future in [f for f in waiting if not f.cancel()]:  # a thread cannot be stopped: what it has begun is kept
                if future.exception() is None:
                    keep(future)
            raise
        return [[part for part in row if part is not None] for row in found]


def _asking_parts(asking: Asking | None) -> list[object]:
    """What tells results of puzzles that were asked again from others."""
    if asking is None:
        return []
    if isinstance(asking.forms, Grids):
        return [asking.policy, asking.forms.count, asking.forms.following, [(r.turn, r.colours) for r in asking.forms.rows]]
    return [asking.policy, *(array for form in asking.forms for array in (form.cells, form.tokens))]


def _runs_of(values: Sequence[object]) -> list[range]:
    """Ranges of equal neighbours."""
    starts = [i for i in range(len(values)) if not i or values[i] != values[i - 1]]
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(values)])]


def evaluate_variant(
    reasoner: Reasoner,
    variant: Variant,
    data: Dataset,
    calibration: Dataset | None = None,
    limit: int | None = None,
    **options: Any,
) -> Outcome:
    """One variant on the first `limit` puzzles of `data`; `calibration` is the training split. Options as for `Workbench`."""
    return Workbench(reasoner, data.take(limit), calibration, **options).evaluate([variant])[0]
