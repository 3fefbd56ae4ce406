"""Trajectories of a chunk of puzzles, from torch or from the device's own engine, and what is measured on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from recurc.evaluate.fidelity import cosine_rows
from recurc.models.reasoner import ReasonerConfig
from recurc.models.reference import Reference
from recurc.recursion import Depth
from recurc.targets.host import HostEngine

CHUNK = 64  # puzzles a unit of work, at most
CHUNK_BYTES = 64 << 20  # and at most so much carry kept at once


_LISTENER = threading.local()  # progress: who is told what this thread runs; counts: whether the run under way counts


@contextmanager
def heard_by(progress: Callable[[float], None] | None) -> Iterator[None]:
    """Within this, in this thread, runs that count tell after each step which part of their puzzles that was."""
    _LISTENER.progress, _LISTENER.counts = progress, False
    try:
        yield
    finally:
        _LISTENER.progress = None


def count_runs(counts: bool) -> None:
    """Whether what this thread runs from now on counts as progress."""
    _LISTENER.counts = counts


def _tell(puzzles: float) -> None:
    if getattr(_LISTENER, "progress", None) is not None and _LISTENER.counts:
        _LISTENER.progress(puzzles)


@dataclass(frozen=True)
class Run:
    """What a chunk of puzzles did at each step: tokens uint8 [steps, n, seq], margins float32 [steps, n] (what the halting
    head is for stopping by: q_halt, or q_halt - q_continue; it stops above a threshold), z_H float32 [steps, n, S, D]."""

    tokens: np.ndarray
    margins: np.ndarray
    z_H: np.ndarray

    @property
    def last(self) -> Run:
        """Its last step alone."""
        return Run(self.tokens[-1:].copy(), self.margins[-1:].copy(), self.z_H[-1:].copy())


class Runner(Protocol):
    """Something that reasons: a model in some arithmetic at some depth."""

    def run(self, inputs: np.ndarray, puzzle_ids: np.ndarray, steps: int) -> Run:
        """Tokens [n, seq] and identifiers [n] -> their trajectories."""


def margin(config: ReasonerConfig, q: np.ndarray) -> np.ndarray:
    """What a halting threshold is compared with: float32 q [..., 2] (halt, continue) -> [...], as the device has it."""
    return q[..., 0] if config.halt_rule == "q_halt>0" else q[..., 0] - q[..., 1]


def _empty(config: ReasonerConfig, n: int, steps: int) -> Run:
    return Run(
        np.zeros((steps, n, config.seq_len), dtype=np.uint8),
        np.zeros((steps, n), dtype=np.float32),
        np.zeros((steps, n, config.rows, config.hidden_size), dtype=np.float32),
    )


@dataclass(frozen=True)
class TorchRunner:
    """The reference or a FakeModel, in the cycles of a depth (None: as trained)."""

    model: Reference
    depth: Depth | None = None

    def run(self, inputs: np.ndarray, puzzle_ids: np.ndarray, steps: int) -> Run:
        c = self.model.config
        found, depth = _empty(c, len(inputs), steps), self.depth or c.trained
        for state in self.model.steps(inputs, puzzle_ids, depth.but(steps=steps)):
            at = state.step - 1
            found.tokens[at] = state.logits.argmax(dim=-1).numpy()
            found.margins[at] = margin(c, state.q.numpy())
            found.z_H[at] = state.z_H.numpy()
            _tell(len(inputs) / steps)
        return found


@dataclass(frozen=True)
class DeviceRunner:
    """The generated C on this computer: the firmware's bits. Its depth is compiled in."""

    engine: HostEngine
    config: ReasonerConfig

    def run(self, inputs: np.ndarray, puzzle_ids: np.ndarray, steps: int) -> Run:
        found, own = _empty(self.config, len(inputs), steps), self.engine.clone()
        for i, (tokens, puzzle) in enumerate(zip(inputs, puzzle_ids)):
            own.begin(tokens, int(puzzle))
            for at in range(steps):
                own.step()
                found.tokens[at, i], found.margins[at, i] = own.tensor("tokens"), margin(self.config, own.tensor("q"))
                found.z_H[at, i] = own.tensor("z_H")
                _tell(1 / steps)
        return found


@dataclass(frozen=True)
class Part:
    """Measurements on n puzzles, one row a step: right uint16 (cells right), margins float32 (see Run), phi and flat float32
    (cosine of z_H to the fp32 model's, mean over positions and flattened), kept bool (the fp32 model's very answer), each
    [steps, n]; cells uint16 [n]: cells that count."""

    right: np.ndarray
    cells: np.ndarray
    margins: np.ndarray
    phi: np.ndarray
    flat: np.ndarray
    kept: np.ndarray

    @staticmethod
    def joined(parts: Sequence[Part]) -> Part:
        """Parts of the same steps, one after the other."""
        return Part(**{f.name: np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(Part)})

    @staticmethod
    def stored(arrays: Mapping[str, np.ndarray], steps: int, n: int) -> Part:
        """The part that a store has kept, of so many steps and puzzles. Raises TypeError, ValueError: it is another."""
        part = Part(**arrays)
        for name, dtype in _PART.items():
            array, shape = getattr(part, name), (n,) if name == "cells" else (steps, n)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not {dtype} {shape}")
        return part

    def until(self, steps: int) -> Part:
        """The same run stopped after fewer steps."""
        cut = {f.name: getattr(self, f.name)[:steps] for f in fields(Part) if f.name != "cells"}
        return Part(cells=self.cells, **cut)


_PART = {"right": np.uint16, "cells": np.uint16, "margins": np.float32, "phi": np.float32, "flat": np.float32, "kept": np.bool_}


def measure(run: Run, reference: Run, labels: np.ndarray, valid: np.ndarray) -> Part:
    """Compare a run with labels [n, seq] (cells marked in `valid` count) and with the fp32 model's run of the same puzzles:
    step by step, or every step with the only one that `reference` has.

    phi is NaN where the carries differ in shape, as for a distilled model.
    """
    steps, n = run.margins.shape
    tokens, carries = (
        np.broadcast_to(a, (steps, *a.shape[1:])) if len(a) == 1 else a for a in (reference.tokens, reference.z_H)
    )
    phi = np.full((steps, n), np.nan, dtype=np.float32)
    flat = phi.copy()
    if run.z_H.shape == carries.shape:
        for at in range(steps):
            phi[at] = cosine_rows(run.z_H[at], carries[at]).mean(axis=-1)
            flat[at] = cosine_rows(run.z_H[at].reshape(n, -1), carries[at].reshape(n, -1))
    right = ((run.tokens == labels) & valid).sum(axis=-1)
    kept = ((run.tokens == tokens) | ~valid).all(axis=-1)
    return Part(right.astype(np.uint16), valid.sum(axis=-1).astype(np.uint16), run.margins, phi, flat, kept)


def chunk_size(config: ReasonerConfig, steps: int) -> int:
    """Puzzles a unit of work: a power of two, so many that the carries of a run stay within CHUNK_BYTES."""
    each = 4 * config.rows * config.hidden_size * steps
    size = CHUNK
    while size > 1 and size * each > CHUNK_BYTES:
        size //= 2
    return size
