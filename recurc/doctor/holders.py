"""Which processes hold a port, read from /proc: neither lsof nor fuser need be installed."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"
_LISTENING = "0A"


@dataclass(frozen=True)
class Holder:
    """A process: its number, its user and its command line (its short name where that is hidden)."""

    pid: int
    user: str
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid}, user {self.user})"


def holders(path: str, proc: Path = Path("/proc")) -> tuple[list[Holder], int]:
    """Processes that have a device open, and how many processes of others could not be looked into.

    Args:
        path: the device, or a link to it.
    """
    wanted = os.path.realpath(path)
    found, hidden = [], 0
    for process in _processes(proc):
        try:
            links = [os.readlink(entry.path) for entry in os.scandir(process / "fd")]
        except PermissionError:
            hidden += 1
            continue
        except OSError:  # it has ended
            continue
        if wanted in links and int(process.name) != os.getpid():
            found.append(_holder(process))
    return found, hidden


def socket_holders(port: int, proc: Path = Path("/proc")) -> tuple[list[Holder], list[Holder]]:
    """Processes of this computer that listen at a TCP port, and those that are connected to it."""
    listening, connected = _inodes(port, proc)
    servers: dict[int, Holder] = {}
    clients: dict[int, Holder] = {}
    for process in _processes(proc):
        try:
            links = {os.readlink(entry.path) for entry in os.scandir(process / "fd")}
        except OSError:
            continue
        for inodes, group in ((listening, servers), (connected, clients)):
            if links & {f"socket:[{inode}]" for inode in inodes} and int(process.name) != os.getpid():
                group[int(process.name)] = _holder(process)
    return list(servers.values()), [h for pid, h in clients.items() if pid not in servers]


def _inodes(port: int, proc: Path) -> tuple[set[str], set[str]]:
    listening, connected = set(), set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            local, remote = (int(fields[i].rsplit(":", 1)[1], 16) for i in (1, 2))
            if fields[3] == _LISTENING and local == port:
                listening.add(fields[9])
            elif fields[3] == _ESTABLISHED and remote == port:
                connected.add(fields[9])
    return listening, connected


def _processes(proc: Path) -> Iterator[Path]:
    yield from sorted((p for p in proc.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


def _holder(process: Path) -> Holder:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        command = b" ".join(words).decode("utf-8", "replace").strip() or (process / "comm").read_text().strip()
        uid = process.stat().st_uid
    except OSError:
        return Holder(int(process.name), "?", "a process that has just ended")
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return Holder(int(process.name), user, command if len(command) <= 60 else command[:57] + "...")


def is_loopback(host: str) -> bool:
    """Whether an address is this computer's own, so that its processes can be seen here."""
    if host == "localhost":
        return True
    try:
        return struct.unpack(">I", socket.inet_aton(host))[0] >> 24 == 127
    except OSError:
        return host.strip("[]") == "::1"
