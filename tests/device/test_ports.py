"""Ports that somebody else has, that go away, or that take nothing."""

from __future__ import annotations

import errno
import os
import pty
import resource
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from recurc.device import transports
from recurc.device.ports import PortLock, holders
from recurc.device.session import DeviceSession
from recurc.device.transports import ProcessTransport, SocketTransport, TransportClosed, open_transport
from recurc.errors import DeviceUnreachableError
from tests.tools import missing

OTHER = """
import sys
from recurc.device.transports import open_transport
port = open_transport(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def terminal():
    try:
        master, slave = pty.openpty()
    except OSError as error:  # a container without /dev/pts
        missing(f"a pseudo terminal ({error})")
    yield master, os.ttyname(slave)
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            pass


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def another_host(url: str) -> subprocess.Popen:
    """A second process with the port open."""
    other = subprocess.Popen([sys.executable, "-c", OTHER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "open\n"
    return other


@pytest.mark.parametrize("kind", ["terminal", "listener"])
def test_two_hosts_and_the_second_is_told_who_the_first_is(kind, request):
    url = request.getfixturevalue(kind)
    url = url[1] if kind == "terminal" else url
    other = another_host(url)
    try:
        for same in (url, url.replace("tcp://", "socket://")):
            with pytest.raises(DeviceUnreachableError, match="the port is in use") as e:
                open_transport(same)
            assert f"(pid {other.pid})" in e.value.why and e.value.exit_code == 7
    finally:
        other.kill()  # not even asked to release it
        other.wait()
        other.stdin.close()
        other.stdout.close()
    open_transport(url).close()


def test_one_process_opens_a_port_once(listener, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    first = open_transport(listener)
    with pytest.raises(DeviceUnreachableError, match="in use"):
        open_transport(listener)
    first.close()
    first.close()
    open_transport(listener).close()


def test_links_to_a_port_are_that_port(terminal, tmp_path):
    link = tmp_path / "board"
    link.symlink_to(terminal[1])
    lock = PortLock(terminal[1])
    with pytest.raises(DeviceUnreachableError, match="in use"):
        PortLock(str(link))
    lock.release()
    PortLock(str(link)).release()


def test_without_a_place_for_locks_the_port_itself_is_locked(terminal, monkeypatch, tmp_path):
    """As between two users: the kernel's lock on the device is what both see, and /proc names the holder."""
    (tmp_path / "file").write_text("")
    other = another_host(terminal[1])
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    try:
        with pytest.raises(DeviceUnreachableError, match="in use") as e:
            open_transport(terminal[1])
        assert f"(pid {other.pid})" in e.value.why
    finally:
        other.communicate("")


def test_who_else_has_it_open_is_said_when_it_is_silent(terminal):
    code = "import sys; f = open(sys.argv[1], 'rb'); print(flush=True); sys.stdin.read()"
    reader = subprocess.Popen(
        [sys.executable, "-c", code, terminal[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    reader.stdout.readline()
    try:
        assert reader.pid in [h.pid for h in holders(terminal[1])]
        with DeviceSession(open_transport(terminal[1]), timeout=0.05) as session:
            with pytest.raises(DeviceUnreachableError, match=rf"\(pid {reader.pid}\) has the port open too"):
                session.hello()
    finally:
        reader.communicate("")


def test_a_port_that_is_unplugged(terminal, elfs):
    """In the middle of a run: an error at once, with exit code 7."""
    master, name = terminal
    process = ProcessTransport([str(elfs("host"))])
    session = DeviceSession(open_transport(name), timeout=1.0)
    stop = threading.Event()

    def pump() -> None:
        import select

        while not stop.is_set():
            if select.select([master], [], [], 0.01)[0]:
                process.write(os.read(master, 4096))
            if data := process.read(0):
                os.write(master, data)

    thread = threading.Thread(target=pump)
    thread.start()
    session.hello()
    session.load(np.zeros(16))
    run = session.run(3)
    next(run)
    stop.set()
    thread.join()
    os.close(master)
    start = time.monotonic()
    with pytest.raises(DeviceUnreachableError) as e:
        list(run)
        session.hello()
    assert e.value.exit_code == 7 and name in e.value.where and time.monotonic() - start < 5
    session.close()
    process.close()


def test_a_peer_that_takes_nothing_is_no_place_to_wait_in(monkeypatch):
    monkeypatch.setattr(transports, "_WRITE_SECONDS", 0.2)
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours, "x")
    with pytest.raises(TransportClosed, match="taken no data"):
        transport.write(bytes(10_000_000))
    transport.close()
    theirs.close()
    process = ProcessTransport(["/bin/sleep", "60"])
    with pytest.raises(TransportClosed, match="taken no data"):
        process.write(bytes(10_000_000))
    process.close()


def test_a_process_that_is_killed_in_a_run(elfs):
    for at in (1, 4):
        process = ProcessTransport([str(elfs("host"))])
        with DeviceSession(process, timeout=1.0) as session:
            session.load(np.zeros(16))
            with pytest.raises(DeviceUnreachableError, match="status -9") as e:
                for step in session.run(12):
                    if getattr(step, "step", 0) == at:
                        process._process.kill()
                session.hello()
            assert e.value.exit_code == 7


def test_many_open_files_are_no_obstacle():
    """Descriptors above 1023, of which `select` knows nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("this computer allows a process fewer open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        process = ProcessTransport(["/bin/cat"])
        process.write(b"hello")
        assert process.read(10) == b"hello" and process.read(0.01) == b""
        process.close()
        ours, theirs = socket.socketpair()
        transport = SocketTransport(ours, "x")
        transport.write(b"hello")
        assert theirs.recv(9) == b"hello" and transport.read(0.01) == b""
        theirs.close()
        with pytest.raises(TransportClosed):
            transport.read(10)
        transport.close()
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_read_that_the_system_fails_closes(monkeypatch):
    process = ProcessTransport(["/bin/sh", "-c", "echo no >&2; echo x; exec sleep 60"])
    real = os.read

    def failing(handle, count):
        if handle == process._process.stdout.fileno():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(handle, count)

    monkeypatch.setattr(os, "read", failing)
    with pytest.raises(TransportClosed):
        process.read(10)
    process.close()
