"""What a session makes of single frames, from a device that says exactly what the test lets it say."""

from __future__ import annotations

import struct

import pytest

from recurc.device import frames as f
from recurc.device.faults import DeviceFaultError, DeviceRefusedError, DeviceRestartedError, LineError
from recurc.device.link import DAMAGES, STALE_STEPS, Link, is_damaged_request
from recurc.device.transports import TransportClosed
from recurc.errors import DeviceUnreachableError
from tests.device.inprocess import Clock

FAULT = struct.pack("<7I", 0x8000123, 2, 3, 4, 5, 6, 0)
BOOT = bytes([1, 0])
DAMAGED = b"\x05ab\0"


class Script:
    """A transport. `answer(frame)` -> what the device says to a request, as bytes; every request is kept in `asked`."""

    description = "script"

    def __init__(self, clock: Clock, answer) -> None:
        self.clock, self.answer, self.asked, self.raw, self.out = clock, answer, [], [], b""
        self._receiver = f.Receiver()

    def write(self, data: bytes) -> None:
        self.raw.append(data)
        for frame in self._receiver.push(data):
            if isinstance(frame, f.Frame):
                self.asked.append(frame)
                self.out += self.answer(frame)

    def read(self, timeout: float) -> bytes:
        data, self.out = self.out, b""
        if not data:
            self.clock.now += timeout
        return data

    def close(self) -> None:
        pass


@pytest.fixture
def link(monkeypatch):
    """link(answer) -> a Link to a device with those answers."""
    clock = Clock().use(monkeypatch)
    return lambda answer, **options: Link(Script(clock, answer), **options)


def reply(frame: f.Frame, body: bytes = b"", seq: int | None = None) -> bytes:
    return f.encode(f.Frame(frame.type | f.REPLY, frame.seq if seq is None else seq, body))


def said(kind: int, seq: int, body: bytes = b"") -> bytes:
    return f.encode(f.Frame(kind, seq, body))


def test_a_request_begins_with_a_delimiter(link):
    """Half a frame that an earlier session left in the device's receiver must not swallow it."""
    opened = link(reply)
    opened.transport.write(b"\x07half")
    assert opened._request(f.LOAD) == b"" and opened.retries == 0
    assert opened.transport.raw[1].startswith(b"\0") and opened.transport.raw[1].endswith(b"\0")


def test_sequence_numbers_go_round_and_leave_out_zero(link):
    opened = link(reply)
    for _ in range(600):
        opened._request(f.LOAD)
    numbers = [frame.seq for frame in opened.transport.asked if isinstance(frame, f.Frame)]
    assert set(numbers) == set(range(1, 256)) and all(b == a % 255 + 1 for a, b in zip(numbers, numbers[1:]))


def test_replies_to_other_requests_are_passed_over(link):
    def answer(frame):
        other = frame.seq % 255 + 1
        return (
            reply(frame, b"late", other)
            + said(f.READ | f.REPLY, frame.seq, b"kind")
            + said(f.NAK, other, bytes([9, f.LOAD]))
            + reply(frame, b"right")
        )

    opened = link(answer)
    assert opened._request(f.LOAD) == b"right" and opened.retries == 0


def test_a_refusal_is_of_two_bytes(link):
    refusal = {"body": bytes([9, f.LOAD])}
    opened = link(lambda frame: said(f.NAK, frame.seq, refusal["body"]))
    with pytest.raises(DeviceRefusedError, match="LOAD") as e:
        opened._request(f.LOAD)
    assert e.value.status == 9
    for body in (b"", b"\x09", b"\x09\x02\x00"):  # none of ours says so: no answer
        refusal["body"] = body
        with pytest.raises(DeviceUnreachableError, match="no reply to LOAD in 3 attempts") as e:
            opened._request(f.LOAD)
        assert not isinstance(e.value, DeviceRefusedError)


@pytest.mark.parametrize("greeted", [False, True])
def test_a_crash_is_told_whenever_it_comes(link, greeted):
    opened = link(lambda frame: said(f.FAULT, 0, FAULT) + reply(frame))
    opened._greeted = greeted
    with pytest.raises(DeviceFaultError) as e:
        opened._request(f.LOAD)
    assert e.value.fault.pc == 0x8000123


def test_crashes_and_starts_have_the_sequence_number_of_no_request(link):
    opened = link(lambda frame: said(f.FAULT, frame.seq, FAULT) + said(f.BOOT, 3, BOOT) + reply(frame, b"right"))
    opened._greeted = True
    assert opened._request(f.LOAD) == b"right"


def test_a_restart_is_told_once_and_only_after_hello(link):
    opened = link(lambda frame: said(f.BOOT, 0, BOOT) + reply(frame, b"right"))
    assert opened._request(f.LOAD) == b"right", "how every session may begin"
    opened._greeted = True
    with pytest.raises(DeviceRestartedError):
        opened._request(f.LOAD)
    assert opened._request(f.LOAD) == b"right", "until HELLO is answered again"


@pytest.mark.parametrize(("kind", "body"), [(f.FAULT, FAULT[:-1]), (f.FAULT, b""), (f.BOOT, b"\1"), (f.BOOT, b"\1\0\0")])
def test_malformed_crashes_and_starts_are_damage(link, kind, body):
    first = [said(kind, 0, body)]
    opened = link(lambda frame: first.pop() if first else reply(frame, b"right"))
    opened._greeted = True
    assert opened._request(f.LOAD) == b"right" and opened.retries == 1


def test_what_arrives_damaged_is_asked_for_again_at_once_and_not_for_ever(link):
    first = [DAMAGED, said(f.NAK, 0, bytes([f.STATUS_FRAME, 0]))]
    opened = link(lambda frame: first.pop() if first else reply(frame, b"right"))
    assert opened._request(f.LOAD) == b"right" and opened.retries == 2 and opened.transport.clock.now == 0
    opened = link(lambda frame: DAMAGED)
    with pytest.raises(DeviceUnreachableError, match=f"{DAMAGES} damaged frames came"):
        opened._request(f.LOAD)
    assert len(opened.transport.asked) == DAMAGES and opened.transport.clock.now == 0


def test_only_the_devices_own_complaint_means_a_damaged_request():
    def nak(seq, *body):
        return f.Frame(f.NAK, seq, bytes(body))

    assert is_damaged_request(nak(0, f.STATUS_FRAME, 0))
    boot = f.Frame(f.BOOT, 0, bytes([f.STATUS_FRAME, 0]))
    for frame in (nak(1, f.STATUS_FRAME, 0), nak(0, f.STATUS_FRAME + 1, 0), nak(0), boot, f.FrameError("x")):
        assert not is_damaged_request(frame)


def test_silence_is_asked_three_times_and_costs_as_many_time_outs(link):
    opened = link(lambda frame: b"", timeout=2.0)
    with pytest.raises(DeviceUnreachableError, match="no reply to LOAD in 3 attempts"):
        opened._request(f.LOAD)
    assert len(opened.transport.asked) == 3 and opened.transport.clock.now == pytest.approx(6.0) and opened.retries == 2


def test_a_slow_request_asks_hello_ever_more_rarely_and_ends_at_its_time(link):
    opened = link(lambda frame: b"", timeout=2.0)
    with pytest.raises(DeviceUnreachableError, match="no sign of life for 100 s while it should answer TRACE"):
        opened._request(f.TRACE, timeout=100.0)
    kinds = [frame.type for frame in opened.transport.asked]
    assert kinds == [f.TRACE, *[f.HELLO] * 5], "after 2, 6, 14, 30 and 62 s"
    assert len({frame.seq for frame in opened.transport.asked}) == 2, "the same question again"
    assert opened.transport.clock.now == pytest.approx(100.0)


def test_a_slow_request_whose_reply_was_lost_is_said_again(link):
    answers = [b""]
    told = lambda frame: reply(frame, b"right") if frame.type == f.HELLO or not answers else answers.pop()  # noqa: E731
    opened = link(told, timeout=2.0)
    assert opened._request(f.TRACE, timeout=100.0) == b"right"
    assert opened.transport.clock.now == pytest.approx(2.0)


class Busy(Script):
    """Still runs what was given up: `steps` of them, `seconds` each, before it comes to anything else."""

    def __init__(self, clock: Clock, steps: int, seconds: float) -> None:
        super().__init__(clock, lambda frame: b"")
        self.steps, self.seconds = steps, seconds

    def read(self, timeout: float) -> bytes:
        if not self.steps:
            return reply(self.asked[-1], b"right")
        self.steps -= 1
        self.clock.now += self.seconds
        return said(f.STEP, 200)


def test_steps_of_a_run_that_was_given_up_are_waited_for(monkeypatch):
    """Each gives the device its time again: it will come to this request."""
    opened = Link(Busy(Clock().use(monkeypatch), 3, 500.0), timeout=600.0, step_timeout=600.0)
    assert opened._request(f.LOAD) == b"right"


def test_steps_without_end_are_not_waited_for_for_ever(monkeypatch):
    opened = Link(Busy(Clock().use(monkeypatch), 10 * STALE_STEPS, 1.0), timeout=2.0, step_timeout=60.0)
    with pytest.raises(DeviceUnreachableError, match="no reply to LOAD"):
        opened._request(f.LOAD)
    assert opened.transport.steps > 8 * STALE_STEPS


def test_a_closed_line_is_told_with_its_reason(link):
    opened = link(reply)

    def closed(*_):
        raise TransportClosed("unplugged")

    opened.transport.write = closed
    with pytest.raises(DeviceUnreachableError, match="unplugged"):
        opened._request(f.LOAD)
    opened = link(reply)
    opened.transport.read = closed
    with pytest.raises(DeviceUnreachableError, match="unplugged") as e:
        opened._request(f.LOAD)
    assert not isinstance(e.value, LineError)
