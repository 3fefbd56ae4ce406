"""Who has a port: one session at a time, and the other's process is named."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recurc.errors import DeviceUnreachableError

_PROC = Path("/proc")


@dataclass(frozen=True)
class Holder:
    """A process that has a port open."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command or 'a process'} (pid {self.pid})"


def command_of(pid: int) -> str:
    """A process's name, "" when it is gone."""
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def holders(path: str) -> tuple[Holder, ...]:
    """Other processes that have a device file open, as far as /proc shows them to this user (Linux)."""
    found = []
    with contextlib.suppress(OSError):
        wanted = os.stat(path)
        for folder in _PROC.iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                for entry in (folder / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        state = entry.stat()
                        if (state.st_dev, state.st_ino) == (wanted.st_dev, wanted.st_ino):
                            found.append(Holder(int(folder.name), command_of(int(folder.name))))
                            break
    return tuple(sorted(found, key=lambda h: h.pid))


def lock_folder() -> Path:
    """Where this user's lock files are."""
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"recurc-{os.getuid()}"


class PortLock:
    """One session a port: a lock file with the holder's process id. The kernel frees it when the process ends, however.

    Args:
        port: a device's path (links are followed) or "HOST:PORT".

    Raises:
        DeviceUnreachableError: another session of this user has it; its process is named.
    """

    def __init__(self, port: str) -> None:
        name = os.path.realpath(port) if port.startswith("/") else port.lower()
        folder = lock_folder()
        self._file: int | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
            file = os.open(folder / digest, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return  # no place for locks: the port's own exclusive mode is what is left
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            told = os.read(file, 32).decode("ascii", "replace").strip()
            os.close(file)
            holder = str(Holder(int(told), command_of(int(told)))) if told.isdigit() else "another process"
            raise in_use(port, holder) from e
        except OSError:  # the filesystem has no locks
            os.close(file)
            return
        with contextlib.suppress(OSError):  # who holds it is told as far as there is room for that
            os.ftruncate(file, 0)
            os.write(file, str(os.getpid()).encode())
        self._file = file

    def release(self) -> None:
        """Let the next one have it; may be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def in_use(port: str, holder: str) -> DeviceUnreachableError:
    """The error of a port that somebody else has."""
    return DeviceUnreachableError(
        "the port is in use", where=port, why=f"{holder} has it",
        next="Wait until it is done or end it: two hosts on one device disturb each other",
    )  # fmt: skip
