"""Who has a port, beyond its device file: processes at a TCP port, their users, and those that nobody may look into."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

from recurc.device.ports import Holder, command_of

_PROC = Path("/proc")
_ESTABLISHED, _LISTENING = "01", "0A"
_SHOWN = 60


def told(holder: Holder) -> str:
    """A process for people: its command line, number and user."""
    process = _PROC / str(holder.pid)
    try:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        uid = process.stat().st_uid
    except OSError:
        return f"{holder}, which has just ended"
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    command = command or holder.command
    return f"{command if len(command) <= _SHOWN else command[: _SHOWN - 3] + '...'} (pid {holder.pid}, user {user})"


def hidden() -> int:
    """How many processes do not show this user what they have open."""
    count = 0
    for process in _processes():
        try:
            os.scandir(process / "fd").close()
        except PermissionError:
            count += 1
        except OSError:
            pass  # it has ended
    return count


def at_tcp(port: int) -> tuple[list[Holder], list[Holder]]:
    """Other processes of this computer that listen at a TCP port, and those that are connected to it."""
    listening, connected = (_sockets(port, which) for which in (_LISTENING, _ESTABLISHED))
    servers: list[Holder] = []
    clients: list[Holder] = []
    for process in _processes():
        try:
            links = {os.readlink(entry.path) for entry in os.scandir(process / "fd")}
        except OSError:
            continue
        if int(process.name) != os.getpid() and links & (listening | connected):
            holder = Holder(int(process.name), command_of(int(process.name)))
            (servers if links & listening else clients).append(holder)
    return servers, clients


def _sockets(port: int, state: str) -> set[str]:
    """Names, as /proc/PID/fd shows them, of the sockets that listen at a port or are connected to it."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            end = fields[1] if state == _LISTENING else fields[2]
            if fields[3] == state and int(end.rsplit(":", 1)[1], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _processes() -> Iterator[Path]:
    yield from sorted((p for p in _PROC.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def is_loopback(host: str) -> bool:
    """Whether an address is this computer's own, so that its processes can be seen here."""
    if host == "localhost":
        return True
    try:
        return socket.inet_aton(host)[0] == 127
    except OSError:
        return host.strip("[]") == "::1"
