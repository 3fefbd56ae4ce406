"""The real server in this process, and a line to it that loses things at chosen bytes; time passes when nothing happens."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from recurc.device import link, session
from recurc.device.transports import TransportClosed
from recurc.resources import resource_dir
from recurc.targets.toolchain import compile_shared
from tests.device import dummy_build as dummy

Change = Callable[[bytes, int], bytes]  # data, place of the damaged byte in it -> data


def build_server(folder: Path, *defines: str) -> ctypes.CDLL:
    """The stand-in model, compiled with `defines`, and the real wire server as a library that is handed bytes."""
    runtime = resource_dir("runtime_c")
    image = [runtime / "image" / f"rc_{part}.c" for part in ("crc32", "sha256", "table")]
    files = [*sorted((runtime / "wire").glob("*.c")), *sorted((runtime / "solve").glob("*.c")), *image]
    library = ctypes.CDLL(
        str(
            compile_shared(
                [dummy.DUMMY / "model.c", dummy.DUMMY / "port.c", *files],
                [dummy.DUMMY, runtime / "include"],
                folder / "server.so",
                [f"-D{d}" for d in defines],
            )
        )
    )
    library.dummy_start.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]
    library.dummy_said.restype = ctypes.POINTER(ctypes.c_uint8)
    return library


class Clock:
    """Stands for the `time` module: monotonic seconds that a line advances when it has waited in vain."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def use(self, monkeypatch) -> Clock:
        monkeypatch.setattr(link, "time", self)
        monkeypatch.setattr(session, "time", self)
        return self


class Line:
    """A transport to the server. `damage`: (direction "to" or "from", byte since `arm`, change), done once."""

    description = "in-process"

    def __init__(self, library: ctypes.CDLL, clock: Clock, image: bytes | ctypes.c_char_p = b"", size: int = 0) -> None:
        self.library, self.clock, self.image = library, clock, image or dummy.image_bytes()
        self.image_bytes = size or len(self.image)
        self.damage: tuple[str, int, Change] | None = None
        self.counts = {"to": 0, "from": 0}
        self.delayed: list[tuple[float, str, bytes]] = []
        self.dead = self.closed = False
        self.on_step: Callable[[int], None] | None = None  # called when the device has sent the STEP of that number
        self._out = b""
        self.start()

    def start(self, boot_is_heard: bool = True) -> None:
        """Power on, or a reset."""
        self.library.dummy_start(self.image, self.image_bytes, None, 0)
        said = self._said()
        self._out = said if boot_is_heard else b""

    def arm(self, damage: tuple[str, int, Change] | None) -> None:
        """Do this damage, counting bytes from now."""
        self.damage, self.counts = damage, {"to": 0, "from": 0}

    def _said(self) -> bytes:
        n = ctypes.c_uint32()
        data = self.library.dummy_said(ctypes.byref(n))
        return bytes(data[: n.value])

    def _through(self, way: str, data: bytes) -> bytes:
        at = self.counts[way]
        self.counts[way] += len(data)
        if self.damage and self.damage[0] == way and at <= self.damage[1] < at + len(data):
            _, place, change = self.damage
            self.damage = None
            data = change(data, place - at)
        return data

    def delay(self, way: str, data: bytes, seconds: float) -> None:
        """Let bytes arrive later."""
        self.delayed.append((self.clock.now + seconds, way, data))

    def _deliver(self, data: bytes) -> None:
        if not self.dead and self.library.dummy_take(data, len(data)):
            self.start()  # RESET or EXIT
        self._out += self._through("from", self._said()) if not self.dead else b""

    def write(self, data: bytes) -> None:
        if self.closed:
            raise TransportClosed("unplugged")
        self._deliver(self._through("to", data))

    def read(self, timeout: float) -> bytes:
        if self.closed:
            raise TransportClosed("unplugged")
        if self.on_step is None:
            data, self._out = self._out, b""
        else:  # a frame at a time
            head, zero, rest = self._out.partition(b"\0")
            data, self._out = head + zero, rest
        if data:
            return data
        due = min(self.delayed, default=None)
        if due and due[0] <= self.clock.now + timeout:
            self.delayed.remove(due)
            self.clock.now = max(self.clock.now, due[0])
            if due[1] == "from":
                return due[2]
            self._deliver(due[2])
            return self.read(0)
        self.clock.now += timeout
        return b""

    def close(self) -> None:
        self.closed = True
