"""One firmware against one host engine, puzzle by puzzle and step by step."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.verify.courses import Course, Ended, Engine, Finish
from recurc.verify.divergence import Tracer, first_element
from recurc.verify.result import Difference

Step = Callable[[int], None]
ENDINGS = ("halt", "run")  # differences that no op has made


@dataclass(frozen=True)
class Outcome:
    """What one puzzle did on the device.

    `tokens` uint8 [seq] as predicted there; `equal_steps`: steps before the first that differs; `carries`: step -> z_H float32
    [S, D] as read back from the device.
    """

    tokens: np.ndarray
    finish: Finish
    ticks: int
    stack_used: int
    equal_steps: int
    difference: Difference | None
    carries: Mapping[int, np.ndarray] = field(default_factory=dict)


class Comparison:
    """Compares one firmware with one engine, puzzle by puzzle.

    Args:
        course: how puzzles are run.
        records: gives a record of a streamed puzzle table, where its rows go over the wire.
        tracer: finds the op of the first difference; those that follow are told by step and checksum.
    """

    def __init__(
        self,
        session: DeviceSession,
        engine: Engine,
        course: Course,
        records: Callable[[int], bytes] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.session, self.engine, self.course, self.records, self.tracer = session, engine, course, records, tracer

    def _host_crcs(self) -> dict[str, int]:
        def crc(name: str) -> int:
            return zlib.crc32(np.ascontiguousarray(self.engine.tensor(name)).tobytes())

        return {"carry": zlib.crc32(self.engine.carry_bytes()), "logits": crc("logits"), "tokens": crc("tokens")}

    def _compare_step(self, puzzle: int, event: f.StepEvent, step: int) -> Difference | None:
        """Run the host's step; the first checksum that differs, or None. step: number of the step in its run."""
        wrong = self.course.host(event)
        if wrong == "halt":
            return Difference(puzzle, step, wrong, None, 1, 0, run=event.run)
        if wrong is not None:
            return Difference(puzzle, step, wrong, None, None, event.run, run=event.run)
        self._presented = (self.engine.raw("input") if event.run else b""), self.course.row
        crcs = self._host_crcs()
        told = {"carry": event.carry_crc, "logits": event.logits_crc, "tokens": event.tokens_crc}
        for name, value in crcs.items():
            if told[name] != value:
                return Difference(puzzle, step, name, None, value, told[name], run=event.run)
        q = np.ascontiguousarray(self.engine.tensor("q"))
        if q.tobytes() != event.q_bytes:
            i = 0 if q.tobytes()[:4] != event.q_bytes[:4] else 1
            return Difference(puzzle, step, "q", (i,), float(q[i]), (event.q_halt, event.q_continue)[i], run=event.run)
        return None

    def puzzle(
        self,
        index: int,
        tokens: np.ndarray,
        puzzle_id: int,
        on_step: Step,
        stops: Collection[int] = (),
        read_after: Collection[int] = (),
    ) -> Outcome:
        """Run one puzzle and compare every step.

        Args:
            on_step: called with each step's number.
            stops: steps after which `on_step` may read from the device.
            read_after: steps after which z_H is read back; the last one is read then too.
        """
        self.session.load(tokens)
        info = self.session.info or self.session.hello()
        if self.records and info.table_mode == f.TABLE_WIRE:
            self.session.send_row(puzzle_id, self.records(puzzle_id))
        self.course.begin(tokens, puzzle_id)
        difference: Difference | None = None
        ticks, equal, run_steps, run = 0, 0, 0, 0
        carries: dict[int, np.ndarray] = {}
        ended: Ended | None = None
        for event in self.course.device({*stops, *read_after}):
            if not isinstance(event, f.StepEvent):
                ended = event
                continue
            ticks += event.ticks
            run, run_steps = event.run, run_steps + 1 if event.run == run else 1
            if difference is None:
                difference = self._compare_step(index, event, run_steps)
                equal += difference is None
            if event.step in read_after:
                carries[event.step], found = self._read_carry(index, event.step, difference)
                difference = difference or found
            on_step(event.step)
        assert ended is not None
        finish = self.course.finish(ended)
        if read_after and finish.steps not in carries:
            carries[finish.steps], found = self._read_carry(index, finish.steps, difference)
            difference = difference or found
        predicted = self.course.predicted()
        if difference is None:
            difference = self.course.differs(index, ended, run_steps)
        elif difference.tensor not in ENDINGS and self.tracer is not None:
            difference = self.tracer.locate(
                *self._asked(tokens, puzzle_id, difference), difference, self.course.stir(difference.run)
            )
            self.tracer = None
        return Outcome(predicted, finish, ticks, ended.stack_used, equal, difference, carries)

    def _asked(self, tokens: np.ndarray, puzzle_id: int, found: Difference) -> tuple[np.ndarray, int]:
        """What the run of a difference was asked, loaded on the device, and with which row of the puzzle table."""
        if not found.run:
            return tokens, puzzle_id
        presented, row = self._presented
        asked = np.frombuffer(presented, np.uint8)
        self.session.load(asked)
        return asked, row

    def _read_carry(self, puzzle: int, step: int, known: Difference | None) -> tuple[np.ndarray, Difference | None]:
        """z_H as the device sends it, and where the carry's bytes are not the host's, which has run the same step unless a
        difference is `known`."""
        info = self.session.info or self.session.hello()
        parts, found = self.session.read_carry(), None
        for name, sent in parts.items() if known is None else ():
            own = self.engine.raw(name)
            if hit := first_element(np.frombuffer(own, np.uint8), np.frombuffer(sent, np.uint8)):
                found = found or Difference(puzzle, step, f"bytes of {name}", *hit[:3], None, hit[3], len(own))
        z_H = f.decode_carry(info.carry, parts["z_H"], parts.get("H_scale", b""))
        return z_H.reshape(info.rows, info.hidden), found
