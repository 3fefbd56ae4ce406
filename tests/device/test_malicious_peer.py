"""Whatever a peer says, well-formed or not: a session ends with an answer or with an error of ours, and in bounded time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.errors import DeviceUnreachableError, InputError, MismatchError, RecurcError
from tests.device.inprocess import Clock, Line, build_server
from tests.device.runs import run_all
from tests.tools import need

OURS = (DeviceUnreachableError, InputError, MismatchError)
EVERY_EXAMPLE = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
KINDS = [k | bit for k in range(1, 10) for bit in (0, f.REPLY)] + [f.STEP, f.BOOT, f.NAK, f.FAULT, 0x55]
FRAMES = st.builds(lambda kind, seq, body: f.encode(f.Frame(kind, seq, body)),
                   st.sampled_from(KINDS), st.integers(0, 4), st.binary(max_size=130))  # fmt: skip
ACTIONS = ("hello", "load", "run", "run_all", "read", "tensor", "trace", "row", "selftest", "reset", "exit")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    need("host")
    return build_server(tmp_path_factory.mktemp("server"))


@st.composite
def lies(draw) -> tuple:
    """What to do with one frame of the device."""
    kind = draw(st.sampled_from(["truth", "truth", "body", "length", "type", "seq", "nothing", "twice", "other", "bytes"]))
    place, value = draw(st.integers(0, 2000)), draw(st.integers(0, 255))
    return kind, place, value, draw(st.sampled_from(KINDS)), draw(st.binary(max_size=60))


def tell(frame: f.Frame, lie: tuple) -> bytes:
    """The frame as the liar sends it, with a right CRC."""
    kind, place, value, other, data = lie
    body = bytearray(frame.body)
    if kind == "body" and body:
        body[place % len(body)] = value
    elif kind == "length":
        body = body[: place % (len(body) + 1)] if value % 2 else body + data
    elif kind == "nothing":
        return b""
    elif kind == "bytes":
        return data
    elif kind == "other":
        return f.encode(f.Frame(other, frame.seq if value % 2 else 0, data))
    made = f.encode(f.Frame(other if kind == "type" else frame.type, value if kind == "seq" else frame.seq, bytes(body[:1024])))
    return made * 2 if kind == "twice" else made


class Liar(Line):
    """The real device, of whose frames some are told otherwise."""

    plan: list[tuple] = []
    writes = 0

    def _through(self, way: str, data: bytes) -> bytes:
        if way == "to":
            self.writes += 1
            return data
        out = b""
        for frame in f.Receiver().push(data):
            out += tell(frame, self.plan.pop(0)) if self.plan else f.encode(frame)
        return out


def act(session: DeviceSession, name: str) -> object:
    """One thing that a session can do."""
    match name:
        case "hello":
            return session.hello()
        case "load":
            return session.load(np.arange(16) % 6)
        case "run":
            return list(session.run(3))
        case "run_all":
            return run_all(session, 4, halt=True)
        case "read":
            return session.read_raw("logits")
        case "tensor":
            return session.read_tensor("z_H")
        case "trace":
            return session.trace(1, 1)
        case "row":
            return session.send_row(1, bytes(612))
        case "selftest":
            return session.selftest()
        case "reset":
            return session.reset()
        case "exit":
            return session.exit()
    raise AssertionError(name)


@EVERY_EXAMPLE
@given(plan=st.lists(lies(), max_size=25), actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=6))
def test_a_liar_gets_no_further_than_an_error(library, plan, actions):
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock().use(patch)
        line = Liar(library, clock)
        line.plan = list(plan)
        with DeviceSession(line, timeout=2.0, step_timeout=100.0) as session:
            for name in ("hello", "load", *actions):
                before, writes = clock.now, line.writes
                try:
                    act(session, name)
                except OURS as e:
                    assert isinstance(e, RecurcError) and e.exit_code in (3, 7, 8) and str(e)
                assert clock.now - before < 3000 and line.writes - writes < 1000, name


@EVERY_EXAMPLE
@given(chunks=st.lists(st.one_of(st.binary(max_size=80), FRAMES), max_size=30), action=st.sampled_from(ACTIONS))
def test_a_stranger_gets_no_further_than_an_error(library, chunks, action):
    """A peer that is no firmware of ours: bytes and frames that answer nothing."""

    class Stranger:
        description = "stranger"

        def __init__(self, clock: Clock) -> None:
            self.clock, self.chunks = clock, list(chunks)

        def write(self, data: bytes) -> None:
            pass

        def read(self, timeout: float) -> bytes:
            if self.chunks:
                return self.chunks.pop(0)
            self.clock.now += timeout
            return b""

        def close(self) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        with DeviceSession(Stranger(Clock().use(patch)), timeout=2.0, step_timeout=100.0) as session:
            try:
                act(session, action)
            except OURS as e:
                assert str(e)
