"""What a run gives in Python: the same arrays whether the fp32 reference or the device's arithmetic ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from recurc.evaluate.halting import Halt, margin


@dataclass(frozen=True)
class Trajectory:
    """Every step of a run: tokens int32 [steps, N, seq], logits float32 [steps, N, seq, vocab], z_H and z_L float32
    [steps, N, S, D]. An input that the halting head stopped stays from then on as it was."""

    tokens: np.ndarray
    logits: np.ndarray
    z_H: np.ndarray
    z_L: np.ndarray


@dataclass(frozen=True)
class Outputs:
    """What a run gives: logits [N, seq, vocab] of the last step, q [steps, N, 2] (halt, continue), z_H [N, S, D]; float32.

    `stopped_at` [N]: the last step that counts, from 1: where the halting head stopped, else the number of steps. `trajectory`
    where it was asked for, else None.
    """

    logits: np.ndarray
    q: np.ndarray
    z_H: np.ndarray
    stopped_at: np.ndarray
    trajectory: Trajectory | None = None

    def __repr__(self) -> str:
        n, seq, vocab = self.logits.shape
        every = ", every step kept" if self.trajectory else ""
        return f"Outputs({n} inputs of {seq} tokens, vocabulary {vocab}, {len(self.q)} steps{every})"

    @property
    def tokens(self) -> np.ndarray:
        """Predicted tokens [N, seq]."""
        return np.asarray(self.logits.argmax(axis=-1))


@dataclass
class State:
    """A batch after one step: logits [N, seq, vocab], q [N, 2], z_H and z_L [N, S, D], all float32."""

    logits: np.ndarray
    q: np.ndarray
    z_H: np.ndarray
    z_L: np.ndarray


def collect(states: Iterable[State], rule: str, halt: Halt | None, trajectory: bool) -> Outputs:
    """The outputs of a batch from its states, in order; no more are asked for when all inputs have stopped.

    Args:
        rule: the halting rule of the model's configuration.
        halt: when to stop; None: never.
        trajectory: keep every step.
    """
    kept: list[State] = []
    q: list[np.ndarray] = []
    stopped: np.ndarray | None = None
    for step, state in enumerate(states, start=1):
        n = len(state.q)
        stopped = np.zeros(n, dtype=np.int64) if stopped is None else stopped
        if kept:
            state = _frozen(state, kept[-1], stopped > 0)
        kept = [*kept, state] if trajectory else [state]
        q.append(state.q)
        if halt is not None and step >= halt.min_steps:
            stops = np.array([margin(row, rule) > halt.threshold for row in state.q])
            stopped[(stopped == 0) & stops] = step
            if (stopped > 0).all():
                break
    assert stopped is not None
    stopped[stopped == 0] = len(q)
    last = kept[-1]
    return Outputs(last.logits, np.stack(q), last.z_H, stopped, _trajectory(kept) if trajectory else None)


def _frozen(new: State, old: State, stays: np.ndarray) -> State:
    """The new state, with the old one where an input has stopped."""
    if not stays.any():
        return new
    return State(
        *(
            np.where(stays.reshape(-1, *(1,) * (a.ndim - 1)), b, a)
            for a, b in ((getattr(new, name), getattr(old, name)) for name in ("logits", "q", "z_H", "z_L"))
        )
    )


def _trajectory(states: list[State]) -> Trajectory:
    logits = np.stack([s.logits for s in states])
    return Trajectory(
        logits.argmax(axis=-1).astype(np.int32), logits, np.stack([s.z_H for s in states]), np.stack([s.z_L for s in states])
    )


def joined(parts: Iterator[Outputs] | list[Outputs]) -> Outputs:
    """Batches one after another; those that stopped earlier stay as they were, so that all have the same number of steps."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    steps = max(len(p.q) for p in parts)

    def longer(array: np.ndarray) -> np.ndarray:
        return np.concatenate((array, *[array[-1:]] * (steps - len(array))))

    trajectory = None
    if all(p.trajectory is not None for p in parts):
        trajectory = Trajectory(
            *(
                np.concatenate([longer(getattr(p.trajectory, name)) for p in parts], axis=1)
                for name in ("tokens", "logits", "z_H", "z_L")
            )
        )
    return Outputs(
        np.concatenate([p.logits for p in parts]), np.concatenate([longer(p.q) for p in parts], axis=1),
        np.concatenate([p.z_H for p in parts]), np.concatenate([p.stopped_at for p in parts]), trajectory,
    )  # fmt: skip
