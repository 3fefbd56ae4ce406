"""Ports: whose they are, who may open them, who has them open, and who answers there."""

import dataclasses
import json
import os
import pty
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import tty
from dataclasses import dataclass
from pathlib import Path

import pytest

from recurc.build import manifest
from recurc.build.manifest import BoardArtifact
from recurc.cli.main import main
from recurc.device import frames as f
from recurc.device.ports import holders
from recurc.device.transports import ProcessTransport
from recurc.doctor import diagnosis, ports, probe
from recurc.doctor.holders import at_tcp, hidden, is_loopback, told
from recurc.doctor.ports import SerialPort, boards_of, check_port, check_ports
from recurc.errors import InputError
from recurc.targets.boards import list_boards, load_board, parse_board
from tests.boardfiles import board_text
from tests.device import dummy_build as dummy

BOARDS = list_boards()
HELLO_BODY = struct.pack("<H", f.VERSION)


@pytest.fixture
def terminal():
    """A pseudo-terminal: (descriptor of the device's side, name of the port)."""
    device, port = pty.openpty()
    yield device, os.ttyname(port)
    os.close(device)
    os.close(port)


@pytest.fixture
def child():
    """Starts a Python program that prints a line when it is ready; ends it."""
    started = []

    def start(code: str) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Server:
    """A device at a TCP port: `answer(received) -> bytes` is called with all that has arrived so far, until it gives some."""

    def __init__(self, answer) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(answer,), daemon=True).start()

    def _serve(self, answer) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            received = b""
            while data := connection.recv(4096):
                received += data
                if reply := answer(received):
                    connection.sendall(reply)
                    received = b""

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve():
    servers = []

    def start(answer) -> str:
        servers.append(Server(answer))
        return f"socket://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def bridge(serve):
    """Puts a firmware that runs as a process of this computer behind a TCP port."""
    processes = []

    def start(elf) -> str:
        transport = ProcessTransport([str(elf)])
        processes.append(transport)

        def answer(received: bytes) -> bytes:
            transport.write(received)
            return transport.read(2.0)

        return serve(answer)

    yield start
    for transport in processes:
        transport.close()


@dataclass(frozen=True)
class Made:
    """What the diagnosis asks of a build."""

    path: Path
    boards: dict
    name: str = "stand-in"
    precision: str = "int4"
    target: str = "host"
    notes: tuple = ()
    packages: tuple = ("firmware",)

    def board(self, name: str):
        return load_board(name)


@pytest.fixture
def made(elfs, tmp_path):
    """A build of the stand-in's firmware for this computer."""
    host = BoardArtifact(elfs("host"), tmp_path / "model.rcm", dummy.SHA256.hex(), dummy.BUILD_ID)
    return Made(tmp_path, {"host": host})


# -- which ports, whose ---------------------------------------------------------------------------------------------


def test_boards_are_known_by_the_identity_of_their_adapter():
    names = lambda usb: [b.name for b in boards_of(SerialPort("/dev/x", usb), BOARDS)]  # noqa: E731
    assert names("0483:374b") == ["nucleo-h743", "stm32h7"]
    assert names("1366:1055") == ["apollo510", "nrf5340"]  # any J-Link
    assert names("0483:9999") == [] and names("") == []


def test_an_identity_in_a_board_file_is_checked():
    board = load_board("stm32h7")
    text = board_text(board.name)
    with pytest.raises(InputError, match="usb: '0483:374B' is no USB identity"):
        parse_board(text.replace("0483:374b", "0483:374B"), board.path)


def test_ports_say_what_they_are(monkeypatch, terminal):
    _, name = terminal
    assert [x.state for x in check_ports(BOARDS, [])] == ["note"]
    (found,) = check_ports(BOARDS, [SerialPort(name, "0483:374e", "STMicroelectronics STLINK-V3")])
    assert found.state == "ok"
    assert found.detail == "STMicroelectronics STLINK-V3, USB 0483:374e: may be nucleo-h743 or stm32h7 or stm32u5a5"


class _Stat:
    st_gid, st_mode, st_rdev = 20, stat.S_IFCHR | 0o660, os.makedev(136, 0)


@pytest.mark.parametrize(
    "mode, members, says, do",
    [
        (0o660, [], "group dialout", "sudo usermod -aG dialout"),
        (0o660, ["me"], "me joined dialout after logging in", "newgrp dialout"),
        (0o600, [], "udev gives it to nobody", 'TAG+="uaccess"\' | sudo tee /etc/udev/rules.d/70-recurc.rules'),
    ],
)
def test_a_denied_port_names_the_command(monkeypatch, terminal, mode, members, says, do):
    _, name = terminal
    monkeypatch.setattr(ports.os, "access", lambda *_: False)
    info = _Stat()
    info.st_mode = stat.S_IFCHR | mode
    real = os.stat
    monkeypatch.setattr(ports.os, "stat", lambda path, **k: info if path == name else real(path, **k))
    monkeypatch.setattr(ports.pwd, "getpwuid", lambda _: type("P", (), {"pw_name": "me"}))
    monkeypatch.setattr(ports.grp, "getgrgid", lambda _: type("G", (), {"gr_name": "dialout", "gr_mem": members}))
    (found,) = check_ports(BOARDS, [SerialPort(name, "0483:374b")])
    assert found.state == "problem" and says in found.detail and do in found.next and found.exit_code == 0
    (found,) = check_port(name, [])
    assert found.state == "problem" and found.exit_code == 7
    if mode == 0o600:
        assert 'ATTRS{idVendor}=="0483"' in ports.access(name, "0483:374b")[1]


@pytest.mark.parametrize(
    "url, says",
    [("/dev/ttyNONE9", "no such port; connected: /dev/ttyX"), (__file__, "no serial port"), ("/dev/null", "no serial port")],
)
def test_a_port_that_is_none(url, says):
    (found,) = check_port(url, [SerialPort("/dev/ttyX")])
    assert found.exit_code == 7 and says in found.detail


@pytest.mark.parametrize("url", ["socket://127.0.0.1", "tcp://host:x", "tcp://:1", "socket://h:99999999"])
def test_an_address_that_is_none(url):
    (found,) = check_port(url, [])
    assert found.exit_code == 7 and "no address" in found.detail


# -- who holds it ---------------------------------------------------------------------------------------------------


def test_who_holds_a_port_is_told_without_lsof(terminal, child, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    _, name = terminal
    assert [x.state for x in check_port(name, [])] == ["ok", "ok"]
    process, _ = child(f"import sys; port = open({name!r}, 'rb', buffering=0); print('open', flush=True); sys.stdin.read()")
    (by,) = holders(name)
    assert by.pid == process.pid and "-c import sys" in told(by)
    found = check_port(name, [])[-1]
    assert found.state == "problem" and found.exit_code == 7 and f"kill {process.pid}" in found.next


def test_a_link_to_a_port_is_followed(terminal, child, tmp_path):
    _, name = terminal
    link = tmp_path / "serial-by-id"
    link.symlink_to(name)
    process, _ = child(f"import sys; port = open({name!r}, 'rb', buffering=0); print('open', flush=True); sys.stdin.read()")
    assert [h.pid for h in holders(str(link))] == [process.pid]


def test_who_serves_an_address_and_who_is_connected(child):
    server, port = child(
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "kept = [s.accept()]; sys.stdin.read()"
    )
    listening, connected = at_tcp(int(port))
    assert [h.pid for h in listening] == [server.pid] and connected == []
    connect = f"c = socket.create_connection(('127.0.0.1', {port}))"
    client, _ = child(f"import socket, sys; {connect}; print(flush=True); sys.stdin.read()")
    listening, connected = at_tcp(int(port))
    assert [h.pid for h in connected] == [client.pid]
    found = check_port(f"socket://127.0.0.1:{port}", [])
    assert [x.name for x in found] == ["served by", "held by"] and found[1].exit_code == 7


def test_hidden_processes_are_counted(monkeypatch, terminal):
    real = os.scandir

    def denied(path):
        if str(path).startswith("/proc/1/"):
            raise PermissionError
        return real(path)

    before = hidden()
    monkeypatch.setattr(os, "scandir", denied)
    assert hidden() == before + 1
    found = check_port(terminal[1], [])[-1]
    assert found.state == "ok" and "of other users cannot be seen" in found.detail
    assert is_loopback("127.0.0.1") and is_loopback("localhost") and is_loopback("::1") and not is_loopback("192.0.2.1")


# -- who answers ----------------------------------------------------------------------------------------------------


def asked(url, build=None):
    """Findings about the device, by name."""
    heard, baud = probe.listen(url, (115200,))
    return {x.name: x for x in probe.check_device(url, heard, baud, build)}


def reply(kind: int, body: bytes, seq: int = 1):
    return lambda received: f.encode(f.Frame(kind, seq, body)) if received.count(b"\0") >= 2 else b""


CRASH = struct.pack("<7I", 0x8000123, 0, 1 << 16, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "answer, name, says, code",
    [
        (lambda received: b"", "answers", "silence", 7),
        (lambda received: b"Zephyr OS booted\r\n", "our firmware", "another program: it says 'Zephyr OS booted..", 8),
        (lambda received: bytes(range(128, 160)), "our firmware", "or another baud rate", 8),
        (reply(f.HELLO | f.REPLY, struct.pack("<H", 99)), "our firmware", "protocol version 99", 8),
        (reply(f.HELLO | f.REPLY, b"\1"), "answers", "malformed", 7),
        (reply(f.NAK, bytes([15, 1])), "our firmware", "refuses HELLO: unknown command or flag", 8),
        (reply(f.FAULT, CRASH, 0), "our firmware", "undefined instruction, pc=08000123", 8),
        (reply(f.BOOT, bytes([3, 0]), 0), "our firmware", "starts anew and does not answer", 7),
        (reply(f.STEP, b"", 9), "our firmware", "in the middle of a run", 7),
    ],
)
def test_answers_that_are_not_right(serve, monkeypatch, answer, name, says, code):
    monkeypatch.setattr(probe.ask, "__defaults__", (2, 0.2))
    found = asked(serve(answer))
    assert found[name].state == "problem" and says in found[name].detail and found[name].exit_code == code
    assert found[name].next


def test_a_silent_terminal_is_asked_at_every_rate_and_given_up(terminal, monkeypatch):
    monkeypatch.setattr(probe.ask, "__defaults__", (2, 0.1))
    begun = time.monotonic()
    heard, _ = probe.listen(terminal[1], (921600, 115200))
    assert heard == probe.Heard() and time.monotonic() - begun < 10


def test_an_open_that_never_returns_is_given_up(monkeypatch):
    monkeypatch.setattr(probe, "open_transport", lambda *_: time.sleep(60))
    monkeypatch.setattr(probe, "_OPEN_SECONDS", 0.1)
    monkeypatch.setattr(probe, "_REPLY_SECONDS", 0.1)
    found = asked("/dev/ttyACM0")
    assert found["answers"].exit_code == 7 and "does not return" in found["answers"].detail


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert asked(f"tcp://127.0.0.1:{port}")["answers"].exit_code == 7


def test_our_firmware_on_a_terminal(terminal, elfs):
    """The whole way through a tty: pyserial, baud rate, frames; the process stands for the board."""
    device, name = terminal
    transport = ProcessTransport([str(elfs("host"))])

    def pump() -> None:
        try:
            while data := os.read(device, 4096):
                transport.write(data)
                os.write(device, transport.read(2.0))
        except OSError:
            pass  # the terminal is closed

    tty.setraw(device)
    threading.Thread(target=pump, daemon=True).start()
    found = asked(name)
    transport.close()
    assert [found[x].state for x in ("answers", "our firmware", "weights image", "this build")] == ["ok", "ok", "ok", "note"]
    assert dummy.BUILD_ID[:16] in found["this build"].detail


def test_a_damaged_image_is_told(bridge, elfs):
    found = asked(bridge(elfs("host", good_image=False)))
    assert found["weights image"].exit_code == 8 and "checksum" in found["weights image"].detail


def test_this_build_another_build_another_model_another_board(bridge, made):
    host = made.boards["host"]
    url = bridge(host.elf)
    assert asked(url, made)["this build"].state == "ok"
    others = {
        "the same model in another build": {"host": dataclasses.replace(host, build_id="0" * 32)},
        "another model": {"host": dataclasses.replace(host, model_sha256="0" * 64)},
        "the device is a host, the build is for mps2-an500": {"mps2-an500": host},
    }
    for says, boards in others.items():
        found = asked(url, dataclasses.replace(made, boards=boards))["this build"]
        assert found.exit_code == 8 and says in found.detail and found.next


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch):
    """Without the checks of this computer's tools, which have their own tests."""
    for name in ("check_compilers", "check_emulators"):
        monkeypatch.setattr(diagnosis, name, lambda boards, needed: [])
    for name in ("check_packages", "check_platformio"):
        monkeypatch.setattr(diagnosis, name, list)


def test_the_command_on_a_device_of_this_build(quiet, bridge, made, monkeypatch, capsys):
    monkeypatch.setattr(manifest, "load_build", lambda folder, to_run: made)
    url = bridge(made.boards["host"].elf)
    assert main(["doctor", str(made.path), "--port", url, "--json"]) == 0
    out = capsys.readouterr()
    document = json.loads(out.out)
    assert document["schema"] == "recurc/doctor/1" and document["ok"] and document["exit_code"] == 0
    states = {(c["group"], c["name"]): c["state"] for c in document["checks"]}
    assert states[("device", "this build")] == "ok" and states[("build", str(made.path))] == "ok"
    assert document["device"]["build_id"] == dummy.BUILD_ID
    assert "this build" in out.err and out.out.startswith("{")


def test_the_command_asks_nobody_when_the_port_is_missing(quiet, capsys):
    assert main(["doctor", "--port", "/dev/ttyNONE9"]) == 7
    out = capsys.readouterr().out
    assert "not asked: see /dev/ttyNONE9 above" in out and "1 thing to mend" in out


def test_a_build_that_is_none_is_a_finding(quiet, tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 3
    assert "recurc build" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_output_is_aligned_and_within_the_width(quiet, capsys, width):
    from recurc.cli.doctor import _lines
    from recurc.doctor.findings import Finding

    findings = [
        Finding("tools", "C compiler", "ok", "gcc 12.2.1, /usr/bin/gcc"),
        Finding("tools", "a name that is long and goes over the column", "problem", "words " * 40, "Run `one two`", 6),
    ]
    lines = [line.plain for line in _lines(findings, width)]
    assert max(map(len, lines)) <= width
    column = lines[1].index("gcc 12")
    assert all(line[column - 2 : column].strip() == "" for line in lines[1:])
    assert any("→ Run `one two`" in line for line in lines)
