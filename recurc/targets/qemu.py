"""QEMU: starts a firmware on its emulated board with the UART on a socket, and never leaves a process behind."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from recurc.device.transports import SocketTransport, TransportClosed
from recurc.environment import remedy
from recurc.errors import DeviceUnreachableError, InputError, ToolchainError
from recurc.targets.boards import Board

PACKAGES = {"qemu-system-arm": "qemu-system-arm", "qemu-system-riscv32": "qemu-system-misc"}
_START_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 bytes


def find_qemu(board: Board) -> str:
    """Path of the board's emulator.

    Raises:
        InputError: the board is not emulated.
        ToolchainError: the emulator is not installed; names the Debian package.
    """
    if board.emulator is None:
        twin = f"its emulated twin is {board.twin}" if board.twin else "it has no emulated twin"
        raise InputError(f"{board.name} is not emulated", why=twin, next="Choose an emulated board from `recurc boards`")
    path = shutil.which(board.emulator.program)
    if path is None:
        package = PACKAGES.get(board.emulator.program, board.emulator.program)
        raise ToolchainError(
            "the emulator is not installed",
            where=board.emulator.program,
            why="it is not on the PATH",
            next=f"Install it with `apt-get install {package}`",
        )
    return path


def _die_with_parent() -> None:
    """In the child: be killed when recurc dies, however it dies."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _escaped(path: Path) -> str:
    """A path in an option of QEMU, where a comma ends a value."""
    return str(path).replace(",", ",,")


class QemuTransport(SocketTransport):
    """The UART of a firmware in QEMU. Closing it ends the emulator.

    `memory`: files that are loaded at addresses beside the firmware, as a board's other flash would hold them.
    """

    def __init__(
        self, board: Board, elf: Path, extra_args: tuple[str, ...] = (), memory: tuple[tuple[Path, int], ...] = ()
    ) -> None:
        program = find_qemu(board)
        assert board.emulator is not None
        if not elf.is_file():
            raise InputError("there is no firmware to run", where=str(elf), why="the file does not exist", next="Build again")
        self.board, self._heard = board, False
        self._folder = tempfile.mkdtemp(prefix="recurc-")
        path = Path(self._folder, "uart")
        if len(str(path)) > _LONGEST_SOCKET_PATH:
            shutil.rmtree(self._folder)
            self._folder = tempfile.mkdtemp(prefix="recurc-", dir="/tmp")
            path = Path(self._folder, "uart")
        command = [
            program,
            *("-M", board.emulator.machine, "-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot"),
            *board.emulator.args,
            *("-serial", f"unix:{_escaped(path)},server=on,wait=on", "-kernel", str(elf)),
            *(
                word
                for file, address in memory
                for word in ("-device", f"loader,file={_escaped(file)},addr={address:#x},force-raw=on")
            ),
            *extra_args,
        ]
        try:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            self.process = self._started(command)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        try:
            super().__init__(self._connect(path, board), f"{board.name} in QEMU")
            shutil.rmtree(self._folder, ignore_errors=True)  # connected: nobody needs the socket's name any more
        except BaseException:
            self._end()
            raise

    def _started(self, command: list[str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._stderr, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent
            )
        except OSError as e:
            self._stderr.close()
            raise ToolchainError(
                "QEMU does not start",
                where=command[0],
                why=e.strerror or str(e),
                next=remedy(e, "Check that it is a program of this computer, and that you may run it"),
            ) from None

    def _said(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()[-2000:].decode("utf-8", "replace").strip()

    def _never_started(self) -> ToolchainError:
        assert self.board.emulator is not None
        return ToolchainError(
            "QEMU ended before the firmware said anything",
            where=f"machine {self.board.emulator.machine}, exit status {self.process.returncode}",
            why=self._said() or "it said nothing",
            next="Check that this QEMU knows the machine",
        )

    def _connect(self, path: Path, board: Board) -> socket.socket:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self._never_started()
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(path))
                return connection
            except OSError:
                connection.close()
                time.sleep(0.01)
        raise DeviceUnreachableError(
            "QEMU does not open its UART", where=board.name, why=f"nothing for {_START_SECONDS:g} s", next="Try again"
        )

    def _gone(self, e: TransportClosed) -> TransportClosed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        status = self.process.returncode
        if status is not None and not self._heard:
            raise self._never_started()
        said = self._said()
        return TransportClosed(
            f"QEMU ended with status {status}" + (f": {said}" if said else "") if status is not None else str(e)
        )

    def read(self, timeout: float) -> bytes:
        try:
            data = super().read(timeout)
            self._heard = self._heard or bool(data)
            return data
        except TransportClosed as e:
            raise self._gone(e) from e

    def write(self, data: bytes) -> None:
        try:
            super().write(data)
        except TransportClosed as e:
            raise self._gone(e) from e

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._stderr.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        super().close()
        self._end()
