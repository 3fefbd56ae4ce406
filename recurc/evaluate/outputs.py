"""What a run gives in Python: the same arrays whether the fp32 reference or the device's arithmetic ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from recurc.evaluate.halting import Halt, Stayed, margin
from recurc.evaluate.runs import Progress
from recurc.evaluate.stepping import State, Stepper


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


@dataclass(frozen=True)
class _Arrays:
    """A batch after one step: logits [N, seq, vocab], q [N, 2], z_H and z_L [N, S, D], all float32."""

    logits: np.ndarray
    q: np.ndarray
    z_H: np.ndarray
    z_L: np.ndarray

    @classmethod
    def of(cls, state: State) -> _Arrays:
        return cls(*(state.tensor(field.name) for field in fields(cls)))


@dataclass(frozen=True)
class Wanted:
    """What a caller wants of a run: so many steps at most, the rule that stops an input earlier (None: none), and whether every
    step is kept."""

    steps: int
    halt: Halt | None = None
    trajectory: bool = False


def outputs(
    stepper: Stepper, inputs: np.ndarray, puzzle_ids: np.ndarray, wanted: Wanted, progress: Progress | None = None
) -> Iterator[Outputs]:
    """Outputs of a few inputs, tokens [n, seq], at a time, in order; `joined` makes one of them.

    Args:
        progress: called with the number of puzzles done since the last call, of a part of one for each step.
    """
    for start in range(0, len(inputs), stepper.most):
        batch, told = slice(start, start + stepper.most), 0.0
        count = len(inputs[batch])

        def states(batch: slice = batch, count: int = count) -> Iterator[State]:
            nonlocal told
            for state in stepper.steps(inputs[batch], puzzle_ids[batch], wanted.steps):
                yield state
                if progress is not None:
                    progress(count / wanted.steps)
                    told += count / wanted.steps

        yield _collected(states(), wanted)
        if progress is not None:
            progress(count - told)  # what halting saved, and the step whose end nobody waited for


def _collected(states: Iterable[State], wanted: Wanted) -> Outputs:
    """The outputs of a batch from its states, in order; no more are asked for when all inputs have stopped."""
    kept: list[_Arrays] = []
    q: list[np.ndarray] = []
    stopped, count = np.zeros(0, dtype=np.int64), Stayed()
    for state in states:
        now = _Arrays.of(state)
        if kept:
            now = _frozen(now, kept[-1], stopped > 0)
        else:
            stopped = np.zeros(len(now.q), dtype=np.int64)
        kept = [*kept, now] if wanted.trajectory else [now]
        q.append(now.q)
        if wanted.halt is not None:
            same = count.after(state.tensor("tokens"))
            stopped[(stopped == 0) & wanted.halt.stops(state.step, margin(now.q, state.rule), same)] = state.step
            if (stopped > 0).all():
                break
    stopped[stopped == 0] = len(q)
    last = kept[-1]
    return Outputs(last.logits, np.stack(q), last.z_H, stopped, _trajectory(kept) if wanted.trajectory else None)


def _frozen(new: _Arrays, old: _Arrays, stays: np.ndarray) -> _Arrays:
    """The new state, with the old one where an input has stopped."""
    if not stays.any():
        return new
    return _Arrays(
        *(
            np.where(stays.reshape(-1, *(1,) * (a.ndim - 1)), b, a)
            for a, b in ((getattr(new, name), getattr(old, name)) for name in ("logits", "q", "z_H", "z_L"))
        )
    )


def _trajectory(states: list[_Arrays]) -> Trajectory:
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
