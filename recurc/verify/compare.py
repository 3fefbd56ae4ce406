"""One firmware against one host engine, puzzle by puzzle and step by step."""

from __future__ import annotations

import zlib
from typing import Any, Callable, Iterator, Protocol

import numpy as np

from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.verify.result import Difference, Halt

COMPARED = ("z_H", "z_L", "logits", "q", "tokens")


class Engine(Protocol):
    """The host's side of the comparison (recurc.targets.host.HostEngine)."""

    def begin(self, tokens: np.ndarray, puzzle_id: int = 0) -> None: ...

    def step(self) -> None: ...

    def halts(self, threshold: float = 0.0) -> bool: ...

    def tensor(self, name: str) -> np.ndarray: ...

    def carry_bytes(self) -> bytes: ...


class Comparison:
    """Compares one firmware with one engine, puzzle by puzzle."""

    def __init__(
        self, session: DeviceSession, engine: Engine, steps: int, halt: Halt | None,
        records: Callable[[int], bytes] | None = None,
    ) -> None:
        self.session, self.engine, self.steps, self.halt, self.records = session, engine, steps, halt, records
        self.stack_used = 0

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

    def _events(self, puzzle_id: int, stepwise: bool) -> Iterator[f.StepEvent | f.RunResult]:
        """Events of one puzzle in a single RUN, or in one RUN a step so that tensors can be read in between."""
        halt = self.halt
        options: dict[str, Any] = {"puzzle": puzzle_id, "halt": halt is not None}
        if halt is not None:
            options |= {"threshold": halt.threshold, "min_steps": halt.min_steps}
        if not stepwise:
            yield from self.session.run(self.steps, begin=True, **options)
            return
        for step in range(self.steps):
            event, result = self.session.run(1, begin=step == 0, **options)
            yield event
            if step + 1 == self.steps or result.halted:  # type: ignore[union-attr]
                yield result
                return

    def puzzle(
        self, index: int, tokens: np.ndarray, puzzle_id: int, on_step: Callable[[int], None], stepwise: bool = False
    ) -> tuple[np.ndarray, int, int, bool, Difference | None]:
        """Run one puzzle: (device's tokens, steps, ticks, halted, first difference or None)."""
        self.session.load(tokens)
        if self.records and self.session.info.table_mode == f.TABLE_WIRE:
            self.session.send_row(puzzle_id, self.records(puzzle_id))
        self.engine.begin(tokens, puzzle_id)
        difference: Difference | None = None
        ticks, host_halts = 0, False
        result: f.RunResult | None = None
        for event in self._events(puzzle_id, stepwise):
            if isinstance(event, f.RunResult):
                result = event
                continue
            ticks += event.ticks
            if difference is None:
                if host_halts:
                    difference = Difference(index, event.step, "halt", None, 1, 0)
                else:
                    self.engine.step()
                    difference = self._compare_step(index, event)
                    host_halts = (
                        self.halt is not None
                        and event.step >= self.halt.min_steps
                        and self.engine.halts(self.halt.threshold)
                    )
            on_step(event.step)
        assert result is not None
        self.stack_used = max(self.stack_used, result.stack_used)
        predicted = self.session.read_tensor("tokens")
        if difference is None and result.halted != host_halts:
            difference = Difference(index, result.total_steps, "halt", None, int(host_halts), int(result.halted))
        elif difference is None:
            difference = self._compare_tensors(index, result.total_steps, ("logits", "tokens"))
        elif difference.tensor != "halt":
            difference = self._locate(index, tokens, puzzle_id, difference)
        return predicted, result.total_steps, ticks, result.halted, difference

    def _compare_tensors(self, index: int, step: int, names: tuple[str, ...]) -> Difference | None:
        """First differing element of the last step's tensors, or None."""
        for name in names:
            host = np.ascontiguousarray(self.engine.tensor(name))
            device = self.session.read_tensor(name)
            if device.nbytes != host.nbytes:
                return Difference(index, step, name + " size", None, host.nbytes, device.nbytes)
            raw_host, raw_device = (np.frombuffer(a.tobytes(), np.uint8).reshape(host.size, -1) for a in (host, device))
            differs = (raw_host != raw_device).any(axis=1)
            if differs.any():
                flat = int(np.argmax(differs))
                place = tuple(int(i) for i in np.unravel_index(flat, host.shape))
                return Difference(index, step, name, place, host.reshape(-1)[flat].item(), device[flat].item())
        return None

    def _locate(self, index: int, tokens: np.ndarray, puzzle_id: int, found: Difference) -> Difference:
        """Run both sides again up to the differing step and find the element; `found` when it does not come back."""
        for _ in self.session.run(found.step, begin=True, puzzle=puzzle_id):
            pass
        self.engine.begin(tokens, puzzle_id)
        for _ in range(found.step):
            self.engine.step()
        return self._compare_tensors(index, found.step, COMPARED) or found
