"""Makes one call of the operating system fail: the n-th of its kind at one place of recurc's code."""

from __future__ import annotations

import builtins
import ctypes
import fcntl
import io
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PACKAGE = os.sep + "recurc" + os.sep
DEPTH = 3  # frames of recurc that make a place

# What the system may answer to each kind of call.
_LOOK = "EACCES EPERM EIO ELOOP ESTALE ENOMEM"  # ENOENT, ENOTDIR: it is not there
_CHANGE = "EACCES EPERM ENOENT ENOSPC EDQUOT EROFS EIO EBUSY ENOTDIR ENAMETOOLONG ELOOP ESTALE EMLINK"
ERRORS: dict[str, tuple[str, ...]] = {kind: tuple(names.split()) for kind, names in {
    "open": "EACCES EPERM ENOENT EIO EMFILE ENFILE ENAMETOOLONG ELOOP ENOTDIR EISDIR ESTALE EINTR ENOMEM EBUSY ETXTBSY ENXIO",
    "create": f"{_CHANGE} EMFILE ENFILE EISDIR ETXTBSY ENOMEM EOVERFLOW",
    "read": "EIO ESTALE EISDIR ENOMEM ETIMEDOUT",
    "write": "ENOSPC EDQUOT EIO EFBIG ESTALE EROFS",
    "sync": "ENOSPC EDQUOT EIO ESTALE EROFS",
    "rename": f"{_CHANGE} EXDEV EISDIR ENOTEMPTY",
    "mkdir": _CHANGE,
    "remove": "EACCES EPERM EROFS EIO EBUSY ESTALE ENOENT",
    "mode": "EPERM EACCES EROFS EIO ENOENT",
    "look": _LOOK,
    "list": f"{_LOOK} ENOENT EMFILE ENFILE",
    "here": "ENOENT EACCES",
    "map": "ENOMEM ENODEV EACCES EAGAIN",
    "start": "ENOENT EACCES ENOEXEC ENOMEM EAGAIN ETXTBSY EMFILE EPERM EIO ELIBBAD",
    "lock": "ENOLCK EINTR EBADF",
    "link": "EACCES EIO ENOENT",
    "connect": "ECONNREFUSED ENETUNREACH EHOSTUNREACH ETIMEDOUT EACCES EMFILE EADDRNOTAVAIL",
    "load": "EACCES ENOENT ENOEXEC",
}.items()}  # fmt: skip
# A disk that is full, a table of files that is full stay so: all later calls of these kinds fail too.
LASTING = {"ENOSPC": ("create", "write", "sync", "mkdir"), "EROFS": ("create", "rename", "mkdir", "mode"),
           "EMFILE": ("open", "create", "list", "start")}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call: its kind, where recurc makes it (innermost line first), which of those there, and the file it is about."""

    kind: str
    place: tuple[str, ...]
    turn: int
    name: str = field(default="", compare=False)


@dataclass
class Injector:
    """Notes the calls of a run; makes one of them fail.

    Args:
        call: the call that fails; None fails none.
        number: the error's number.
        lasting: kinds of which all later calls fail too.
    """

    call: Call | None = None
    number: int = 0
    lasting: tuple[str, ...] = ()
    calls: list[Call] = field(default_factory=list)
    hit: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        self._turns: dict[tuple, int] = {}
        self._lock = threading.Lock()
        self._busy = threading.local()

    def meet(self, kind: str, name: object = "") -> None:
        """Called before each call of the system; raises when it is this call's turn."""
        if getattr(self._busy, "on", False):
            return
        self._busy.on = True
        try:
            place = _place()
            if place is None:
                return
            if sys._getframe(2).f_code.co_name.startswith(("_rmtree", "rmtree")):
                kind = "remove"  # what it looks at is what it removes
            text = os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else ""
            with self._lock:
                turn = self._turns[kind, place] = self._turns.get((kind, place), -1) + 1
                call = Call(kind, place, turn, text)
                self.calls.append(call)
                again = self.hit and kind in self.lasting
                if call != self.call and not again:
                    return
                self.hit = True
                self.name = self.name or text
        finally:
            self._busy.on = False
        if text:
            raise OSError(self.number, os.strerror(self.number), text)
        raise OSError(self.number, os.strerror(self.number))

    def install(self) -> None:
        """Put the functions that ask first in the place of the system's, for the rest of this process."""
        meet = self.meet

        def before(module: Any, name: str, kind: str) -> None:
            real = getattr(module, name)

            def call(*args: Any, **options: Any) -> Any:
                meet(kind, args[0] if args else "")
                return real(*args, **options)

            setattr(module, name, call)

        _files(meet)
        for kind, names in {
            "look": "stat lstat", "list": "scandir listdir", "rename": "rename replace link symlink", "mkdir": "mkdir mkfifo",
            "remove": "unlink remove rmdir", "mode": "chmod fchmod utime chown", "here": "getcwd", "link": "readlink",
            "sync": "fsync ftruncate truncate", "read": "pread preadv", "write": "write pwrite", "look ": "statvfs",
        }.items():  # fmt: skip
            for name in names.split():
                before(os, name, kind.strip())
        before(fcntl, "flock", "lock")
        before(socket, "create_connection", "connect")
        real_open = os.open

        def opened(path: Any, flags: int, *args: Any, **options: Any) -> int:
            meet("create" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open", path)
            return real_open(path, flags, *args, **options)

        os.open = opened  # type: ignore[assignment]
        real_start = subprocess.Popen._execute_child  # type: ignore[attr-defined]

        def started(process: Any, args: Any, *rest: Any) -> Any:
            meet("start", args if isinstance(args, (str, bytes)) else list(args)[0])
            return real_start(process, args, *rest)

        subprocess.Popen._execute_child = started  # type: ignore[attr-defined]

        class Mapped(mmap.mmap):
            def __new__(cls, *args: Any, **options: Any) -> Any:
                meet("map")
                return super().__new__(cls, *args, **options)

        mmap.mmap = Mapped  # type: ignore[misc]
        real_load = ctypes.CDLL.__init__

        def loaded(library: Any, name: Any = None, *args: Any, **options: Any) -> None:
            if name is not None:
                meet("load", name)
            real_load(library, name, *args, **options)

        ctypes.CDLL.__init__ = loaded  # type: ignore[method-assign]


def _place() -> tuple[str, ...] | None:
    """The lines of recurc that make the call; None where recurc does not, or Python loads a module."""
    found: list[str] = []
    frame = sys._getframe(2)
    while frame is not None and len(found) < DEPTH:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") or name.endswith(("linecache.py", "traceback.py", "inspect.py")):
            return None
        if PACKAGE in name and "tests" not in name:
            found.append(f"{name.rpartition(PACKAGE)[2]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found) or None


def _files(meet: Callable[..., None]) -> None:
    """`open` gives files whose reads and writes ask first."""
    real = io.open

    class Raw(io.FileIO):
        def readinto(self, buffer: Any) -> Any:
            meet("read", self.name)
            return super().readinto(buffer)

        def readall(self) -> Any:
            meet("read", self.name)
            return super().readall()

        def read(self, size: Any = -1) -> Any:
            meet("read", self.name)
            return super().read(size)

        def write(self, data: Any) -> Any:
            meet("write", self.name)
            return super().write(data)

        def truncate(self, size: Any = None) -> Any:
            meet("write", self.name)
            return super().truncate(size)

    def opening(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
                closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
        if not isinstance(file, int) and opener is None:  # what os.open and mkstemp have opened was met there
            meet("create" if set(mode) & set("wax+") else "open", file)
        if buffering == 0 or _place() is None:
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        letters = "".join(c for c in mode if c in "rwax+")
        raw = Raw(file, letters, closefd, opener)
        try:
            kind = io.BufferedRandom if "+" in letters else io.BufferedReader if letters == "r" else io.BufferedWriter
            buffered = kind(raw)
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
            text.mode = mode  # type: ignore[misc]
            return text
        except BaseException:
            raw.close()
            raise

    builtins.open = io.open = opening  # type: ignore[assignment]
