"""A conversation with one firmware: what it is asked, and what its answers mean."""

from __future__ import annotations

import math
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from recurc.device import frames as f
from recurc.device.faults import DeviceFaultError, DeviceRefusedError, DeviceRestartedError, LineError
from recurc.device.link import NAMES, is_damaged_request
from recurc.device.reading import Reader
from recurc.device.selftest import NONCE_BYTES, Selftest, parse_selftest
from recurc.errors import DeviceUnreachableError, InputError
from recurc.noise import Stir
from recurc.solve import MOST_RESTARTS, Policy

T = TypeVar("T")
R = TypeVar("R", f.RunResult, f.SolveResult)


class DeviceSession(Reader):
    """Drives one firmware over a transport; see `Link` for its arguments and for what is repeated."""

    _step = 0
    _tokens: np.ndarray | None = None
    _record: tuple[int, bytes] | None = None
    _puzzle = 0
    _run_valid = False

    def _forgot(self, kind: int, status: int) -> bool:
        """After a reset that nothing told of, the input row, the puzzle's row and the carry are gone."""
        return (
            (
                kind in (f.RUN, f.SOLVE) and self._run_valid and status == f.STATUS_ARGUMENT
            )  # its input row is not the one that was loaded
            or (
                kind in (f.RUN, f.SOLVE)
                and self._record is not None
                and self._record[0] == self._puzzle
                and status == f.STATUS_ROW
            )
            or (kind in (f.READ, f.RUN) and (self._step > 0 or self._answer_crc is not None) and status == f.STATUS_STATE)
        )

    def persist(self, job: Callable[[], T], attempts: int = 8) -> T:
        """The result of `job`, which is done again from its start when the line lost something or the device restarted.

        `job` must begin by telling the device all it needs. Before each further attempt the device must answer HELLO, so
        that one that is gone costs no more than that.

        Raises:
            DeviceFaultError, DeviceRefusedError: at once: they would come again.
            DeviceUnreachableError: the device is gone, or the last attempt failed too. MismatchError: as of `hello`.
        """
        for attempt in range(1, attempts + 1):
            try:
                return job()
            except (DeviceFaultError, DeviceRefusedError):
                raise
            except DeviceUnreachableError:
                if attempt == attempts:
                    raise
                self.retries += 1
                self._persist_hello()
        raise AssertionError("unreachable")

    def _persist_hello(self) -> None:
        """`hello`, once more when the device restarts in the very moment."""
        try:
            self.hello()
        except DeviceRestartedError:
            self.hello()

    def load(self, tokens: np.ndarray) -> None:
        """Send a puzzle's input row.

        Args:
            tokens: integers [seq_len], each 0..255.

        Raises:
            InputError: the row has another length or values outside a byte.
        """
        info = self.info or self.hello()
        row = np.asarray(tokens)
        if row.shape != (info.seq_len,) or row.min(initial=0) < 0 or row.max(initial=0) > 255:
            raise InputError(
                "the input row does not fit the device's model",
                why=f"shape {row.shape}, the model takes ({info.seq_len},) bytes",
            )
        data = row.astype(np.uint8).tobytes()
        self._input_crc, self._tokens, self._record = zlib.crc32(data), row, None
        reported = 0
        for offset in range(0, len(data), f.MAX_LOAD):
            body = struct.pack("<I", offset) + data[offset : offset + f.MAX_LOAD]
            reported = self._parsed(f.parse_crc, self._request(f.LOAD, body), "reply to LOAD")
        if reported != self._input_crc:
            raise self._lost("it holds another input row than was sent", LineError)

    def send_row(self, index: int, record: bytes) -> None:
        """Send a puzzle's row of the streamed table; `run` with that puzzle comes next. A puzzle under way ends.

        Args:
            index: the puzzle's identifier, its row in the table.
            record: the whole record, as `TableFile.record` or `PuzzleTable.record` gives it.

        Raises:
            InputError: the model takes no rows over the wire, or rows of another size; no such puzzle.
            DeviceRefusedError: the record is corrupt, of another puzzle or of another model's table.
        """
        info = self.info or self.hello()
        if info.table_mode != f.TABLE_WIRE:
            where = "has them in its memory" if info.table_mode == f.TABLE_MAPPED else "has no streamed puzzle table"
            raise InputError(
                "the device takes no puzzle rows", where=self.transport.description, why=f"its firmware {where}",
                next="Build with a table streamed over the wire, or run without sending rows",
            )  # fmt: skip
        if len(record) != info.record_bytes:
            raise InputError(
                "the puzzle's record does not fit the device's model",
                why=f"it has {len(record)} bytes, the model takes {info.record_bytes}",
                next="Use the table file that was written with this build",
            )
        if not 0 <= index < info.puzzles:
            raise InputError(
                f"there is no puzzle {index}", where=self.transport.description,
                why=f"the device's table has puzzles 0 to {info.puzzles - 1}",
                next="Use the dataset that the model was trained with",
            )  # fmt: skip
        self._step, self._record = 0, None
        self._new_state()
        reply = (0, False)
        for offset in range(0, len(record), f.MAX_ROW):
            piece = record[offset : offset + f.MAX_ROW]
            reply = self._parsed(f.parse_row, self._request(f.ROW, f.row_body(index, offset, piece)), "reply to ROW")
        if reply != (len(record), True):
            raise self._lost(f"it holds {reply[0]} of {len(record)} bytes of the puzzle's row", LineError)
        self._record = index, record

    def run(
        self,
        steps: int,
        *,
        begin: bool = True,
        halt: bool = False,
        min_steps: int = 1,
        threshold: float = 0.0,
        patience: int = 0,
        puzzle: int = 0,
        stir: Stir | None = None,
    ) -> Iterator[f.StepEvent | f.RunResult]:
        """Run supervision steps on the loaded row; yields a StepEvent after each and the RunResult last.

        Args:
            steps: how many at most.
            begin: start from the loaded row; False goes on from the carry as it is.
            halt: stop when the halting margin is above `threshold` and the tokens have stayed the same for `patience` steps
                (0..255), at the earliest after `min_steps` steps.
            puzzle: row of the puzzle embedding table.
            stir: noise that a run from the start has on the way, that before the step which would come next too.

        Raises:
            DeviceRefusedError: bad token, puzzle or step count; the model is not open, or was built without noise.
            LineError: an event was lost. The run is over then; it is not repeated, because going on from a carry is not
                idempotent (see `persist`).
            MismatchError: it runs more steps than it was asked for, or says that it ran fewer for no reason.
            DeviceUnreachableError: silence for `step_timeout` seconds.
        """
        flags = (f.RUN_BEGIN if begin else 0) | (f.RUN_HALT if halt else 0)
        at = 0 if begin else self._step
        body = f.run_body(flags, steps, min_steps, at, puzzle, self._input_crc, threshold, patience, stir)
        frame = f.Frame(f.RUN, self._next_seq(), body)
        self._step, self._puzzle = at, puzzle
        self._new_state()
        self._run_valid = begin and self.info is not None and 0 < steps <= self.info.steps and self._tokens is not None
        for event in self._told(frame, at, at + steps, f.parse_result):
            if isinstance(event, f.RunResult):
                run = event.total_steps - at
                self._check_run(
                    (event.steps != run, f"it says {event.steps} steps, and told of {run}"),
                    (
                        event.halted and not (halt and run),
                        "it says that its halting head ended a run that it cannot have ended",
                    ),
                    (not event.halted and run != steps, f"it ran {run} steps of {steps} and does not say why"),
                )
            yield event

    def solve(
        self, policy: Policy, *, puzzle: int = 0, forms: int = MOST_RESTARTS, fewer: bool = False
    ) -> Iterator[f.StepEvent | f.SolveResult]:
        """Let the device answer the loaded row by itself (see `recurc.solve`); yields a StepEvent after each step, numbered
        through all runs, and the SolveResult last. The answer's tokens are then the tensor "answer".

        Args:
            forms: other forms of the puzzle that the build has; with noise, runs after the first that it has room for.
            fewer: it may have fewer; nobody here knows.

        Raises:
            As `run`.
        """
        frame = f.Frame(f.SOLVE, self._next_seq(), f.solve_body(policy, puzzle, self._input_crc))
        self._step, self._puzzle, run, steps = 0, puzzle, 0, 0
        self._new_state()
        self._run_valid = self.info is not None and policy.most_steps <= self.info.steps and self._tokens is not None
        most = min(policy.restarts, forms)
        for event in self._told(frame, 0, policy.steps + most * policy.restart_steps, f.parse_solve):
            if isinstance(event, f.SolveResult):
                self._check_run(
                    (event.restarts != run, f"it says {event.restarts} restarts, and told of {run}"),
                    (event.run > event.restarts, f"its answer is of run {event.run}, and {run} is the last"),
                    (not (event.solved or fewer or run == most), f"it asked again {run} times of {most} and does not say why"),
                    (event.solved and event.run != run, f"it believes run {event.run}, and went on to run {run}"),
                    (not 0 < event.votes <= event.run + 1, f"{event.votes} of {event.run + 1} runs end with its answer"),
                    (event.solved and policy.accept == "agreement" and not run, "one run agrees with nobody"),
                    (
                        policy.accept == "vote" and event.solved != (1 < event.votes > (most + 1) // 2) and not fewer,
                        f"{event.votes} of {most + 1} votes do not go with its verdict",
                    ),
                    (
                        event.solved and policy.accept == "margin" and not event.margin > policy.threshold,
                        f"it believes a margin of {event.margin:g}, and was asked for more than {policy.threshold:g}",
                    ),
                    (not math.isfinite(event.margin), f"its margin is {event.margin}"),
                )
                self._step, self._answer_crc = 0, event.answer_crc  # its carry is the last run's
            else:
                steps = steps + 1 if event.run == run else 1
                self._check_run(
                    (not run <= event.run <= min(run + 1, most), f"run {event.run} follows run {run} of {most}"),
                    (steps > policy.budget(event.run), f"run {event.run} has {steps} steps of {policy.budget(event.run)}"),
                )
                run = event.run
            yield event

    def _told(self, frame: f.Frame, at: int, end: int, parse: Callable[[bytes], R]) -> Iterator[f.StepEvent | R]:
        """What the device tells of a RUN or a SOLVE, its reply last; the request is sent again where it never began."""
        for attempt in range(self.attempts):
            self.retries += attempt > 0
            self._send(frame)
            ticks = 0
            for event in self._events(frame, at, end, parse):
                if event is None:
                    break  # it never began
                if isinstance(event, f.StepEvent):
                    ticks += event.ticks
                    self._new_state(event)
                else:
                    most = (self.info.stack_bytes if self.info else 0) or event.stack_used
                    self._check_run(
                        (event.ticks != ticks, f"it says {event.ticks} ticks, and told of {ticks} step by step"),
                        (event.stack_used > most, f"it says that it used {event.stack_used} bytes of {most} of stack"),
                    )
                yield event
            else:
                return
        raise self._lost(f"{NAMES[frame.type]} was lost {self.attempts} times", LineError)

    def _check_run(self, *checks: tuple[bool, str]) -> None:
        """That what the device tells at its end goes together with the STEPs before it, and with what was asked for."""
        for wrong, why in checks:
            if wrong:
                raise self._differs("the device contradicts itself about a run", why)

    def _events(self, frame: f.Frame, at: int, end: int, parse: Callable[[bytes], R]) -> Iterator[f.StepEvent | R | None]:
        """What the device tells of a run, its reply last; None when it turns out to be idle and has not begun.

        When nothing comes for a while, HELLO asks whether the run is over: a busy device answers only after its RESULT. So a
        RUN, an event or a RESULT that was lost costs seconds, and not `step_timeout`.
        """
        alive = time.monotonic()
        probe, pause, gap = 0, self.timeout, ""
        ask = alive + pause
        while True:
            got = self._receive(min(ask, alive + self.step_timeout))
            now = time.monotonic()
            if now >= alive + self.step_timeout and not (isinstance(got, f.Frame) and got.seq == frame.seq):
                raise self._lost(f"no sign of life for {self.step_timeout:g} s while it should run a step")
            if got is None:
                probe, pause = self._probe(probe), 2 * pause
                ask = now + pause
            elif isinstance(got, f.FrameError) or is_damaged_request(got):
                if is_damaged_request(got) and self._step == at and not probe and not gap:
                    yield None
                    return
                ask = min(ask, now + self.timeout / 8)  # noise between frames does no harm; a lost one will show
                gap = gap or f"a frame arrived damaged: {got}" if isinstance(got, f.FrameError) else gap
            elif got.seq == frame.seq and got.type == f.STEP:
                event = self._parsed(f.parse_step, got.body, "STEP")
                if event.step > end:
                    raise self._differs("the device runs on", f"it tells of step {event.step}, and was asked for {end}")
                if event.step <= self._step:  # the line said it twice
                    if now >= alive + self.step_timeout:
                        raise self._lost(f"nothing but step {event.step} for {self.step_timeout:g} s")
                    continue
                alive, pause = now, self.timeout
                ask = now + pause
                if event.step == self._step + 1:
                    self._step = event.step
                    yield event
            elif self._mine(got, frame.seq, frame.type):
                yield self._result(got, end, parse)
                return
            elif probe and got.seq == probe and got.type == f.HELLO | f.REPLY:
                if self._step == at:
                    yield None
                    return
                raise self._lost(gap or "the end of a run did not arrive", LineError)

    def _result(self, got: f.Frame, end: int, parse: Callable[[bytes], R]) -> R:
        """The reply at the end of a run up to step `end`, in keeping with the steps that it told of."""
        result = self._parsed(parse, got.body, f.LAYOUTS[got.type].name)
        if result.status:
            raise DeviceRefusedError("a step", result.status, self.transport.description)
        if not self._step <= result.total_steps <= end:
            raise self._differs("the device contradicts itself about a run", f"it says {result.total_steps} steps, "
                                f"told of {self._step}, and was asked for {end}")  # fmt: skip
        if result.total_steps != self._step:
            raise self._lost(f"it ran {result.total_steps} steps, {self._step} were reported", LineError)
        return result

    def trace(self, step: int, ops: int) -> f.TraceEvent:
        """Go on with supervision step `step` (the next one, from 1) until `ops` of its ops are done, and tell of the carry.

        In between, `read_raw` reads the carry as the op has left it. The step's last op are the heads.

        Raises:
            DeviceRefusedError: no puzzle was begun, another step is under way, the op has passed, or there is none such.
            DeviceUnreachableError: no reply.
        """
        body = self._request(f.TRACE, struct.pack("<HH", step, ops), timeout=self.step_timeout)
        event = self._parsed(f.parse_trace, body, "reply to TRACE")
        if (event.step, event.ops) != (step, ops):
            raise self._differs("the device's reply is not to what was asked", f"TRACE of step {step}, op {ops} is answered "
                                f"by step {event.step}, op {event.ops}")  # fmt: skip
        self._step = step if ops == event.of else step - 1
        self._new_state(carry_crc=event.carry_crc)
        return event

    def selftest(self, nonce: bytes = bytes(NONCE_BYTES), seconds: float = 30.0) -> Selftest:
        """Let the device check its memory anew, and compute sums over all of it. The carry is lost.

        Args:
            nonce: NONCE_BYTES bytes that its digests begin with: fresh ones where an answer shall prove something.
            seconds: how long it may take.

        Raises:
            DeviceUnreachableError: no reply.
        """
        self._step = 0
        self._new_state()
        body = self._request(f.SELFTEST, nonce, timeout=max(self.timeout, seconds))
        return self._parsed(parse_selftest, body, "reply to SELFTEST")

    def reset(self) -> None:
        """Restart the firmware; `hello` comes next."""
        self._greeted, self._step = True, 0
        self._new_state()
        try:
            self._parsed(f.parse_empty, self._request(f.RESET), "reply to RESET")
        except DeviceRestartedError:
            pass  # the reply was lost, but not what it announced
        self._greeted = False

    def exit(self, code: int = 0) -> None:
        """End the firmware (emulators and processes only)."""
        self._parsed(f.parse_empty, self._request(f.EXIT, struct.pack("<I", code), attempts=1), "reply to EXIT")


__all__ = ["DeviceFaultError", "DeviceRefusedError", "DeviceRestartedError", "DeviceSession", "LineError"]
