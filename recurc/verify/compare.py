"""One firmware against one host engine, puzzle by puzzle and step by step."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from recurc.device import frames as f
from recurc.device.expected import ModelConstants
from recurc.device.session import DeviceSession
from recurc.evaluate.halting import Halt
from recurc.evaluate.stepping import walk
from recurc.verify.divergence import TracedEngine, Tracer, compare_tensors, first_element
from recurc.verify.result import Difference

Step = Callable[[int], None]


class Engine(TracedEngine, Protocol):
    """The host's side of the comparison (recurc.targets.host.HostEngine)."""

    @property
    def info(self) -> ModelConstants: ...

    def halts(self, threshold: float = 0.0, patience: int = 0) -> bool: ...


@dataclass(frozen=True)
class Outcome:
    """What one puzzle did on the device.

    `tokens` uint8 [seq] as predicted there; `equal_steps`: steps before the first that differs; `carries`: step -> z_H float32
    [S, D] as read back from the device.
    """

    tokens: np.ndarray
    steps: int
    ticks: int
    halted: bool
    stack_used: int
    equal_steps: int
    difference: Difference | None
    carries: Mapping[int, np.ndarray] = field(default_factory=dict)


class Comparison:
    """Compares one firmware with one engine, puzzle by puzzle.

    Args:
        records: gives a record of a streamed puzzle table, where its rows go over the wire.
        tracer: finds the op of the first difference; those that follow are told by step and checksum.
    """

    def __init__(
        self,
        session: DeviceSession,
        engine: Engine,
        steps: int,
        halt: Halt | None,
        records: Callable[[int], bytes] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.session, self.engine, self.steps, self.halt, self.records = session, engine, steps, halt, records
        self.tracer = tracer

    def _host_crcs(self) -> dict[str, int]:
        def crc(name: str) -> int:
            return zlib.crc32(np.ascontiguousarray(self.engine.tensor(name)).tobytes())

        return {"carry": zlib.crc32(self.engine.carry_bytes()), "logits": crc("logits"), "tokens": crc("tokens")}

    def _compare_step(self, puzzle: int, event: f.StepEvent) -> Difference | None:
        """First differing checksum of one step, or None. The engine must just have run the same step."""
        crcs = self._host_crcs()
        told = {"carry": event.carry_crc, "logits": event.logits_crc, "tokens": event.tokens_crc}
        for name, value in crcs.items():
            if told[name] != value:
                return Difference(puzzle, event.step, name, None, value, told[name])
        q = np.ascontiguousarray(self.engine.tensor("q"))
        if q.tobytes() != event.q_bytes:
            i = 0 if q.tobytes()[:4] != event.q_bytes[:4] else 1
            return Difference(puzzle, event.step, "q", (i,), float(q[i]), (event.q_halt, event.q_continue)[i])
        return None

    def _events(self, puzzle_id: int, stops: Collection[int]) -> Iterator[f.StepEvent | f.RunResult]:
        """Events of one puzzle, then its result. After the steps in `stops` the device waits while its event is dealt with."""
        halt = self.halt
        options: dict[str, Any] = {"puzzle": puzzle_id, "halt": halt is not None}
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
        host = walk(self.engine, tokens, puzzle_id, self.steps)
        difference: Difference | None = None
        ticks, equal, host_halts = 0, 0, False
        carries: dict[int, np.ndarray] = {}
        result: f.RunResult | None = None
        for event in self._events(puzzle_id, {*stops, *read_after}):
            if isinstance(event, f.RunResult):
                result = event
                continue
            ticks += event.ticks
            if difference is None:
                if host_halts:
                    difference = Difference(index, event.step, "halt", None, 1, 0)
                else:
                    next(host, None)
                    difference = self._compare_step(index, event)
                    equal += difference is None
                    halt = self.halt  # the engine's own C decides, as the device's does
                    if halt is not None and halt.may_stop(event.step):
                        host_halts = self.engine.halts(halt.threshold, halt.patience)
            if event.step in read_after:
                carries[event.step], found = self._read_carry(index, event.step, difference)
                difference = difference or found
            on_step(event.step)
        assert result is not None
        last = result.total_steps
        if read_after and last not in carries:
            carries[last], found = self._read_carry(index, last, difference)
            difference = difference or found
        predicted = self.session.read_tensor("tokens")
        if difference is None and result.halted != host_halts:
            difference = Difference(index, last, "halt", None, int(host_halts), int(result.halted))
        elif difference is None:
            difference = compare_tensors(self.engine, self.session, index, last, ("logits", "tokens"))
        elif difference.tensor != "halt" and self.tracer is not None:
            difference = self.tracer.locate(tokens, puzzle_id, difference)
            self.tracer = None
        return Outcome(predicted, last, ticks, result.halted, result.stack_used, equal, difference, carries)

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
