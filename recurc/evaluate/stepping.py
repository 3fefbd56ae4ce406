"""The one loop over a model's supervision steps, whoever computes them: the device's code here, onnxruntime, or torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.evaluate.halting import margin
from recurc.noise import Noise, Stir
from recurc.reading import shown
from recurc.recursion import Depth
from recurc.types import F32Array

if TYPE_CHECKING:
    from recurc.models.reference import Reference, StepResult

TORCH_BATCH = 16  # puzzles that the fp32 reference takes at a time, where nobody says otherwise


class Stepped(Protocol):
    """Computes one puzzle, step by step: recurc.targets.host.HostEngine."""

    def begin(self, tokens: np.ndarray, puzzle_id: int = 0, /) -> None:
        """Load a puzzle, tokens [seq], and reset the carry."""

    def add_noise(self, noise: Noise, run: int, /) -> None:
        """Add to the carry what a run has before its next step, if it has any then."""

    def step(self) -> None:
        """One supervision step."""


class Engine(Stepped, Protocol):
    """One that tells what it computed, and its halting rule: one of HALT_RULES."""

    @property
    def halt_rule(self) -> str: ...

    def tensor(self, name: str, /) -> np.ndarray:
        """A copy of "tokens" [seq], "logits" [seq, vocab], "q" [2] (halt, continue), "z_H" or "z_L" [S, D]."""

    def clone(self) -> Self:
        """Another one of the same model, with its own carry."""


@dataclass(frozen=True)
class State:
    """Some puzzles [n] after a supervision step, counted from 1.

    `tensor` gives, until the next step runs, a copy of "tokens" [n, seq], "logits" [n, seq, vocab], "q" [n, 2], "z_H" or
    "z_L" [n, S, D]. rule: the halting rule of the model's configuration.
    """

    step: int
    rule: str
    tensor: Callable[[str], np.ndarray]

    @property
    def margin(self) -> F32Array:
        """What the halting head is for stopping by, [n]."""
        return margin(self.tensor("q"), self.rule)


class Stepper(Protocol):
    """Steps puzzles, at most `most` of them at a time."""

    @property
    def most(self) -> int: ...

    def steps(self, inputs: np.ndarray, puzzle_ids: np.ndarray, steps: int, stir: Stir | None = None) -> Iterator[State]:
        """The state of puzzles, tokens [n, seq] and identifiers [n], after each of `steps` supervision steps.

        stir: noise that the carry has on the way.
        """

    def fresh(self) -> Stepper:
        """One that may run beside this one."""


def walk(engine: Stepped, tokens: np.ndarray, puzzle_id: int, steps: int, stir: Stir | None = None) -> Iterator[int]:
    """Run a puzzle, tokens [seq], step by step: the number of each step, from 1, once it has run. stir: noise on the way."""
    engine.begin(tokens, puzzle_id)
    for step in range(1, steps + 1):
        if stir is not None:
            engine.add_noise(*stir)
        engine.step()
        yield step


@dataclass(frozen=True)
class EngineStepper:
    """Steps an engine, puzzle by puzzle."""

    engine: Engine
    most: int = 1

    def steps(self, inputs: np.ndarray, puzzle_ids: np.ndarray, steps: int, stir: Stir | None = None) -> Iterator[State]:
        (tokens,), (puzzle,) = inputs, puzzle_ids
        for step in walk(self.engine, tokens, int(puzzle), steps, stir):
            yield State(step, self.engine.halt_rule, self._tensor)

    def _tensor(self, name: str) -> np.ndarray:
        return self.engine.tensor(name)[None]

    def fresh(self) -> EngineStepper:
        return EngineStepper(self.engine.clone())


@dataclass(frozen=True)
class TorchStepper:
    """Steps the fp32 reference, or a model made of it, at some depth (None: as trained)."""

    model: Reference
    depth: Depth | None = None
    most: int = TORCH_BATCH

    def steps(self, inputs: np.ndarray, puzzle_ids: np.ndarray, steps: int, stir: Stir | None = None) -> Iterator[State]:
        depth = (self.depth or self.model.config.trained).but(steps=steps)
        for found in self.model.steps(inputs, puzzle_ids, depth, stir):
            yield State(found.step, self.model.config.halt_rule, partial(_torch_tensor, found))

    def fresh(self) -> TorchStepper:
        return self  # it keeps nothing between runs


def _torch_tensor(found: StepResult, name: str) -> np.ndarray:
    if name == "tokens":
        return np.asarray(found.logits.argmax(dim=-1).numpy(), dtype=np.int32)
    return np.asarray(getattr(found, name).numpy())


def check_steps(steps: int | None, most: int, trained: bool = False) -> int:
    """The number of steps to run: `most` when None.

    Args:
        trained: `most` is a default that may be exceeded (the fp32 reference has no bound).

    Raises:
        UsageError: none, or too many.
    """
    wanted = most if steps is None else steps
    if isinstance(wanted, bool) or not isinstance(wanted, (int, np.integer)):
        raise UsageError(f"steps is no whole number: {shown(steps)}", where=argument("steps"), next="Give a number from 1 on")
    if wanted < 1 or (wanted > most and not trained):
        why = "at least one step runs" if wanted < 1 else f"the model is compiled for {most}"
        raise UsageError(
            f"{wanted} steps cannot be run",
            where=argument("steps"),
            why=why,
            next="Leave steps out, or give a number " + ("from 1 on" if trained else f"from 1 to {most}"),
        )
    return wanted
