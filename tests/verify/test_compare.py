"""The comparison itself, with a device and an engine of a few lines: whatever the device tells otherwise is found."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.evaluate.halting import Halt
from recurc.verify.compare import Comparison
from recurc.verify.courses import Stepping

TOKENS = np.array([1, 2, 3], np.uint8)
STEPS = 5


class Engine:
    """A reasoner whose tensors are made of its step; margins are 1, 2, 3, ..."""

    def begin(self, tokens, puzzle_id=0) -> None:
        self.at, self.puzzle = 0, puzzle_id

    def step(self) -> None:
        self.at += 1

    def tensor(self, name: str) -> np.ndarray:
        base = {"logits": 100, "tokens": 0, "q": 0}[name] + self.at + self.puzzle
        if name == "tokens":
            return np.arange(3, dtype=np.uint8) + np.uint8(base)
        return np.arange(2 if name == "q" else 6, dtype=np.float32).reshape(2 if name == "q" else (3, 2)) + np.float32(base)

    def raw(self, name: str) -> bytes:
        return np.full(4, self.at if name == "z_H" else -self.at, np.float32).tobytes()

    def carry_bytes(self) -> bytes:
        return bytes([self.at, self.puzzle]) * 3

    def halts(self, threshold: float = 0.0, patience: int = 0) -> bool:
        return self.at > threshold and self.at > patience


class Device(Engine):
    """The same as a session. `lies`: step -> what its event says otherwise; `last`: tensor -> what is read back of it."""

    info = SimpleNamespace(table_mode=f.TABLE_NONE, rows=2, hidden=2, carry="fp32")

    def __init__(self, lies=None, last=None, stops=None) -> None:
        self.lies, self.last, self.stops, self.runs, self.reads = lies or {}, last or {}, stops, [], []

    def load(self, tokens) -> None:
        assert tokens is TOKENS

    def run(self, steps, *, begin, puzzle, halt, min_steps=1, threshold=0.0, patience=0):
        self.runs.append((steps, begin))
        if begin:
            self.begin(TOKENS, puzzle)
        done, halted = 0, False
        while done < steps and not halted:
            self.step()
            done += 1
            q = self.tensor("q").tobytes()
            event = f.StepEvent(
                self.at,
                zlib.crc32(self.carry_bytes()),
                zlib.crc32(self.tensor("logits").tobytes()),
                zlib.crc32(self.tensor("tokens").tobytes()),
                *struct.unpack("<2f", q),
                10 + self.at,
                q,
            )
            yield replace(event, **self.lies.get(self.at, {}))
            halted = self.at == self.stops if self.stops else halt and self.at >= min_steps and self.halts(threshold, patience)
        yield f.RunResult(0, halted, done, self.at, 0, 64)

    def read_tensor(self, name: str) -> np.ndarray:
        self.reads.append((name, self.at))
        if name == "z_H":
            return np.frombuffer(self.raw(name), np.float32)
        return self.last.get(name, self.tensor(name)).reshape(-1)

    def read_carry(self) -> dict[str, bytes]:
        self.reads.append(("z_H", self.at))
        return {name: self.raw(name) for name in ("z_H", "z_L")}


def compare(device: Device, halt: Halt | None = None, **options):
    engine = Engine()
    return Comparison(device, engine, Stepping(device, engine, STEPS, halt), **options).puzzle(7, TOKENS, 2, lambda step: None)


def test_the_same_bits_are_the_same():
    outcome = compare(Device())
    assert outcome.difference is None and outcome.equal_steps == outcome.finish.steps == STEPS
    assert outcome.ticks == sum(10 + step for step in range(1, STEPS + 1)) and outcome.stack_used == 64
    assert outcome.tokens.tolist() == [7, 8, 9]


BYTES = [struct.pack("<2f", 3.0, 99.0), struct.pack("<2f", 99.0, 4.0)]


@pytest.mark.parametrize("step", [1, 3, STEPS])
@pytest.mark.parametrize(
    ("lie", "tensor", "index"),
    [
        ({"carry_crc": 1}, "carry", None), ({"logits_crc": 1}, "logits", None), ({"tokens_crc": 1}, "tokens", None),
        ({"q_bytes": b"\0\0\0\0\0\0\0\x01"}, "q", (0,)), ({"q_bytes": None}, "q", (1,)),
        ({"carry_crc": 1, "logits_crc": 1, "tokens_crc": 1}, "carry", None),
    ],
)  # fmt: skip
def test_everything_that_a_step_tells_is_compared(lie, tensor, index, step):
    if lie.get("q_bytes", 0) is None:  # only the second of the two differs, in its last bit
        right = struct.pack("<2f", step + 2.0, step + 3.0)
        lie = {"q_bytes": right[:4] + bytes([right[4] ^ 1]) + right[5:]}
    outcome = compare(Device({step: lie}))
    found = outcome.difference
    assert (found.puzzle, found.step, found.tensor, found.index) == (7, step, tensor, index)
    assert outcome.equal_steps == step - 1 and outcome.finish.steps == STEPS


def test_the_first_difference_is_told_and_not_the_last():
    assert compare(Device({2: {"tokens_crc": 1}, 4: {"carry_crc": 1}})).difference.step == 2


@pytest.mark.parametrize("name", ["logits", "tokens"])
def test_what_is_read_back_at_the_end_is_compared_too(name):
    engine = Engine()
    engine.begin(TOKENS, 2)
    engine.at = STEPS
    wrong = engine.tensor(name).copy()
    wrong.flat[-1] += 1
    found = compare(Device(last={name: wrong})).difference
    assert (found.step, found.tensor, found.index) == (STEPS, name, np.unravel_index(wrong.size - 1, wrong.shape))
    assert (found.differing, found.elements) == (1, wrong.size)


# -- halting ------------------------------------------------------------------------------------------------------------


def test_halting_where_the_host_halts():
    outcome = compare(Device(), Halt(2.5, 1))
    assert outcome.difference is None and outcome.finish.halted and outcome.finish.steps == 3
    later = compare(Device(), Halt(2.5, 4))
    assert later.difference is None and later.finish.halted and later.finish.steps == 4, "not before min_steps"
    later = compare(Device(), Halt(2.5, 1, 3))
    assert later.difference is None and later.finish.halted and later.finish.steps == 4, "not before the tokens have stayed"


@pytest.mark.parametrize(("stops", "step", "sides"), [(2, 2, (0, 1)), (4, 4, (1, 0)), (99, 4, (1, 0))])
def test_halting_earlier_or_later_than_the_host_is_a_difference(stops, step, sides):
    found = compare(Device(stops=stops), Halt(2.5, 1)).difference
    assert (found.tensor, found.step, (found.host, found.device)) == ("halt", step, sides)


def test_running_on_at_the_last_step_is_a_difference():
    found = compare(Device(stops=99), Halt(STEPS - 0.5, 1)).difference
    assert (found.tensor, found.step, found.host, found.device) == ("halt", STEPS, 1, 0)


def test_without_a_rule_a_device_that_halts_differs():
    found = compare(Device(stops=3)).difference
    assert (found.tensor, found.step, found.host, found.device) == ("halt", 3, 0, 1)


# -- stops and read-back --------------------------------------------------------------------------------------------------


def test_the_carry_is_read_where_it_is_asked_for_and_at_the_end():
    device, seen = Device(), []
    engine = Engine()
    outcome = Comparison(device, engine, Stepping(device, engine, STEPS, None)).puzzle(
        0, TOKENS, 0, seen.append, stops=(2,), read_after=(1, 3)
    )
    assert seen == [1, 2, 3, 4, 5] and outcome.difference is None
    assert device.runs == [(1, True), (1, False), (1, False), (2, False)]
    assert {step: carry[0, 0] for step, carry in outcome.carries.items()} == {1: 1, 3: 3, 5: 5}
    assert [at for name, at in device.reads if name == "z_H"] == [1, 3, 5], "while the device waits at that step"


def test_stops_beyond_the_end_and_after_halting_run_nothing_more():
    device = Device()
    engine = Engine()
    outcome = Comparison(device, engine, Stepping(device, engine, 3, Halt(1.5, 1))).puzzle(
        0, TOKENS, 0, lambda s: None, stops=(1, 2, 3, 4, 99)
    )
    assert device.runs == [(1, True), (1, False)] and outcome.finish.steps == 2 and outcome.difference is None


def test_only_one_difference_is_traced():
    class Tracer:
        calls = 0

        def locate(self, tokens, puzzle_id, found, stir=None):
            Tracer.calls += 1
            return replace(found, tensor="z_H")

    device, engine = Device({2: {"carry_crc": 1}}), Engine()
    comparison = Comparison(device, engine, Stepping(device, engine, STEPS, None), tracer=Tracer())
    found = [comparison.puzzle(i, TOKENS, 0, lambda s: None).difference.tensor for i in range(3)]
    assert found == ["z_H", "carry", "carry"] and Tracer.calls == 1
