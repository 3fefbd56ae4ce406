"""Serial ports: which there are, whose boards they may be, whether this user may open them, who has one open."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from recurc.device.ports import Holder, holders
from recurc.doctor.findings import MISSING, NOTE, OK, PROBLEM, Finding, within
from recurc.doctor.holders import at_tcp, hidden, is_loopback, told
from recurc.errors import DeviceUnreachableError
from recurc.targets.boards import Board

PORTS, PORT = "ports", "port"
EXIT = DeviceUnreachableError.exit_code
_LIST_SECONDS = 5.0
_SHOWN = 4  # holders
RULES = "/etc/udev/rules.d/70-recurc.rules"


@dataclass(frozen=True)
class SerialPort:
    """A serial port of this computer. `usb`: "VVVV:PPPP" in lower case hexadecimal, "" for others."""

    device: str
    usb: str = ""
    description: str = ""
    serial_number: str = ""


def list_ports() -> list[SerialPort]:
    """The serial ports that have a device behind them; motherboards' unused ttyS are left out."""
    from serial.tools import list_ports as pyserial

    def listed() -> list[SerialPort]:
        found = []
        for p in sorted(pyserial.comports(), key=lambda p: p.device):
            usb = f"{p.vid:04x}:{p.pid:04x}" if p.vid is not None and p.pid is not None else ""
            words = [w for w in (p.manufacturer, p.product or p.description) if w and w != "n/a"]
            if usb or "ttyS" not in p.device:
                found.append(SerialPort(p.device, usb, " ".join(words), p.serial_number or ""))
        return found

    return within(_LIST_SECONDS, listed, list)


def boards_of(port: SerialPort, boards: Sequence[Board]) -> list[Board]:
    """Boards whose serial adapter has the port's USB identity."""
    vendor = port.usb.split(":")[0]
    return [b for b in boards if port.usb and any(usb in (port.usb, f"{vendor}:*") for usb in b.usb)]


def check_ports(boards: Sequence[Board], ports: Sequence[SerialPort]) -> list[Finding]:
    """A line for every serial port: what it is, whose it may be, and whether this user may open it."""
    if not ports:
        return [Finding(PORTS, "serial ports", NOTE, "none is connected",
                        "Connect a board's USB cable (one that carries data); `recurc verify BUILD --on qemu` needs "
                        "none")]  # fmt: skip
    findings = []
    for port in ports:
        may_be = boards_of(port, boards)
        text = ", ".join(x for x in (port.description, port.usb and f"USB {port.usb}") if x)
        if may_be:
            text += f": may be {' or '.join(b.name for b in may_be)}"
        denied = access(port.device, port.usb)
        findings.append(denied and Finding(PORTS, port.device, PROBLEM, f"{text}; {denied[0]}", denied[1])
                        or Finding(PORTS, port.device, OK, text))  # fmt: skip
    return findings


def access(device: str, usb: str = "") -> tuple[str, str] | None:
    """Why this user may not open a device, and the command that changes it; None when it may be opened."""
    if os.access(device, os.R_OK | os.W_OK):
        return None
    try:
        info = os.stat(device)
    except OSError as e:
        return e.strerror or str(e), "Check the cable and the port's name"
    user = pwd.getpwuid(os.getuid()).pw_name
    mode = stat.filemode(info.st_mode)
    try:
        group, members = grp.getgrgid(info.st_gid).gr_name, grp.getgrgid(info.st_gid).gr_mem
    except KeyError:
        group, members = str(info.st_gid), []
    reason = f"{user} may not open it ({mode}, group {group})"
    if info.st_mode & stat.S_IRGRP and info.st_mode & stat.S_IWGRP and group != "root":
        if user in members:
            return f"{reason}: {user} joined {group} after logging in", f"Log out and in, or run `newgrp {group}`"
        return reason, f"Run `sudo usermod -aG {group} {user}`, then log out and in"
    return f"{reason}: udev gives it to nobody", f"Run `{udev_command(usb)}`"


def udev_command(usb: str) -> str:
    """A shell line that lets the group dialout and whoever sits at the computer open an adapter."""
    vendor = f'ATTRS{{idVendor}}=="{usb.split(":")[0]}", ' if usb else ""
    rule = f'SUBSYSTEM=="tty", {vendor}MODE="0660", GROUP="dialout", TAG+="uaccess"'
    return f"echo '{rule}' | sudo tee {RULES} && sudo udevadm control --reload && sudo udevadm trigger"


def check_port(url: str, ports: Sequence[SerialPort]) -> list[Finding]:
    """Whether a port exists, may be opened, and is free. An error among them means that asking the device is no use."""
    if "://" in url:
        return _check_address(url)
    if not Path(url).exists():
        known = ", ".join(p.device for p in ports)
        return [Finding(PORT, url, MISSING, "there is no such port" + (f"; connected: {known}" if known else ""),
                        "Check the cable and the port's name: `recurc doctor` lists what is connected", EXIT)]  # fmt: skip
    if not _is_terminal(url):
        return [Finding(PORT, url, PROBLEM, "it is no serial port", "Name a port such as /dev/ttyACM0", EXIT)]
    usb = next((p.usb for p in ports if os.path.realpath(p.device) == os.path.realpath(url)), "")
    denied = access(url, usb)
    if denied:
        return [Finding(PORT, "permission", PROBLEM, denied[0], denied[1], EXIT)]
    found = [Finding(PORT, "permission", OK, f"{url} may be read and written")]
    if not Path("/proc/self/fd").exists():
        return [*found, Finding(PORT, "held by", NOTE, "this system does not tell (no /proc)")]
    by, unseen = within(_LIST_SECONDS, lambda: (holders(url), hidden()), lambda: ((), 0))
    return [*found, _held(by, unseen)]


def _is_terminal(path: str) -> bool:
    """Whether a path is a terminal's device, told without opening it: that would move a real port's DTR line."""
    info = os.stat(path)
    if not stat.S_ISCHR(info.st_mode):
        return False
    kind = Path(f"/sys/dev/char/{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}/subsystem")
    return not kind.exists() or kind.resolve().name == "tty"  # pseudo-terminals are not in /sys


def _held(by: Sequence[Holder], unseen: int) -> Finding:
    if by:
        numbers = " ".join(str(h.pid) for h in by)
        more = f"; {len(by) - _SHOWN} more" if len(by) > _SHOWN else ""
        return Finding(PORT, "held by", PROBLEM, "; ".join(map(told, by[:_SHOWN])) + more,
                       f"Close it there, or end it with `kill {numbers}`: two readers of one port take each other's bytes",
                       EXIT)  # fmt: skip
    if unseen:
        return Finding(PORT, "held by", OK, f"no process of yours ({unseen} of other users cannot be seen: with sudo they can)")
    return Finding(PORT, "held by", OK, "nobody")


def _check_address(url: str) -> list[Finding]:
    """Of tcp:// and socket:// addresses on this computer: who listens, and who is connected already."""
    parts = urlsplit(url)
    try:
        host, number = parts.hostname or "", parts.port
    except ValueError:
        host, number = "", None
    if parts.scheme in ("tcp", "socket") and (not host or number is None):
        return [Finding(PORT, url, PROBLEM, "that is no address", f"Give host and port: {parts.scheme}://127.0.0.1:4444", EXIT)]
    if parts.scheme not in ("tcp", "socket") or not is_loopback(host) or not Path("/proc/net/tcp").exists():
        return []
    servers, clients = within(_LIST_SECONDS, lambda: at_tcp(int(number or 0)), lambda: ([], []))
    found = []
    if servers:
        found.append(Finding(PORT, "served by", OK, "; ".join(map(told, servers))))
    if clients:
        found.append(_held(clients, 0))
    return found
