"""The two ways to run a puzzle on a device and beside it on the host: some supervision steps, or until it is answered."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from recurc.device import frames as f
from recurc.device.expected import ModelConstants
from recurc.device.session import DeviceSession
from recurc.evaluate.halting import Halt
from recurc.evaluate.stepping import walk
from recurc.noise import Stir
from recurc.solve import Answer, Policy
from recurc.verify.divergence import TracedEngine, compare_tensors, first_element
from recurc.verify.result import Difference, StepView

Ended = f.RunResult | f.SolveResult


class Answering(Protocol):
    """The host's procedure on one puzzle (recurc.targets.solving.Solving)."""

    @property
    def run(self) -> int: ...

    @property
    def row(self) -> int: ...

    @property
    def most(self) -> int: ...

    def steps(self) -> Iterator[int]: ...

    def answer(self) -> Answer: ...


class Engine(TracedEngine, Protocol):
    """The host's side of the comparison (recurc.targets.host.HostEngine)."""

    @property
    def info(self) -> ModelConstants: ...

    @property
    def table_key(self) -> bytes: ...

    def halts(self, threshold: float = 0.0, patience: int = 0) -> bool: ...

    def solving(self, tokens: np.ndarray, policy: Policy, puzzle_id: int = 0) -> Answering: ...


class Course(Protocol):
    """One way. `begin` comes first, then `device` is gone through, and `host` called once for each of its steps."""

    def begin(self, tokens: np.ndarray, puzzle_id: int) -> None:
        """Begin a puzzle on the host; on the device it is loaded already."""

    def device(self, stops: Collection[int]) -> Iterator[f.StepEvent | Ended]:
        """What the device tells. After the steps in `stops` it waits while its event is dealt with, if it can."""

    def host(self, event: f.StepEvent) -> str | None:
        """Run the host's step; what differs already, None where nothing does: "halt" (it has ended), "run" (another)."""

    def differs(self, puzzle: int, ended: Ended, run_steps: int) -> Difference | None:
        """Where the two differ in how they end, of a puzzle whose steps were all equal, `run_steps` of them in its last run."""

    def predicted(self) -> np.ndarray:
        """The answer, tokens uint8 [seq], read from the device."""

    def finish(self, ended: Ended) -> Finish: ...

    def stir(self, run: int) -> Stir | None:
        """The noise that a run has; None: it has none."""

    @property
    def row(self) -> int:
        """Of the puzzle table: what the run of the host's last step was asked with."""

    def view(self, step: int, puzzle: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> StepView:
        """What there is to draw after a step whose event is being dealt with."""


@dataclass(frozen=True)
class Finish:
    """How a puzzle has ended. solved, restarts: of one that was answered; None of one that was run."""

    steps: int
    halted: bool
    solved: bool | None = None
    restarts: int | None = None


T = TypeVar("T")


def _ended(found: object, kind: type[T]) -> T:
    assert isinstance(found, kind)
    return found


class Stepping:
    """Some supervision steps, or fewer where the halting rule stops them."""

    def __init__(self, session: DeviceSession, engine: Engine, steps: int, halt: Halt | None) -> None:
        self.session, self.engine, self.steps, self.halt = session, engine, steps, halt

    def begin(self, tokens: np.ndarray, puzzle_id: int) -> None:
        self.engine.begin(tokens, puzzle_id)  # what is no puzzle of the model is refused here, by its name
        self._walk, self._puzzle, self._halted = walk(self.engine, tokens, puzzle_id, self.steps), puzzle_id, False

    def device(self, stops: Collection[int]) -> Iterator[f.StepEvent | Ended]:
        halt = self.halt
        options: dict[str, Any] = {"puzzle": self._puzzle, "halt": halt is not None}
        if halt is not None:
            options |= {"threshold": halt.threshold, "min_steps": halt.min_steps, "patience": halt.patience}
        at = 0
        for stop in sorted({*(s for s in stops if s < self.steps), self.steps}):
            last, result = None, None
            for event in self.session.run(stop - at, begin=at == 0, **options):
                if isinstance(event, f.RunResult):
                    result = event
                elif event.step == stop:
                    last = event
                else:
                    yield event
            if last is not None:
                yield last
            assert result is not None
            at = stop
            if result.halted or stop == self.steps:
                yield result
                return

    def host(self, event: f.StepEvent) -> str | None:
        if self._halted:
            return "halt"
        next(self._walk, None)
        halt = self.halt  # the engine's own C decides, as the device's does
        if halt is not None and halt.may_stop(event.step):
            self._halted = self.engine.halts(halt.threshold, halt.patience)
        return None

    def differs(self, puzzle: int, ended: Ended, run_steps: int) -> Difference | None:
        result = _ended(ended, f.RunResult)
        if result.halted != self._halted:
            return Difference(puzzle, result.total_steps, "halt", None, int(self._halted), int(result.halted))
        return compare_tensors(self.engine, self.session, puzzle, result.total_steps, ("logits", "tokens"))

    def predicted(self) -> np.ndarray:
        return self.session.read_tensor("tokens")

    def finish(self, ended: Ended) -> Finish:
        result = _ended(ended, f.RunResult)
        return Finish(result.total_steps, result.halted)

    def stir(self, run: int) -> Stir | None:
        return None

    @property
    def row(self) -> int:
        return self._puzzle

    def view(self, step: int, puzzle: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> StepView:
        return StepView(step, self.session.read_tensor("tokens"), puzzle, labels, valid)


class Solving:
    """Until the puzzle is answered, restarts included; the device decides by itself, and so does the host."""

    def __init__(self, session: DeviceSession, engine: Engine, policy: Policy) -> None:
        self.session, self.engine, self.policy = session, engine, policy

    def begin(self, tokens: np.ndarray, puzzle_id: int) -> None:
        self._puzzle, self._solving = puzzle_id, self.engine.solving(tokens, self.policy, puzzle_id)
        self._steps = self._solving.steps()

    def device(self, stops: Collection[int]) -> Iterator[f.StepEvent | Ended]:
        yield from self.session.solve(self.policy, puzzle=self._puzzle, forms=self._solving.most)

    def host(self, event: f.StepEvent) -> str | None:
        if next(self._steps, None) is None:
            return "halt"
        return "run" if self._solving.run != event.run else None

    def differs(self, puzzle: int, ended: Ended, run_steps: int) -> Difference | None:
        result, step = _ended(ended, f.SolveResult), run_steps
        if next(self._steps, None) is not None:
            return Difference(puzzle, step, "halt", None, 0, 1, run=result.restarts)
        own, sent = self._solving.answer(), self.predicted()
        for name, host, device in (
            ("solved", int(own.solved), int(result.solved)),
            ("restarts", own.restarts, result.restarts),
            ("run of the answer", own.run, result.run),
            ("votes of the answer", own.votes, result.votes),
            ("margin of the answer", float(np.float32(own.margin)), result.margin),
            ("answer as told", zlib.crc32(own.tokens.tobytes()), result.answer_crc),
        ):
            if host != device:
                return Difference(puzzle, step, name, None, host, device, run=result.restarts)
        if hit := first_element(own.tokens, sent):
            return Difference(puzzle, step, "answer", *hit[:3], None, hit[3], own.tokens.size, run=result.restarts)
        return None

    def predicted(self) -> np.ndarray:
        return self.session.read_tensor("answer")

    def finish(self, ended: Ended) -> Finish:
        result = _ended(ended, f.SolveResult)
        return Finish(result.total_steps, result.solved, result.solved, result.restarts)

    def stir(self, run: int) -> Stir | None:
        noise = self.policy.noisy
        return (noise, run) if noise is not None and run else None

    @property
    def row(self) -> int:
        return self._solving.row

    def view(self, step: int, puzzle: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> StepView:
        """The host's, since the device does not wait; where a step differs, the verdict says so. No label is known of another
        form."""
        run, asked = self._solving.run, np.frombuffer(self.engine.raw("input"), np.uint8)
        return StepView(step, self.engine.tensor("tokens"), asked, labels, valid & (run == 0), run)
