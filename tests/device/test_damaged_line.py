"""Every byte of a session damaged in every way: the answer is right all the same, and it costs seconds at most."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from recurc.device.session import DeviceSession
from recurc.errors import DeviceUnreachableError, MismatchError
from tests.device.inprocess import Clock, Line, build_server
from tests.device.runs import run_all
from tests.tools import need

TOKENS = np.arange(16) % 6


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    need("host")
    return build_server(tmp_path_factory.mktemp("server"))


@pytest.fixture
def line(library, monkeypatch):
    return Line(library, Clock().use(monkeypatch))


def conversation(session: DeviceSession) -> tuple:
    """A whole session, as the verifier has one: who are you, a puzzle, its steps, its answer."""
    session.hello()

    def puzzle():
        session.load(TOKENS)
        *events, result = session.run(3, puzzle=2)
        return (
            [(e.step, e.carry_crc, e.logits_crc, e.tokens_crc, e.q_bytes) for e in events],
            result.total_steps,
            [session.read_raw(name) for name in ("tokens", "q", "z_H")],
        )

    return session.persist(puzzle)


def drop(line):
    return lambda data, at: data[:at] + data[at + 1 :]


def flip(line):
    return lambda data, at: data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def zero(line):
    return lambda data, at: data[:at] + b"\0" + data[at + 1 :]


def twice(line):
    return lambda data, at: data[: at + 1] + data[at:]


def twice_all(line):
    return lambda data, at: data + data


def cut(line):
    return lambda data, at: data[:at]


def garbage(line):
    return lambda data, at: data[:at] + b"\x05ab\0\x11\xff" + data[at:]


def late_to(line):
    def change(data, at):
        line.delay("to", data[at:], 2.5)
        return data[:at]

    return change


def late_from(line):
    def change(data, at):
        line.delay("from", data[at:], 2.5)
        return data[:at]

    return change


CHANGES = [drop, flip, zero, twice, twice_all, cut, garbage]


@pytest.mark.parametrize("way", ["to", "from"])
@pytest.mark.parametrize("change", [*CHANGES, "late"], ids=lambda c: getattr(c, "__name__", c))
def test_every_byte(line, way, change):
    with DeviceSession(line, timeout=2.0, step_timeout=600.0) as session:
        want = conversation(session)
        line.arm(None)
        assert conversation(session) == want
        length = line.counts[way]
        assert length > 120
        if change == "late":
            change = late_to if way == "to" else late_from
        harmless = 0
        for place in range(length):
            before, retries = line.clock.now, session.retries
            line.arm((way, place, change(line)))
            assert conversation(session) == want, place
            assert line.damage is None, place
            harmless += session.retries == retries
            assert line.clock.now - before < 25.0, place  # and never the step_timeout
        assert harmless < length / 2 or change in (garbage, twice, twice_all)


def test_many_damages_at_once(line):
    rng = np.random.default_rng(1)
    with DeviceSession(line) as session:
        want = conversation(session)
        for _ in range(150):
            line.arm(None)
            original = line._through

            def through(way, data, original=original):
                data = original(way, data)
                return b"".join(
                    part if rng.random() > 0.03 else flip(line)(part, int(rng.integers(len(part))))
                    for part in (p + b"\0" for p in data.split(b"\0")[:-1])
                )

            line._through = through
            assert conversation(session) == want
            line._through = original
        assert session.retries > 50


@pytest.mark.parametrize("heard", [True, False], ids=["BOOT heard", "BOOT lost"])
def test_a_reset_at_every_step_and_between_requests(line, heard):
    """Whenever the device restarts, the session says everything again."""
    with DeviceSession(line) as session:
        want = conversation(session)
        line.arm(None)
        conversation(session)
        for way in ("to", "from"):
            for place in range(line.counts[way]):

                def reset(data, at, way=way):
                    line.start(heard)
                    return b"" if way == "to" else data[:at] + line._out

                before = line.clock.now
                line.arm((way, place, reset))
                assert conversation(session) == want, (way, place)
                assert line.clock.now - before < 25.0
        assert session.retries > 0


def test_run_all_loads_again_what_a_reset_took(line):
    with DeviceSession(line) as session:
        session.hello()
        session.load(TOKENS)
        want = run_all(session, 4)
        line.start()
        events, result = run_all(session, 4)
        assert [e.carry_crc for e in events] == [e.carry_crc for e in want[0]] and result.total_steps == 4


def test_a_device_that_dies_at_every_byte_is_given_up_in_bounded_time(line):
    """Stalls for good: exit code 7 after a few seconds of silence, at most after the step timeout."""
    with DeviceSession(line, timeout=2.0, step_timeout=60.0) as session:
        want = conversation(session)
        line.arm(None)
        conversation(session)
        length = line.counts["from"]
        for place in range(0, length, 7):

            def die(data, at):
                line.dead = True
                return data[:at]

            before = line.clock.now
            line.arm(("from", place, die))
            try:
                assert conversation(session) == want  # its last byte may have been the one that nobody needs
            except DeviceUnreachableError as e:
                assert e.exit_code == 7 and "in-process" in e.where
            assert line.clock.now - before < 90.0, place
            line.dead = False
            line.start()


def test_unplugged_at_every_request(library, monkeypatch):
    for place in range(0, 120, 5):
        line = Line(library, Clock().use(monkeypatch))
        with DeviceSession(line) as session:

            def unplug(data, at, line=line):
                line.closed = True
                return b""

            line.arm(("to", place, unplug))
            with pytest.raises(DeviceUnreachableError, match="unplugged") as e:
                conversation(session)
            assert e.value.exit_code == 7 and line.clock.now < 1.0


def test_another_firmware_after_a_reset_is_not_talked_to(line):
    """A stale firmware, or another board on the same port."""
    with DeviceSession(line) as session:
        session.hello()
        told = session.info
        session.info = dataclasses.replace(told, build_id="ff" * 16)
        session.load(TOKENS)
        line.start()
        with pytest.raises(MismatchError, match="changed in the middle") as e:
            run_all(session, 2)
        assert e.value.exit_code == 8


def test_a_lost_run_costs_a_question_and_not_the_step_timeout(line):
    with DeviceSession(line, timeout=2.0, step_timeout=3600.0) as session:
        session.hello()
        session.load(TOKENS)
        want = run_all(session, 3)[0]
        for place in (0, 5):
            before = line.clock.now
            line.arm(("to", place, lambda data, at: b""))
            assert [e.carry_crc for e in run_all(session, 3)[0]] == [e.carry_crc for e in want]
            assert line.clock.now - before < 10


def test_a_slow_step_is_waited_for(line):
    """A device that is busy for minutes answers no question meanwhile, and nothing is repeated."""
    with DeviceSession(line, timeout=2.0, step_timeout=600.0) as session:
        session.hello()
        session.load(TOKENS)
        line.arm(None)
        arrived = []

        def slowly(data, at):
            arrived.append(data)
            for i, part in enumerate(data.split(b"\0")[:-1]):
                line.delay("from", part + b"\0", 300.0 * (i + 1))
            line.dead = True  # hears nothing while it computes
            return b""

        line.arm(("from", 0, slowly))
        events = []
        for event in session.run(3):
            events.append(event)
        assert len(events) == 4 and session.retries == 0 and line.clock.now > 900


@pytest.mark.parametrize("request_of", ["TRACE", "SELFTEST"])
@pytest.mark.parametrize("way", ["to", "from"])
def test_a_lost_slow_reply_costs_a_question_and_not_the_step_timeout(line, way, request_of):
    with DeviceSession(line, timeout=2.0, step_timeout=3600.0) as session:
        session.hello()
        session.load(TOKENS)
        list(session.run(0, begin=True))
        ask = (lambda: session.trace(1, 0).carry_crc) if request_of == "TRACE" else session.selftest
        want = ask()
        before = line.clock.now
        line.arm((way, 0, lambda data, at: b""))
        assert ask() == want and line.damage is None and session.retries == 1
        assert line.clock.now - before < 10


def test_a_slow_op_is_waited_for(line):
    """Minutes of silence are no loss while the questions are not answered either: TRACE is sent once."""
    with DeviceSession(line, timeout=2.0, step_timeout=600.0) as session:
        session.hello()
        session.load(TOKENS)
        list(session.run(0, begin=True))

        def slowly(data, at):
            line.delay("from", data, 300.0)
            line.dead = True  # hears nothing while it computes
            return b""

        line.arm(("from", 0, slowly))
        assert session.trace(1, 0).step == 1
        assert session.retries == 0 and 299 < line.clock.now < 310


def test_a_device_that_dies_in_an_op_is_given_up_after_one_step_timeout(line):
    with DeviceSession(line, timeout=2.0, step_timeout=600.0) as session:
        session.hello()
        session.load(TOKENS)
        list(session.run(0, begin=True))
        line.dead = True
        with pytest.raises(DeviceUnreachableError, match="no sign of life for 600 s"):
            session.trace(1, 0)
        assert line.clock.now < 610
