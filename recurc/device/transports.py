"""Byte streams to a device: a child process, a socket, a serial port or pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
from pathlib import Path
from typing import Protocol, Sequence

from recurc.errors import DeviceUnreachableError

_CHUNK = 65536
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
                "the firmware process does not start",
                where=str(command[0]),
                why=str(e),
                next="Build again for this computer",
            ) from e

    def _gone(self) -> TransportClosed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        said = b""
        if self._process.stderr and self._process.returncode is not None:
            said = self._process.stderr.read()[-_STDERR_SHOWN:]
        text = said.decode("utf-8", "replace").strip()
        return TransportClosed(f"it ended with status {self._process.returncode}" + (f": {text}" if text else ""))

    def read(self, timeout: float) -> bytes:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], max(0.0, timeout))
        if not ready:
            return b""
        data = os.read(out.fileno(), _CHUNK)
        if not data:
            raise self._gone()
        return data

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) :]
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

    def __init__(self, connection: socket.socket, description: str) -> None:
        self._socket, self.description = connection, description
        self._socket.setblocking(True)

    @classmethod
    def connect_tcp(cls, host: str, port: int, timeout: float = 5.0) -> "SocketTransport":
        """Connect to host:port. Raises DeviceUnreachableError."""
        where = f"tcp://{host}:{port}"
        try:
            connection = socket.create_connection((host, port), timeout=timeout)
        except OSError as e:
            raise DeviceUnreachableError(
                "nothing listens at that address", where=where, why=str(e), next="Check host and port"
            ) from e
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection, where)

    def read(self, timeout: float) -> bytes:
        ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout))
        if not ready:
            return b""
        try:
            data = self._socket.recv(_CHUNK)
        except OSError as e:
            raise TransportClosed(str(e)) from e
        if not data:
            raise TransportClosed("the connection was closed")
        return data

    def write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as e:
            raise TransportClosed(str(e)) from e

    def close(self) -> None:
        self._socket.close()


class SerialTransport:
    """A serial port, pseudo-terminal or pyserial URL."""

    def __init__(self, url: str, baud: int) -> None:
        import serial

        self.description = url
        try:
            self._port = serial.serial_for_url(url, baudrate=baud, timeout=0)
        except (serial.SerialException, OSError, ValueError) as e:
            raise DeviceUnreachableError(
                "the serial port cannot be opened",
                where=url,
                why=str(e),
                next="Check the cable, the port's name and your permission to use it",
            ) from e

    def read(self, timeout: float) -> bytes:
        import serial

        try:
            self._port.timeout = max(0.0, timeout)
            first = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except (serial.SerialException, OSError) as e:
            raise TransportClosed(str(e)) from e

    def write(self, data: bytes) -> None:
        import serial

        try:
            self._port.write(data)
            self._port.flush()
        except (serial.SerialException, OSError) as e:
            raise TransportClosed(str(e)) from e

    def close(self) -> None:
        self._port.close()


def open_transport(url: str, baud: int = 921600) -> Transport:
    """A transport by its URL: tcp://HOST:PORT, a device path such as /dev/ttyACM0, or any pyserial URL.

    Raises:
        DeviceUnreachableError: nothing answers there.
    """
    if url.startswith("tcp://"):
        host, _, port = url[6:].rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise DeviceUnreachableError(
                "that is no address", where=url, why="expected tcp://HOST:PORT", next="Give host and port"
            )
        return SocketTransport.connect_tcp(host.strip("[]"), int(port))
    return SerialTransport(url, baud)
