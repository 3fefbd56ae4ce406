"""A model's own answer, step by step: from the fp32 reference, from the device's arithmetic here, or from a firmware.

`verify` compares two computations; this asks one of them. Whatever answers gives the same `Step`s.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import Build
from recurc.device.frames import TABLE_WIRE, SolveResult, StepEvent
from recurc.device.session import DeviceSession
from recurc.documents.running import AnswerEntry, DeviceAnswer
from recurc.errors import InputError, UsageError
from recurc.evaluate.halting import Halt, Stayed, margin
from recurc.evaluate.stepping import EngineStepper, State, TorchStepper, check_steps
from recurc.models.inputs import check_inputs
from recurc.models.reasoner import Reasoner
from recurc.solve import MOST_STEPS, Policy
from recurc.symmetries import is_arc
from recurc.verify.device import open_device

if TYPE_CHECKING:
    from recurc.targets.host import HostEngine


@dataclass(frozen=True)
class Step:
    """A model after one supervision step.

    `step` from 1; `tokens` [seq_len], what it predicts now; `q` float32 [2], the halting head (halt, continue); `margin`: by
    how much the head is for stopping; `carry_crc`: CRC-32 of the carry as stored, None for the fp32 reference.
    """

    step: int
    tokens: np.ndarray
    q: np.ndarray
    margin: float
    carry_crc: int | None = None
    _read: Callable[[str], np.ndarray] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"Step({self.step}, margin {self.margin:+.3f}, {len(self.tokens)} tokens)"

    def tensor(self, name: str) -> np.ndarray:
        """ "z_H", "z_L" (float32 [S, D]) or "logits" (float32 [seq_len, vocab]); only before the next step runs.

        Raises:
            InputError: there is no such tensor.
        """
        if self._read is None or name not in ("z_H", "z_L", "logits"):
            raise InputError(f"a step has no tensor {name!r}", why="it has z_H, z_L and logits", next="Name one of them")
        return self._read(name)


@dataclass(frozen=True)
class Answer:
    """What a model makes of one input: `input` [seq_len], its puzzle identifier, the steps that ran, and whether the halting
    head ended them."""

    input: np.ndarray
    puzzle_id: int
    steps: tuple[Step, ...]
    halted: bool

    def __repr__(self) -> str:
        end = "halted" if self.halted else "not halted"
        return f"Answer({len(self.input)} tokens, {len(self.steps)} steps, {end}, margin {self.steps[-1].margin:+.3f})"

    @property
    def tokens(self) -> np.ndarray:
        """The answer: tokens [seq_len] after the last step."""
        return self.steps[-1].tokens

    @property
    def settled(self) -> int:
        """The step after which the tokens did not change any more."""
        last = len(self.steps)
        while last > 1 and np.array_equal(self.steps[last - 1].tokens, self.steps[last - 2].tokens):
            last -= 1
        return self.steps[last - 1].step

    def as_dict(self) -> AnswerEntry:
        """For JSON: {input, puzzle_id, answer, halted, steps: [{step, tokens, q, margin, carry_crc}]}."""
        return {
            "input": self.input.tolist(), "puzzle_id": self.puzzle_id, "answer": self.tokens.tolist(), "halted": self.halted,
            "steps": [{"step": s.step, "tokens": s.tokens.tolist(), "q": [float(v) for v in s.q], "margin": s.margin,
                       "carry_crc": s.carry_crc} for s in self.steps],
        }  # fmt: skip


@dataclass(frozen=True)
class SolvedAnswer:
    """What a device answers by itself (see `recurc.solve`): `input` [seq_len], its puzzle identifier, the answer's tokens
    [seq_len], whether it is believed, supervision steps of all runs, how often it was asked again, the run that the answer is
    of (0: the puzzle itself), the halting margin after that one's last step, and how many runs had ended with the answer by
    then."""

    input: np.ndarray
    puzzle_id: int
    tokens: np.ndarray
    solved: bool
    steps: int
    restarts: int
    run: int
    margin: float
    votes: int

    def __repr__(self) -> str:
        said = "solved" if self.solved else "unsure"
        return f"SolvedAnswer({said}, {self.steps} steps, {self.restarts} restarts, margin {self.margin:+.3f})"

    def as_dict(self) -> DeviceAnswer:
        """For JSON."""
        return {
            "input": self.input.tolist(), "puzzle_id": self.puzzle_id, "answer": self.tokens.tolist(), "solved": self.solved,
            "total_steps": self.steps, "restarts": self.restarts, "run": self.run, "margin": self.margin, "votes": self.votes,
        }  # fmt: skip


_OF_POLICY = tuple(field.name for field in fields(Policy))


def build_policy(build: Build) -> Policy:
    """How a build's firmware answers: as its manifest says; of one that says nothing, in a single run."""
    kept = build.details.get("solve")
    if not kept:
        return Policy(min(build.steps, MOST_STEPS))
    of_policy: dict[str, Any] = {name: value for name, value in kept.items() if name in _OF_POLICY}
    return Policy(**of_policy)  # what came later may be left out


class Answerer(Protocol):
    """Whatever runs a model one supervision step at a time."""

    max_steps: int

    def steps(self, tokens: np.ndarray, puzzle_id: int = 0, steps: int | None = None) -> Iterator[Step]:
        """Reset the carry, then yield after every one of `steps` steps (default: `max_steps`)."""
        ...


def answer(
    model: Answerer, tokens: np.ndarray, puzzle_id: int = 0, *, steps: int | None = None, halt: Halt | None = None
) -> Answer:
    """Run one input (tokens [seq_len]) for `steps` supervision steps, or until the halting head says stop where `halt` is
    given.

    Raises:
        UsageError: no steps, or more than the model runs. InputError: tokens that are not the model's.
    """
    ran: list[Step] = []
    halted, count = False, Stayed()
    for step in model.steps(tokens, puzzle_id, steps):
        ran.append(step)
        same = count.after(np.array(step.tokens)[None])
        halted = halt is not None and bool(halt.stops(step.step, np.array([step.margin], np.float32), same)[0])
        if halted:
            break
    return Answer(np.array(tokens), puzzle_id, tuple(ran), halted)


def answers(
    model: Answerer,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray | None = None,
    *,
    steps: int | None = None,
    halt: Halt | None = None,
) -> list[Answer]:
    """`answer` for each of inputs [N, seq_len], in order; puzzle_ids [N] are zeros when left out."""
    ids: Iterable[int] = np.zeros(len(inputs), int) if puzzle_ids is None else puzzle_ids
    return [answer(model, row, int(puzzle), steps=steps, halt=halt) for row, puzzle in zip(inputs, ids, strict=True)]


def _step(state: State, carry_crc: int | None = None) -> Step:
    """The only puzzle of a state."""

    def read(name: str) -> np.ndarray:
        return np.array(state.tensor(name)[0])

    return Step(state.step, read("tokens"), read("q"), float(state.margin[0]), carry_crc, read)


class ReferenceAnswerer:
    """The fp32 reference as an `Answerer`; `reasoner`: a loaded model."""

    def __init__(self, reasoner: Reasoner) -> None:
        from recurc.models.reference import Reference

        self._stepper = TorchStepper(Reference(reasoner))
        self.max_steps = reasoner.config.halt_max_steps

    def steps(self, tokens: np.ndarray, puzzle_id: int = 0, steps: int | None = None) -> Iterator[Step]:
        wanted = check_steps(steps, self.max_steps, trained=True)
        yield from map(_step, self._stepper.steps(np.asarray(tokens)[None], np.array([puzzle_id]), wanted))


class EngineAnswerer:
    """The device's arithmetic on this computer as an `Answerer`; a clone of the engine is taken."""

    def __init__(self, engine: HostEngine, max_steps: int) -> None:
        self._engine, self.max_steps = engine.clone(), max_steps

    def steps(self, tokens: np.ndarray, puzzle_id: int = 0, steps: int | None = None) -> Iterator[Step]:
        wanted, engine = check_steps(steps, self.max_steps), self._engine
        for state in EngineStepper(engine).steps(np.asarray(tokens)[None], np.array([puzzle_id]), wanted):
            yield _step(state, zlib.crc32(engine.carry_bytes()))


class Connection:
    """A build's firmware that answers: in an emulator, as a process of this computer, or behind a port.

    A context manager; `recurc.connect` makes it. `board` is the board that answered, `max_steps` what it is compiled for.
    """

    def __init__(self, build: Build, on: str = "qemu") -> None:
        self.build, self.on = build, on
        self._rule = build.config.halt_rule
        self.max_steps: int = build.steps
        self._stack = ExitStack()
        self._session: DeviceSession | None = None
        self._records: Callable[[int], bytes] | None = None
        self._ran = 0  # steps, all puzzles together

    def __repr__(self) -> str:
        state = "closed" if self._session is None else f"open, {self.board.name}"
        return f"Connection({self.build.name} on {self.on}, {state})"

    def __enter__(self) -> Connection:
        with ExitStack() as stack:
            opened = stack.enter_context(open_device(self.build, self.on))
            self._session, self.board, self._records = opened.session, opened.board, opened.records
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session = None
        self._stack.__exit__(kind, error, trace)

    def steps(self, tokens: np.ndarray, puzzle_id: int = 0, steps: int | None = None) -> Iterator[Step]:
        """Send an input (tokens [seq_len]), then yield what the device computes, one supervision step at a time.

        Raises:
            UsageError: the connection is not open, or it does not run so many steps. InputError: tokens or puzzle are not the
                model's. DeviceUnreachableError: the device stopped answering; begin again.
        """
        wanted = check_steps(steps, self.max_steps)
        session, puzzle = self._load(tokens, puzzle_id)
        for number in range(1, wanted + 1):
            event, _ = session.run(1, begin=number == 1, puzzle=puzzle)
            assert isinstance(event, StepEvent)  # the last one is the run's result
            q = np.array([event.q_halt, event.q_continue], np.float32)
            self._ran += 1
            yield Step(
                number,
                np.array(session.read_tensor("tokens")),
                q,
                float(margin(q, self._rule)),
                event.carry_crc,
                partial(self._read, self._ran),
            )

    def _load(self, tokens: np.ndarray, puzzle_id: int) -> tuple[DeviceSession, int]:
        """Send an input, and its row where the device has no table; the session and the puzzle's number."""
        if self._session is None:
            raise UsageError(
                "the connection is not open",
                where=self.on,
                next="Use it in a with block: with recurc.connect(build) as device: ...",
            )
        session = self._session
        (row,), (puzzle,) = check_inputs(self.build.config, np.asarray(tokens)[None], np.array([puzzle_id]))
        session.load(row)
        if self._records is not None and (session.info or session.hello()).table_mode == TABLE_WIRE:
            session.send_row(int(puzzle), self._records(int(puzzle)))
        return session, int(puzzle)

    def solve(
        self, inputs: np.ndarray, puzzle_ids: np.ndarray | None = None, *, policy: Policy | None = None
    ) -> list[SolvedAnswer]:
        """Let the device answer inputs [N, seq_len] (or one, [seq_len]) by itself, restarts included, in order.

        Args:
            policy: None: as the build says.

        Raises:
            UsageError: a run of more steps than the device is compiled for; else as `steps`.
        """
        rows, ids = check_inputs(self.build.config, np.atleast_2d(np.asarray(inputs)), puzzle_ids)
        chosen = policy or build_policy(self.build)
        check_steps(chosen.most_steps, self.max_steps)
        asks = [partial(self._solve, row, int(puzzle), chosen) for row, puzzle in zip(rows, ids, strict=True)]
        return [ask() if self._session is None else self._session.persist(ask) for ask in asks]

    def _solve(self, tokens: np.ndarray, puzzle_id: int, policy: Policy) -> SolvedAnswer:
        session, puzzle = self._load(tokens, puzzle_id)
        kept = self.build.details.get("solve")
        forms, fewer = (kept["forms"], is_arc(kept["symmetry"])) if kept else (0, False)
        if policy.noise:
            if not kept or not kept.get("noise"):
                raise UsageError("the build adds no noise", where=argument("policy"), why="its firmware was compiled without",
                                 next="Give a policy without, or build with noise")  # fmt: skip
            forms, fewer = max(forms, kept["restarts"]), False
        self._ran += 1  # the tensors of a step before are gone
        *_, result = session.solve(policy, puzzle=puzzle, forms=forms, fewer=fewer)
        assert isinstance(result, SolveResult)  # the last thing that is told
        answer = np.array(session.read_tensor("answer"))
        return SolvedAnswer(
            np.array(tokens), puzzle_id, answer, result.solved, result.total_steps, result.restarts, result.run, result.margin,
            result.votes,
        )  # fmt: skip

    def _read(self, ran: int, name: str) -> np.ndarray:
        """A tensor of the step that ran as number `ran` of this connection, which must be the last one."""
        config = self.build.config
        if ran != self._ran or self._session is None:
            raise UsageError(
                f"the {name} of this step is gone",
                why="the device has gone on",
                next="Read a step's tensors before the next step runs",
            )
        shape = (config.seq_len, config.vocab_size) if name == "logits" else (config.rows, config.hidden_size)
        return np.array(self._session.read_tensor(name)).reshape(shape)

    def run(
        self, inputs: np.ndarray, puzzle_ids: np.ndarray | None = None, *, steps: int | None = None, halt: Halt | None = None
    ) -> list[Answer]:
        """The device's answers to inputs [N, seq_len] (or one, [seq_len]), in order; what the line loses is asked again.

        Args:
            steps: supervision steps (default: as compiled).
            halt: stop early on the halting head.

        Raises:
            As `steps`.
        """
        rows, ids = check_inputs(self.build.config, np.atleast_2d(np.asarray(inputs)), puzzle_ids)
        return [self.answer(row, int(puzzle), steps=steps, halt=halt) for row, puzzle in zip(rows, ids, strict=True)]

    def answer(self, tokens: np.ndarray, puzzle_id: int = 0, *, steps: int | None = None, halt: Halt | None = None) -> Answer:
        """The device's answer to one input (tokens [seq_len]); options and errors as of `run`."""
        ask = partial(answer, self, tokens, puzzle_id, steps=steps, halt=halt)
        return ask() if self._session is None else self._session.persist(ask)


def connect(build: Build | Path | str, on: str = "qemu", *, trust: bool = False) -> Connection:
    """A connection to a build's firmware, to be used in a with block.

        with recurc.connect("build/sudoku9", on="qemu") as device:
            print(device.run(inputs)[0].tokens)
            for step in device.steps(inputs[0]):
                print(step.step, step.margin, step.carry_crc)

    Args:
        build: a `recurc.build.manifest.Build` or the path of one.
        on: "qemu" (the target or its emulated twin), "host" (the firmware as a process of this computer), or a port:
            tcp://HOST:PORT, /dev/ttyACM0, any pyserial URL.
        trust: the build's firmware may be run here although this user did not build it on this computer.

    Raises:
        InputError: the build is missing or changed. On entering: UntrustedBuildError, UsageError, ToolchainError,
            DeviceUnreachableError, MismatchError, as of `recurc.verify`.
    """
    from recurc.build.opened import as_build

    return Connection(as_build(build, trust, 1), on)
