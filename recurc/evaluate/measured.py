"""What is measured on each puzzle of a run after each step: cells right, fidelity, answers kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from recurc.evaluate.fidelity import carry_fidelity, cosine_rows
from recurc.evaluate.runs import Run
from recurc.evaluate.scores import right_cells
from recurc.solve import Answer, Policy
from recurc.symmetries import Forms


@dataclass(frozen=True)
class Part:
    """Measurements on n puzzles, one row a step: right uint16 (cells right), margins float32 and same uint16 (see `Run`), phi
    and flat float32 (cosine of z_H to the fp32 model's, mean over positions and flattened), kept bool (the fp32 model's very
    answer), each [steps, n]; cells uint16 [n]: cells that count. Asked again (see `Asking`): taken uint16 [n], steps of all
    runs, 0 where nobody asked; believed and correct bool [n], whether the answer is called solved, and is exact."""

    right: np.ndarray
    cells: np.ndarray
    margins: np.ndarray
    same: np.ndarray
    phi: np.ndarray
    flat: np.ndarray
    kept: np.ndarray
    taken: np.ndarray
    believed: np.ndarray
    correct: np.ndarray

    @staticmethod
    def joined(parts: Sequence[Part]) -> Part:
        """Parts of the same steps, one after the other."""
        return Part(**{f.name: np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(Part)})

    @staticmethod
    def stored(arrays: Mapping[str, np.ndarray], steps: int, n: int) -> Part:
        """The part that a store has kept, of so many steps and puzzles. Raises TypeError, ValueError: it is another."""
        part = Part(**arrays)
        for name, dtype in _PART.items():
            array, shape = getattr(part, name), (n,) if name in _ONCE else (steps, n)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not {dtype} {shape}")
        return part

    def until(self, steps: int) -> Part:
        """The same run stopped after fewer steps."""
        return Part(**{f.name: getattr(self, f.name)[: None if f.name in _ONCE else steps] for f in fields(Part)})


_PART = {"right": np.uint16, "cells": np.uint16, "margins": np.float32, "same": np.uint16, "phi": np.float32,
         "flat": np.float32, "kept": np.bool_, "taken": np.uint16, "believed": np.bool_, "correct": np.bool_}  # fmt: skip
_ONCE = ("cells", "taken", "believed", "correct")  # of a puzzle, whatever the step


@dataclass(frozen=True)
class Asking:
    """How puzzles are asked again: the procedure, other forms, and the symmetry's name."""

    policy: Policy
    forms: Forms
    symmetry: str

    def within(self, steps: int) -> Asking:
        """The same for a model that runs so many steps at most."""
        p = self.policy
        policy = replace(p, steps=min(p.steps, steps), restart_steps=min(p.restart_steps, steps))
        return replace(self, policy=policy)


def measure(run: Run, reference: Run, labels: np.ndarray, valid: np.ndarray, asked: Sequence[Answer] | None = None) -> Part:
    """Compare a run with labels [n, seq] (cells marked in `valid` count) and with the fp32 model's run of the same puzzles:
    step by step, or every step with the only one that `reference` has.

    phi is NaN where the carries differ in shape, as for a distilled model. asked: answers of the puzzles asked again.
    """
    steps, n = run.margins.shape
    tokens, carries = (
        np.broadcast_to(a, (steps, *a.shape[1:])) if len(a) == 1 else a for a in (reference.tokens, reference.z_H)
    )
    phi = np.full((steps, n), np.nan, dtype=np.float32)
    flat = phi.copy()
    if run.z_H.shape == carries.shape:
        for at in range(steps):
            phi[at] = carry_fidelity(run.z_H[at], carries[at])
            flat[at] = cosine_rows(run.z_H[at].reshape(n, -1), carries[at].reshape(n, -1))
    right = right_cells(run.tokens, labels, valid)
    kept = ((run.tokens == tokens) | ~valid).all(axis=-1)
    cells, same = valid.sum(axis=-1).astype(np.uint16), run.same.astype(np.uint16)
    steps_of = np.zeros(n, np.uint16) if asked is None else np.array([a.steps for a in asked], np.uint16)
    believed, correct = np.zeros((2, n), np.bool_)
    if asked is not None:
        believed, correct = np.array([a.solved for a in asked]), np.array([a.tokens for a in asked]) == labels
        correct = (correct | ~valid).all(axis=-1) & valid.any(axis=-1)
    return Part(right.astype(np.uint16), cells, run.margins, same, phi, flat, kept, steps_of, believed, correct)
