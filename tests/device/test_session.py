"""The session on a bad line: what is repeated, what is refused, and what ends with a clear error."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.device.transports import ProcessTransport, SocketTransport, TransportClosed, open_transport
from recurc.errors import DeviceUnreachableError, MismatchError
from tests.device.badline import BadLine, drop, flip
from tests.device.runs import run_all
from tests.tools import missing


def open_session(elfs, **damage) -> DeviceSession:
    return DeviceSession(BadLine(ProcessTransport([str(elfs("host"))]), **damage), timeout=0.3, step_timeout=1.0)


@pytest.mark.parametrize("change", [drop, flip])
@pytest.mark.parametrize("side", ["write", "read"])
def test_quick_requests_are_repeated(elfs, side, change):
    with open_session(elfs, **{side: {0: change, 2: change}}) as session:
        assert session.hello().seq_len == 16
        session.load(np.zeros(16))
        assert session.retries >= 1


def test_a_damaged_run_request_is_sent_again(elfs):
    with open_session(elfs, write={2: flip}) as session:
        session.load(np.zeros(16))
        *events, result = list(session.run(3))
        assert result.total_steps == 3 and session.retries == 1


def test_a_lost_event_is_noticed_and_a_whole_run_repeated(elfs):
    with open_session(elfs, read={2: flip}) as session:
        session.load(np.arange(16) % 6)
        events, result = run_all(session, 6)
        assert [e.step for e in events] == [1, 2, 3, 4, 5, 6] and result.total_steps == 6
        assert session.retries >= 1


def test_a_repeated_continuation_is_never_run_twice(elfs):
    with open_session(elfs) as session:
        session.load(np.zeros(16))
        list(session.run(2))
        body = f.run_body(0, 1, 1, 2, 0, 0, 0.0)
        session._send(f.Frame(f.RUN, 200, body))
        session._send(f.Frame(f.RUN, 201, body))
        found = [session._receive(time.monotonic() + 2) for _ in range(3)]
        assert [x.type for x in found] == [f.STEP, f.RUN | f.REPLY, f.NAK]
        assert found[2].body[0] == f.STATUS_STATE


def test_stale_replies_are_ignored(elfs):
    with open_session(elfs) as session:
        session._send(f.Frame(f.HELLO, 77, b"\x01\x00"))
        assert session.hello().board == "host"
        session.load(np.zeros(16))
        assert len(list(session.run(2))) == 3


def test_sequence_numbers_wrap_without_zero(elfs):
    with open_session(elfs) as session:
        seen = []
        for _ in range(300):
            session.hello()
            seen.append(session._seq)
        assert 0 not in seen and seen[254:256] == [255, 1]


def test_a_silent_device_is_given_up(elfs):
    listener = socket.create_server(("127.0.0.1", 0))
    with DeviceSession(open_transport(f"tcp://127.0.0.1:{listener.getsockname()[1]}"), timeout=0.1) as session:
        start = time.monotonic()
        with pytest.raises(DeviceUnreachableError, match="no reply to HELLO in 3 attempts") as e:
            session.hello()
        assert 0.25 < time.monotonic() - start < 2
        assert e.value.exit_code == 7
    listener.close()


def test_a_device_that_speaks_something_else_is_given_up():
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def chatter() -> None:
        while not stop.is_set():
            theirs.sendall(b"login: \0\0\r\n")
            time.sleep(0.01)

    thread = threading.Thread(target=chatter)
    thread.start()
    with DeviceSession(SocketTransport(ours, "x"), timeout=0.1) as session:
        with pytest.raises(DeviceUnreachableError, match="no reply to HELLO"):
            session.hello()
    stop.set()
    thread.join()
    theirs.close()


def test_another_protocol_version_is_refused():
    ours, theirs = socket.socketpair()
    body = bytearray(102)
    body[0] = 9
    theirs.sendall(f.encode(f.Frame(f.HELLO | f.REPLY, 1, bytes(body))))
    with DeviceSession(SocketTransport(ours, "x"), timeout=0.2) as session:
        with pytest.raises(MismatchError, match="another protocol version.*version 9, this recurc.*this recurc") as e:
            session.hello()
    assert e.value.exit_code == 8  # it did answer
    theirs.close()


def test_a_process_that_dies_says_so():
    with DeviceSession(ProcessTransport(["/bin/sh", "-c", "echo broken >&2; exit 3"])) as session:
        with pytest.raises(DeviceUnreachableError, match="status 3: broken"):
            session.hello()
    with DeviceSession(ProcessTransport(["/bin/sh", "-c", "sleep 60 >/dev/null & printf 'a\\033[2Jb' >&2; exit 3"])) as session:
        with pytest.raises(DeviceUnreachableError, match="status 3: a\N{REPLACEMENT CHARACTER}.2Jb"):
            session.hello()  # though a child of its own keeps stderr open
    with pytest.raises(DeviceUnreachableError, match="does not start"):
        ProcessTransport(["/nonexistent/firmware"])


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:1", "tcp://nohost", "tcp://:5", "tcp://x:99999", "/dev/nonexistent", "bogus://x"]
)
def test_ports_that_are_not_there(url):
    with pytest.raises(DeviceUnreachableError) as e:
        open_transport(url)
    assert url in e.value.where


def test_a_pseudo_terminal_is_a_port(elfs):
    """The serial transport against the real server behind a pty."""
    try:
        master, slave = pty.openpty()
    except OSError as error:  # a container without /dev/pts
        missing(f"a pseudo terminal ({error})")
    process = ProcessTransport([str(elfs("host"))])
    stop = threading.Event()

    def pump() -> None:
        import select

        while not stop.is_set():
            if select.select([master], [], [], 0.01)[0]:
                process.write(os.read(master, 4096))
            data = process.read(0)
            if data:
                os.write(master, data)

    session = DeviceSession(open_transport(os.ttyname(slave)), timeout=1.0)
    thread = threading.Thread(target=pump)
    thread.start()
    try:
        assert session.hello().model == "dummy fp32"
        session.load(np.arange(16) % 6)
        assert len(run_all(session, 3)[0]) == 3
        assert len(session.read_tensor("z_H")) == 17 * 8
    finally:
        stop.set()
        thread.join()
        session.close()
        process.close()
        os.close(master)
        os.close(slave)


def test_reading_from_a_closed_socket():
    ours, theirs = socket.socketpair()
    theirs.close()
    transport = SocketTransport(ours, "x")
    with pytest.raises(TransportClosed):
        transport.read(1)
    transport.close()
