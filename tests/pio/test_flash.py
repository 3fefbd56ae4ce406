"""`recurc flash`: an emulated board is started, asked and left running; disks and tools of real boards are stood in for."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import zlib
from pathlib import Path

import pytest

from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.device.session import DeviceSession
from recurc.device.transports import open_transport
from recurc.doctor.ports import SerialPort
from recurc.errors import DeviceUnreachableError, MismatchError, ToolchainError, UsageError
from recurc.flash import flash, stop
from recurc.flash import run as flashing
from recurc.package import pio
from recurc.targets.boards import load_board
from tests.build import forging

TWIN = "mps2-an500"


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"socket://127.0.0.1:{server.getsockname()[1]}"


def alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty for one that ended and that nobody has waited for
    except OSError:
        return False


def call(capsys, *args: str) -> tuple[int, dict]:
    """Exit code and JSON document of a command."""
    status = main([*args, "--json"])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, json.loads(said.out)


@pytest.fixture
def port(made):
    """A free TCP port; what runs there is ended."""
    chosen = free_port()
    yield chosen
    stop(made, chosen, TWIN)


def test_an_emulated_board_is_flashed_asked_and_left_running(made, port, capsys):
    status, d = call(capsys, "flash", str(made.path), "--board", TWIN, "--port", port)
    assert status == 0 and d["schema"] == "recurc/flash/1", d
    assert (d["board"], d["port"], d["checked"], d["same_elf"], d["known_answer"]) == (TWIN, port, True, True, True)
    pieces = {p["name"]: p for p in d["pieces"]}
    assert pieces["weights image"]["bytes"] == made.boards[TWIN].image.stat().st_size
    assert pieces["puzzle table"]["bytes"] == made.table_path.stat().st_size
    assert all(p["told"] == p["crc32"] for p in d["pieces"])
    proof = d["proof"]
    assert proof["checked"] == "sha256 computed on the device" and proof["bytes"] == sum(p["bytes"] for p in d["pieces"])
    assert [p["name"] for p in proof["pieces"]] == ["weights image", "puzzle table"]
    for _ in range(2):  # it answers whoever comes, one after the other
        with DeviceSession(open_transport(port), timeout=10) as session:
            info = session.hello()
            assert (info.board, info.build_id, info.table_status) == (TWIN, made.boards[TWIN].build_id, 0)
    status, again = call(capsys, "flash", str(made.path), "--board", TWIN, "--port", port)
    assert status == 0 and again["process"] != d["process"]
    assert not alive(d["process"]) and alive(again["process"]), "flashing again replaces what ran"
    assert call(capsys, "flash", str(made.path), "--board", TWIN, "--port", port, "--stop")[1]["stopped"] is True
    assert not alive(again["process"])
    assert call(capsys, "flash", str(made.path), "--board", TWIN, "--port", port, "--stop")[1]["stopped"] is False


def test_a_pseudo_terminal_serves_as_well(made):
    result = flash(made, TWIN, port="pty")
    try:
        assert result.port.startswith("/dev/") and result.checked
        with DeviceSession(open_transport(result.port), timeout=10) as session:
            assert session.hello().board == TWIN
    finally:
        assert stop(made, result.port, TWIN)


def test_a_table_that_did_not_arrive_whole_is_noticed(made, port, tmp_path):
    """All but a byte of it: the firmware's own look at the header is content, the checksum of the whole is not."""
    copy = load_build(shutil.copytree(made.path, tmp_path / "copy"))
    table = copy.path / "project" / "data" / "puzzles.rct"
    table.write_bytes(table.read_bytes()[:-1] + b"\x55")
    with pytest.raises(MismatchError, match="puzzle table is not the build's.*CRC-32") as e:
        flash(copy, TWIN, port=port)
    assert e.value.exit_code == 8
    with pytest.raises(DeviceUnreachableError):
        open_transport(port)  # it was ended


@pytest.mark.parametrize("what", ["weights", "puzzle table"])
def test_a_forgery_whose_checksums_fit_is_noticed(made, port, tmp_path, what):
    """Somebody changes what is uploaded and mends every CRC-32 that the firmware looks at, and the one of the whole too."""
    copy = load_build(shutil.copytree(made.path, tmp_path / "copy", ignore=shutil.ignore_patterns(".pio")))
    if what == "weights":
        (file,) = copy.path.glob("project/**/model.rcm")
        forged = bytearray(file.read_bytes())
        forging.weight_bytes(forged)
        forging.with_whole_crc(forged, zlib.crc32(file.read_bytes()))
    else:
        file, header = copy.path / "project" / "data" / "puzzles.rct", made.table
        forged = bytearray(file.read_bytes())
        for index in range(header.rows):
            at = 128 + index * header.record_bytes
            body = forged[at : at + header.record_bytes - 4]
            body[4 + index % header.dim] ^= 1
            forged[at : at + header.record_bytes] = body + header.crc(index, body).to_bytes(4, "little")
    assert zlib.crc32(forged) == zlib.crc32(file.read_bytes()) and forged != file.read_bytes()
    file.write_bytes(forged)
    with pytest.raises(MismatchError, match=f"the device's {what} (are|is) not the build's") as e:
        flash(copy, TWIN, port=port)
    assert e.value.exit_code == 8
    with pytest.raises(DeviceUnreachableError):
        open_transport(port)


def test_a_port_that_is_taken_is_said(made, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"socket://127.0.0.1:{server.getsockname()[1]}"
        status, d = call(capsys, "flash", str(made.path), "--board", TWIN, "--port", taken)
    assert status == 6 and "in use" in d["error"]["why"]
    status, d = call(capsys, "flash", str(made.path), "--board", TWIN, "--port", "COM7:9600")
    assert status == 6 and "no port for an emulated board" in d["error"]["why"]


# -- disks and tools --------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """What an ST-LINK shows."""
    folder = tmp_path / "NOD_H743ZI"
    folder.mkdir()
    (folder / "DETAILS.TXT").write_text("Version: 0221\nBuild: Jan\n")
    return folder


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A stand-in for the tool that writes external flash: it notes its words."""
    folder = tmp_path / "tools"
    folder.mkdir()
    script = folder / "STM32_Programmer_CLI"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{folder}/words"\nls "{tmp_path}/NOD_H743ZI" > "{folder}/disk"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("RECURC_STM32_LOADER", "my.stldr")
    return folder


def test_the_table_goes_to_external_flash_and_the_firmware_to_the_probes_disk(made, project, disk, tool):
    result = flash(made, disk=str(disk))
    words = (tool / "words").read_text().split("\n")
    assert words[:4] == ["-c", "port=SWD", "-el", "my.stldr"] and words[6] == "0x90000000" and words[7] == "-v"
    assert os.path.samefile(words[5], project / "data" / "puzzles.rct")
    assert "firmware.bin" not in (tool / "disk").read_text(), "the firmware comes last, so that it finds its table"
    written = (disk / "firmware.bin").read_bytes()
    assert written == (project / ".pio" / "build" / "stm32h7" / "firmware.bin").read_bytes()
    assert result.same_elf and not result.checked and all(p.told is None for p in result.pieces)


def test_what_cannot_be_written_is_named_with_the_whole_command(made, disk, monkeypatch, capsys):
    status, d = call(capsys, "flash", str(made.path), "--disk", str(disk))
    assert status == 6 and "RECURC_STM32_LOADER" in d["error"]["why"]
    monkeypatch.setenv("RECURC_STM32_LOADER", "my.stldr")
    status, d = call(capsys, "flash", str(made.path), "--disk", str(disk))
    assert status == 6 and "-w " in d["error"]["why"] and "0x90000000 -v" in d["error"]["why"]
    assert not (disk / "firmware.bin").exists(), "no half of an upload"
    status, d = call(capsys, "flash", str(made.path), "--disk", str(disk), "--firmware-only")
    assert status == 0 and (disk / "firmware.bin").exists() and d["checked"] is False
    (disk / "FAIL.TXT").write_text("SWD ERROR\n")
    with pytest.raises(ToolchainError, match="refused the firmware: SWD ERROR"):
        flash(made, disk=str(disk), firmware_only=True)
    (disk / "DETAILS.TXT").unlink()
    with pytest.raises(ToolchainError, match="no disk of such a board"):
        flash(made, disk=str(disk), firmware_only=True)


def test_another_build_or_nobody_behind_the_port(made, disk, port, monkeypatch):
    flash(made, TWIN, port=port)
    with pytest.raises(MismatchError, match="runs another build"):
        flash(made, disk=str(disk), firmware_only=True, port=port)
    stop(made, port, TWIN)
    monkeypatch.setattr(flashing, "START_SECONDS", 0.5)
    started = time.monotonic()
    with pytest.raises(DeviceUnreachableError, match="upload went through.*USART3 on PD8") as e:
        flash(made, disk=str(disk), firmware_only=True, port=port)
    assert e.value.exit_code == 7 and time.monotonic() - started < 60


def test_mistakes_are_answered_before_anything_runs(made, disk, monkeypatch):
    monkeypatch.setattr(pio, "run", None)
    for arguments, message in (
        ({"board": "host"}, "this computer needs no flashing"), ({"board": "pico2"}, "it has stm32h7, mps2-an500"),
        ({"stock": True}, "writes the firmware only.*puzzles.rct"),
        ({"board": TWIN, "disk": str(disk)}, "shows no disk"), ({"board": TWIN, "stock": True}, "no environment"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            flash(made, **arguments)
    with pytest.raises(UsageError, match="no emulated board"):
        stop(made)


def test_a_boards_serial_port_is_found_by_its_usb_ids(monkeypatch):
    def plugged(*ids: str) -> None:
        found = [SerialPort(f"/dev/ttyACM{i}", usb) for i, usb in enumerate(ids)]
        monkeypatch.setattr(flashing, "list_ports", lambda: found)

    board = load_board("nucleo-h743")
    plugged("2e8a:000a", "0483:374e", "")
    assert flashing.wire_port(board) == "/dev/ttyACM1"
    plugged("0483:374e", "0483:374b")
    assert flashing.wire_port(board) == "", "two of them: the user says which"
    assert flashing.wire_port(load_board("pico2")) == ""
