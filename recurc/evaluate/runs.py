"""What sets of puzzles do step by step: in the device's arithmetic on this computer, and in the fp32 reference."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.quant.model import QuantizedModel
from recurc.targets.host import HostEngine

REFERENCE_BATCH = 16
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Trajectories:
    """What a set of puzzles did: tokens uint8 [N, steps, seq], halts bool [N, steps], carries z_H [M, 2, S, D].

    carries holds z_H after the first and after the last step, of the first M puzzles.
    """

    tokens: np.ndarray
    halts: np.ndarray
    carries: np.ndarray


def run_engine(
    engine: HostEngine,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    steps: int,
    *,
    threshold: float = 0.0,
    keep_carries: int = 0,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Trajectories:
    """Run puzzles (tokens [N, seq], ids [N]) for `steps` supervision steps each, several at a time.

    Args:
        threshold: the halting head's margin, for `halts`.
        keep_carries: of how many puzzles z_H is kept.
        progress: called after each step of a puzzle with the part of the puzzle that it is.
    """
    n, info = len(inputs), engine.info
    keep = min(keep_carries, n)
    tokens = np.zeros((n, steps, info.seq_len), dtype=np.uint8)
    halts = np.zeros((n, steps), dtype=bool)
    carries = np.zeros((keep, 2, info.rows, info.hidden), dtype=np.float32)
    workers = max(1, min(threads or os.cpu_count() or 1, n))
    engines = [engine.clone() for _ in range(workers)]

    def work(lane: int) -> None:
        own = engines[lane]
        for i in range(lane, n, workers):
            own.begin(inputs[i], int(puzzle_ids[i]))
            for step in range(steps):
                own.step()
                tokens[i, step], halts[i, step] = own.tensor("tokens"), own.halts(threshold)
                if i < keep and step == 0:
                    carries[i, 0] = own.tensor("z_H")
                if progress:
                    progress(1 / steps)
            if i < keep:
                carries[i, 1] = own.tensor("z_H")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    return Trajectories(tokens, halts, carries)


def reference_carries(
    reasoner: Reasoner,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    model: QuantizedModel,
    steps: int,
    progress: Progress | None = None,
) -> np.ndarray:
    """z_H of the fp32 reference after the first and after the last of `steps` steps: float32 [N, 2, S, D]."""
    return reference_runs(reasoner, inputs, puzzle_ids, model, steps, progress)[0]


def reference_runs(
    reasoner: Reasoner,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    model: QuantizedModel,
    steps: int,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`reference_carries`, and the tokens [N, seq] after the last step."""
    reference = Reference(reasoner)
    p = model.program
    found, tokens = [], []
    for start in range(0, len(inputs), REFERENCE_BATCH):
        batch = slice(start, start + REFERENCE_BATCH)
        carries: list[np.ndarray] = []
        for state in reference.steps(inputs[batch], puzzle_ids[batch], p.depth.but(steps=steps)):
            carries = [*carries[:1], state.z_H.numpy()]  # of the first step, of the last
            if progress:
                progress(len(carries[0]) / steps)
        found.append(np.stack((carries[0], carries[-1]), axis=1))
        tokens.append(state.logits.argmax(-1).numpy())
    return np.concatenate(found), np.concatenate(tokens)
