"""Byte streams to a device: a child process, a socket, a serial port or pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import termios
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from recurc.device.ports import PortLock, holders, in_use
from recurc.errors import DeviceUnreachableError

_CHUNK = 65536
_WRITE_SECONDS = 10.0  # a frame is a kilobyte; a device that takes nothing for so long is stuck
_STDERR_SHOWN = 2000


class TransportClosed(Exception):
    """The other side is gone; the text says what is known of it."""


class Transport(Protocol):
    """A two-way byte stream."""

    description: str

    def read(self, timeout: float) -> bytes:
        """What has arrived; b"" when nothing came within `timeout` seconds. Raises TransportClosed."""

    def write(self, data: bytes) -> None:
        """Send all of it. Raises TransportClosed."""

    def close(self) -> None:
        """Release it; may be called twice."""


def _ready(file: IO[bytes] | socket.socket, event: int, timeout: float) -> bool:
    """Whether `event`, or the other side's end, comes within `timeout` seconds. Not by select, whose descriptors end at 1024:
    a notebook may have more files open."""
    poll = select.poll()
    poll.register(file, event)
    return bool(poll.poll(max(0.0, timeout) * 1000))


def _wait_writable(file: IO[bytes] | socket.socket, deadline: float) -> None:
    """Return when `file` takes data. Raises TransportClosed when it does not for _WRITE_SECONDS."""
    if not _ready(file, select.POLLOUT, deadline - time.monotonic()):
        raise TransportClosed(f"it has taken no data for {_WRITE_SECONDS:g} s")


class ProcessTransport:
    """A child process that talks over its standard input and output; it is ended with the transport."""

    def __init__(self, command: Sequence[str]) -> None:
        self.description = f"process {Path(command[0]).name}"
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as e:
            raise DeviceUnreachableError(
                "the firmware process does not start", where=str(command[0]), why=str(e), next="Build again for this computer"
            ) from e

    def _gone(self) -> TransportClosed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        status = self._process.returncode
        ended = "it closed its output" if status is None else f"it ended with status {status}"
        text = self._complaint()
        return TransportClosed(ended + (f": {text}" if text else ""))

    def _complaint(self) -> str:
        """The last that it said on stderr, as far as it is there: a child of its own may hold that open for ever."""
        if self._process.stderr is None:
            return ""
        os.set_blocking(self._process.stderr.fileno(), False)
        with contextlib.suppress(OSError):  # nothing is there
            said = os.read(self._process.stderr.fileno(), _CHUNK)[-_STDERR_SHOWN:].decode("utf-8", "replace")
            return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in said).strip()
        return ""

    def read(self, timeout: float) -> bytes:
        out = self._process.stdout
        assert out is not None
        if not _ready(out, select.POLLIN, timeout):
            return b""
        try:
            data = os.read(out.fileno(), _CHUNK)
        except OSError as e:
            raise self._gone() from e
        if not data:
            raise self._gone()
        return data

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            view = memoryview(data)
            while view:
                _wait_writable(self._process.stdin, time.monotonic() + _WRITE_SECONDS)
                view = view[os.write(self._process.stdin.fileno(), view[: select.PIPE_BUF]) :]
        except OSError as e:
            raise self._gone() from e

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()


class SocketTransport:
    """A connected stream socket (TCP or Unix)."""

    def __init__(self, connection: socket.socket, description: str, lock: PortLock | None = None) -> None:
        self._socket, self.description, self._lock = connection, description, lock
        self._socket.setblocking(False)

    @classmethod
    def connect_tcp(cls, host: str, port: int, timeout: float = 5.0) -> SocketTransport:
        """Connect to host:port. Raises DeviceUnreachableError: nothing listens, or another session has it."""
        where = f"tcp://{host}:{port}"
        lock = PortLock(f"{host}:{port}")
        try:
            connection = socket.create_connection((host, port), timeout=timeout)
        except OSError as e:
            lock.release()
            raise DeviceUnreachableError(
                "nothing listens at that address", where=where, why=str(e), next="Check host and port"
            ) from e
        with contextlib.suppress(OSError):  # it is gone again, as the first read will say; or frames only wait longer
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection, where, lock)

    def read(self, timeout: float) -> bytes:
        if not _ready(self._socket, select.POLLIN, timeout):
            return b""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError as e:
            raise TransportClosed(str(e)) from e
        if not data:
            raise TransportClosed("the connection was closed")
        return data

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            _wait_writable(self._socket, time.monotonic() + _WRITE_SECONDS)
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                continue
            except OSError as e:
                raise TransportClosed(str(e)) from e

    def close(self) -> None:
        self._socket.close()
        if self._lock:
            self._lock.release()


class SerialTransport:
    """A serial port, pseudo-terminal or pyserial URL; a port is opened for this session alone."""

    def __init__(self, url: str, baud: int) -> None:
        import serial

        self.description = url
        self._path = os.path.realpath(url) if url.startswith("/") else ""
        self._errors: tuple[type[Exception], ...] = (serial.SerialException, OSError, termios.error, TypeError)
        self._lock = PortLock(url)
        try:
            open_port = partial(serial.serial_for_url, url, baudrate=baud, timeout=0)
            if self._path:
                open_port = partial(open_port, exclusive=True)
            try:
                self._port = open_port(write_timeout=_WRITE_SECONDS)
            except NotImplementedError:  # some of pyserial's URLs, such as rfc2217://, know no write time-out
                self._port = open_port()
        except (serial.SerialException, OSError, ValueError, termios.error, NotImplementedError) as e:
            self._lock.release()
            if "exclusively lock" in str(e):
                raise in_use(url, " and ".join(map(str, holders(self._path))) or "another process") from e
            raise DeviceUnreachableError(
                "the serial port cannot be opened",
                where=url,
                why=str(e),
                next="Check the cable, the port's name and your permission to use it",
            ) from e

    def hint(self) -> str:
        """Who else has the port open, when it does not answer: bytes go to whoever reads first."""
        others = holders(self._path) if self._path else ()
        return f"{' and '.join(map(str, others))} has the port open too" if others else ""

    def _gone(self, e: Exception) -> TransportClosed:
        there = not self._path or os.path.exists(self._path)
        return TransportClosed(str(e) if there else f"the port is gone, was it unplugged? ({e})")

    def read(self, timeout: float) -> bytes:
        try:
            self._port.timeout = max(0.0, timeout)
            first = self._port.read(1)
            return first + self._port.read(min(self._port.in_waiting, _CHUNK)) if first else b""
        except self._errors as e:
            raise self._gone(e) from e

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
            self._port.flush()
        except self._errors as e:
            raise self._gone(e) from e

    def close(self) -> None:
        with contextlib.suppress(*self._errors):
            self._port.close()
        self._lock.release()


def open_transport(url: str, baud: int = 921600) -> Transport:
    """A transport by its URL: tcp:// or socket://HOST:PORT, a device path such as /dev/ttyACM0, or any pyserial URL.

    Raises:
        DeviceUnreachableError: nothing answers there, or another process has it.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "tcp" or (scheme == "socket" and not set(rest) & set("/?")):
        host, _, port = rest.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise DeviceUnreachableError(
                "that is no address", where=url, why="expected tcp://HOST:PORT", next="Give host and port"
            )
        return SocketTransport.connect_tcp(host.strip("[]"), int(port))
    return SerialTransport(url, baud)
