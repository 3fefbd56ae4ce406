"""Which compressions a checkpoint survives: all methods scored on the same puzzles by the same mechanism, in one table."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch

from recurc.dataset import Dataset, check_compatible
from recurc.errors import ToolchainError
from recurc.evaluate.measured import Asking, Part, measure
from recurc.evaluate.runs import Progress
from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner
from recurc.report.csvfile import csv_text
from recurc.study.compressions import schooled
from recurc.study.methods import FP32, Method, definition
from recurc.study.peers import peer_version, quantized_by_onnxruntime, stored_bytes
from recurc.study.store import Store, code_version, digest
from recurc.study.units import Chunk, Threads, asked_again, reference_run, run_chunk
from recurc.study.variants import Outcome, Variant, asked_columns
from recurc.study.workbench import Means, Workbench

CODE_BYTES = 32 << 10  # flash set aside for code when it is asked whether a model fits
SEEN = 64  # puzzles of those trained on that trained models are scored on, at most
COLUMNS = (
    "name",
    "group",
    "engine",
    "n",
    "steps",
    "cell",
    "exact",
    "loss",
    "loss_se",
    "phi_first",
    "phi_last",
    "kept",
    "bytes",
    "parameters",
    "fits_4mb",
    "fits_8mb",
    "updates",
    "loss_first",
    "loss_last",
    "exact_seen",
    "asked_exact",
    "asked_mean_steps",
    "asked_solved",
    "asked_wrong",
)


@dataclass(frozen=True)
class Row:
    """A method and what it scored. loss: exact lost to fp32, and its standard error on the same puzzles; parameters of its
    model; losses: of each update; seen: what it scored on some of the puzzles that methods learn from (fp32 too)."""

    method: Method
    outcome: Outcome
    parameters: int
    loss: float
    loss_se: float
    losses: tuple[float, ...] = ()
    seen: Outcome | None = None

    def fits(self, flash_bytes: int) -> bool:
        """Whether what is read fits so much flash beside CODE_BYTES of code."""
        return self.outcome.bytes + CODE_BYTES <= flash_bytes

    @property
    def engine(self) -> str:
        return "onnxruntime" if self.method.peer else self.outcome.variant.engine

    def ends(self) -> tuple[float | None, float | None]:
        """Mean training loss of the first and of the last tenth of the updates."""
        k = max(1, len(self.losses) // 10)
        return (float(np.mean(self.losses[:k])), float(np.mean(self.losses[-k:]))) if self.losses else (None, None)

    def as_dict(self) -> dict[str, Any]:
        """Keys as in COLUMNS, the definition, and the curves by step. phi is None where the carries differ in shape."""
        o, m = self.outcome, self.method
        first, last = self.ends()
        asked = o.asked and o.asked.as_dict()
        return {
            "name": m.name,
            "slug": m.slug,
            "group": m.group,
            "definition": definition(m),
            "engine": self.engine,
            "n": o.n,
            "steps": o.steps,
            "cell": o.cell,
            "exact": o.exact,
            "loss": self.loss,
            "loss_se": self.loss_se,
            "phi_first": _number(o.phi_first),
            "phi_last": _number(o.phi_last),
            "phi_first_error": o.phi_error(0),
            "phi_last_error": o.phi_error(-1),
            "kept": o.kept,
            "bytes": o.bytes,
            "parameters": self.parameters,
            "fits_4mb": self.fits(4 << 20),
            "fits_8mb": self.fits(8 << 20),
            "updates": m.updates,
            "loss_first": first,
            "loss_last": last,
            "exact_seen": self.seen.exact if self.seen else None,
            "asked": asked,
            **asked_columns(o.asked),
            "by_step": {name: [_number(x) for x in getattr(o, f"{name}_by_step")] for name in ("cell", "exact", "phi")},
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def as_csv(rows: Sequence[Row]) -> str:
    """The table as CSV, one line a row, columns COLUMNS."""
    return csv_text((row.as_dict() for row in rows), COLUMNS)


def work(methods: Sequence[Method], puzzles: int, learning: int = 0) -> int:
    """What `study` counts as progress: a puzzle of a method, or an optimizer update. learning: puzzles to learn from."""
    trained = sum(m.schooling is not None for m in methods)
    return sum(puzzles + m.updates for m in methods) + (trained + 1) * min(SEEN, learning) * bool(trained)


@dataclass(frozen=True)
class Puzzles:
    """Of a study: `test` is scored, calibration draws from `train`, and methods that train learn from `learning` (default:
    `train`)."""

    test: Dataset
    train: Dataset | None = None
    learning: Dataset | None = None


def study(
    reasoner: Reasoner,
    puzzles: Puzzles,
    methods: Sequence[Method],
    *,
    steps: int | None = None,
    means: Means = Means(),  # noqa: B008 - it is frozen
    asking: Asking | None = None,
    progress: Progress = lambda n: None,
    note: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Score methods on the test puzzles, plain fp32 first whether it is asked for or not.

    Args:
        steps: supervision steps; None as trained.
        asking: how puzzles are asked again, if they are.
        means: where variants are evaluated; training and peers run on this computer.
        note: told what is left out, for people.

    Raises:
        InputError, UsageError, ToolchainError: as `Workbench`.
    """
    test, train, executor, store = puzzles.test, puzzles.train, means.executor, means.store or Store(None)
    methods = [FP32, *(m for m in methods if m.name != FP32.name)]
    data = train if puzzles.learning is None else puzzles.learning
    if data is not None:
        check_compatible(data, reasoner.config, reasoner.source)
    plain = Workbench(reasoner, test, train, store=store, seed=means.seed, asking=asking)
    subjects: dict[str, Reasoner] = {m.name: m.alters(reasoner) for m in methods if m.alters is not None}
    outcomes: dict[str, Outcome] = {}
    losses: dict[str, list[float]] = {}
    with _jobs(executor.workers if isinstance(executor, Threads) else os.cpu_count() or 1, progress) as (submit, told):
        pending: dict[Future[Any], Method] = {}  # of what each kind of job gives
        for m in methods:
            if m.schooling is not None:
                assert data is not None
                pending[submit(schooled, reasoner, data, m.schooling, store, told)] = m
        peers = [m for m in methods if m.peer is not None]
        pending |= {submit(_peer_outcomes, plain, peers, steps, told, note): FP32} if peers else {}
        for future in as_completed(pending):
            m = pending[future]
            if m.schooling is not None:
                subjects[m.name], losses[m.name] = future.result()
            else:
                outcomes |= future.result()
    own = [m for m in methods if m.peer is None]
    bench = Workbench(reasoner, test, train, subjects=subjects, store=store, seed=means.seed, asking=asking)
    outcomes |= zip((m.name for m in own), bench.evaluate([m.variant(steps) for m in own], executor, progress))
    seen: dict[str, Outcome] = {}
    if losses and data is not None:
        bench = Workbench(reasoner, data.take(SEEN), train, subjects=subjects, store=store, seed=means.seed)
        them = [m for m in own if m.schooling is not None or m is FP32]
        seen |= zip((m.name for m in them), bench.evaluate([m.variant(steps) for m in them], executor, progress))
    fp32 = outcomes[FP32.name]
    return [
        Row(
            m,
            outcomes[m.name],
            subjects.get(m.name, reasoner).parameters,
            *outcomes[m.name].loss(fp32),
            tuple(losses.get(m.name, ())),
            seen.get(m.name),
        )
        for m in methods
        if m.name in outcomes
    ]


@contextmanager
def _jobs(workers: int, progress: Progress) -> Iterator[tuple[Callable[..., Future[Any]], Progress]]:
    """(submit, progress): jobs in threads, one thread of arithmetic each. On an error or Ctrl-C they stop at their next
    report."""
    stop, before = Event(), torch.get_num_threads()

    def told(n: float) -> None:
        if stop.is_set():
            raise InterruptedError("stopped")
        progress(n)

    def alone(job: Callable[..., Any], *arguments: Any) -> Any:
        torch.set_num_threads(1)  # so that results never depend on how many jobs there are
        return job(*arguments)

    pool = ThreadPoolExecutor(workers)
    try:
        yield lambda job, *arguments: pool.submit(alone, job, *arguments), told
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _peer_outcomes(
    bench: Workbench, methods: Sequence[Method], steps: int | None, progress: Progress, note: Callable[[str], None]
) -> dict[str, Outcome]:
    """onnxruntime's pipelines, scored like any variant; one that cannot run here is left out with a remark."""
    found = {}
    for method in methods:
        try:
            found[method.name] = _peer_outcome(bench, method, steps, progress)
        except ToolchainError as error:
            note(f"{method.name} is left out: {error.paragraph()}")
            progress(len(bench.data))
    return found


def _peer_outcome(bench: Workbench, method: Method, steps: int | None, progress: Progress) -> Outcome:
    assert method.peer is not None and bench.sample is not None
    plain = bench.resolve(Variant("fp32", "fp32", steps=steps))
    assert plain.steps is not None
    subject = bench.subject(plain)
    chunks = list(bench.chunks(plain.steps))
    version = digest("peer", code_version(), peer_version(), method.peer, bench.key(plain))

    def key(chunk: Chunk) -> str:
        return digest(version, chunk.key)

    def kept_part(chunk: Chunk) -> dict[str, np.ndarray] | None:
        def checked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            int(arrays["bytes"])
            Part.stored({name: a for name, a in arrays.items() if name != "bytes"}, plain.steps or 1, len(chunk.inputs))
            return arrays

        return bench.store.read(key(chunk), checked)

    kept = [kept_part(chunk) for chunk in chunks]
    if any(part is None for part in kept):
        with tempfile.TemporaryDirectory(prefix="recurc-peer-") as folder:
            stepper = quantized_by_onnxruntime(bench.reasoner, method.peer, bench.sample, Path(folder))
            size = stored_bytes(Path(folder))
            for i, chunk in enumerate(chunks):
                if kept[i] is None:
                    run = run_chunk(stepper, chunk, plain.steps, progress)
                    asked = asked_again(stepper, chunk, run, bench.asking)
                    part = measure(run, reference_run(subject, chunk), chunk.labels, chunk.valid, asked)
                    kept[i] = {**{f.name: getattr(part, f.name) for f in fields(Part)}, "bytes": np.array(size)}
                    bench.store.put(key(chunk), kept[i] or {})
                else:
                    progress(len(chunk.inputs))
    else:
        progress(len(bench.data))
    parts = [dict(part or {}) for part in kept]
    sizes = [int(part.pop("bytes")) for part in parts]
    program = lower(bench.reasoner.config, steps=plain.steps)
    variant = replace(plain, precision="int8", name=method.name)
    return Outcome(variant, Part.joined([Part(**part) for part in parts]), program.macs_per_step, sizes[0])
