"""The upload script of generated projects by itself: disks, UF2, tools."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys

import pytest

from recurc.resources import resource_dir
from recurc.targets.boards import list_boards, load_board, parse_board
from tests.boardfiles import board_text


@pytest.fixture(scope="module")
def upload():
    spec = importlib.util.spec_from_file_location("upload_script", resource_dir("templates") / "platformio" / "upload.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uf2_carries_every_byte_to_its_address(upload):
    data = bytes(i * 7 & 255 for i in range(1000))
    blocks = upload.uf2_blocks(data, 0x10000000, 0xE48BFF59)
    assert len(blocks) == 4 * 512
    memory = {}
    for i in range(4):
        block = blocks[512 * i : 512 * (i + 1)]
        magic0, magic1, flags, address, size, number, count, family = struct.unpack_from("<8I", block)
        assert (magic0, magic1, flags) == (0x0A324655, 0x9E5D5157, 0x2000) and block[508:] == struct.pack("<I", 0x0AB16F30)
        assert (size, number, count, family) == (256, i, 4, 0xE48BFF59)
        memory[address] = block[32 : 32 + size]
    assert b"".join(memory[a] for a in sorted(memory))[:1000] == data and min(memory) == 0x10000000


def fake_disk(folder, name, text, mark="INFO_UF2.TXT"):
    (folder / name).mkdir()
    (folder / name / mark).write_text(text)
    return str(folder / name)


def test_the_boards_disk_is_found_among_others(upload, tmp_path):
    route = {"disk": "uf2", "match": "RP2350", "hint": "Hold BOOTSEL."}
    old = fake_disk(tmp_path, "RPI-RP2", "UF2 Bootloader v3.0\nBoard-ID: RPI-RP2\n")
    probe = fake_disk(tmp_path, "NODE", "", "MBED.HTM")
    with pytest.raises(SystemExit, match="no disk of the board is mounted. Hold BOOTSEL."):
        upload.find_disk(route, [old, probe, str(tmp_path / "none")])
    one = fake_disk(tmp_path, "RP2350", "UF2 Bootloader v1.0\nBoard-ID: RP2350\n")
    assert upload.find_disk(route, [old, one, probe]) == one
    two = fake_disk(tmp_path, "RP2350-2", "Board-ID: RP2350\n")
    with pytest.raises(SystemExit, match="several boards"):
        upload.find_disk(route, [one, two])
    assert upload.find_disk({"disk": "probe", "hint": ""}, [old, one, probe]) == probe
    table = tmp_path / "mounts"
    table.write_text("proc /proc proc rw 0 0\n/dev/sdb1 {} vfat rw 0 0\n".format(one.replace("RP2350", r"A\040B")))
    assert upload.mounted(str(table)) == ["/proc", one.replace("RP2350", "A B")]


def project_with(tmp_path, upload, recipe):
    """A board file, a built firmware, and a copy of the script that is at home there."""
    (tmp_path / "pio").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "board.json").write_text(json.dumps({"recurc": {"flash_base": "0x10000000", "apart": [], **recipe}}))
    for name in ("firmware.elf", "firmware.bin", "firmware.hex", "weights.bin"):
        (tmp_path / "build" / name).write_bytes(name.encode())
    return str(tmp_path / "board.json"), str(tmp_path / "build" / "firmware.elf")


def test_a_uf2_boot_loader_gets_the_firmware(upload, tmp_path):
    from dataclasses import asdict

    disk = fake_disk(tmp_path, "RP2350", "Board-ID: RP2350\n")
    board, elf = project_with(tmp_path, upload, {"flash": asdict(load_board("pico2").flash)})
    upload.upload(board, elf, disk)
    written = (tmp_path / "RP2350" / "firmware.uf2").read_bytes()
    assert written == upload.uf2_blocks(b"firmware.bin", 0x10000000, 0xE48BFF59)


def test_tools_get_file_and_address_and_their_failure_counts(upload, tmp_path, capfd, monkeypatch):
    note = f"import sys; open({str(tmp_path / 'words')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')"
    say, die = [sys.executable, "-c", note], [sys.executable, "-c", "raise SystemExit(3)"]
    apart = [{"file": "weights.bin", "built": True, "address": "0x90000000", "bytes": 11, "region": "qspi"}]
    flash = {"command": [*say, "{file}"], "format": "hex", "external": [*say, "{address}", "{file}"]}
    board, elf = project_with(tmp_path, upload, {"flash": flash, "apart": apart})
    upload.upload(board, elf, "")
    build = tmp_path / "build"
    assert (tmp_path / "words").read_text() == f"0x90000000 {build / 'weights.bin'}\n{build / 'firmware.hex'}\n"
    monkeypatch.setenv("RECURC_UPLOAD", "firmware")
    upload.upload(board, elf, "")
    assert (tmp_path / "words").read_text().count("weights.bin") == 1
    monkeypatch.delenv("RECURC_UPLOAD")
    for other, message in (
        ({"flash": {**flash, "external": die}, "apart": apart}, "status 3 while it wrote weights.bin"),
        ({"flash": {**flash, "external": []}, "apart": apart}, "no tool is known that writes it"),
        ({"flash": {**flash, "command": ["no-such-tool", "{file}"]}}, "no-such-tool, which is not on the PATH"),
        ({"flash": {}}, "use your tool on .*firmware.bin, from address 0x10000000"),
    ):  # fmt: skip
        (tmp_path / "board.json").write_text(json.dumps({"recurc": {"flash_base": "0x10000000", "apart": [], **other}}))
        with pytest.raises(SystemExit, match=message):
            upload.upload(board, elf, "")


HEX = ":020000040000FA\n:0400000001020304F2\n:0400000500000001F6\n:00000001FF\n"


def memory_of(text):
    """What an Intel HEX file writes: address -> byte. Every sum must be right, and the end the last line."""
    memory, base = {}, 0
    for line in text.splitlines():
        data = bytes.fromhex(line[1:])
        assert line[0] == ":" and sum(data) & 255 == 0 and data[0] == len(data) - 5
        at, kind, body = data[1] << 8 | data[2], data[3], data[4:-1]
        base = int.from_bytes(body, "big") << 16 if kind == 4 else base
        memory.update({base + at + i: byte for i, byte in enumerate(body)} if kind == 0 else {})
    assert kind == 1 and text.count(line) == 1
    return memory


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_words_are_written_with_the_firmware(upload, tmp_path, newline):
    """An nRF5340 that was erased as a whole would lock its debug port at the next reset."""
    from dataclasses import asdict

    flash = load_board("nrf5340").flash
    assert (
        flash.words == ((0x00FF8000, 0x50FA50FA), (0x00FF801C, 0x50FA50FA)) and "chip_erase_mode=ERASE_ALL" in flash.command[-1]
    )
    note = f"import sys, shutil; shutil.copyfile(sys.argv[1], {str(tmp_path / 'written')!r})"
    route = {**asdict(flash), "command": [sys.executable, "-c", note, "{file}"]}
    board, elf = project_with(tmp_path, upload, {"flash": route})
    (tmp_path / "build" / "firmware.hex").write_bytes(HEX.replace("\n", newline).encode())
    upload.upload(board, elf, "")
    unprotected = b"\xfa\x50\xfa\x50"
    assert memory_of((tmp_path / "written").read_text()) == {
        **dict(enumerate(b"\1\2\3\4")), **dict(enumerate(unprotected, 0xFF8000)), **dict(enumerate(unprotected, 0xFF801C)),
    }  # fmt: skip
    with pytest.raises(SystemExit, match="no end"):
        upload.with_words(HEX[:-5], [])


def test_board_files_say_one_way_to_flash():
    flashed = {b.name: b.flash for b in list_boards() if b.flash}
    assert {"stm32h7", "nucleo-h743", "stm32u5a5", "imxrt1064", "teensy41", "pico2", "nrf5340"} == set(flashed)
    text = board_text("pico2")
    from recurc.errors import InputError

    for change, message in (
        (('disk = "uf2"', 'disk = "uf3"'), "not one of"), (('disk = "uf2"', ""), "one way to write"),
        (("uf2_family = 0xE48BFF59", "uf2_family = 0xE48BFF59\nwords = [[0, 1]]"), "words are written with a file"),
        (("uf2_family = 0xE48BFF59", "uf2_family = 0xE48BFF59\nwords = [[2, 1]]"), "a multiple of 4"),
        (("uf2_family = 0xE48BFF59", "uf2_family = 0xE48BFF59\nwords = [[0, true]]"), "ADDRESS, VALUE"),
        (("uf2_family = 0xE48BFF59", ""), "uf2_family"), (('match = "RP2350"', 'mach = "RP2350"'), "mach"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            parse_board(text.replace(*change), load_board("pico2").path)


def test_a_folder_of_notes_that_is_somebody_elses_is_not_believed(upload, tmp_path, monkeypatch):
    """Anybody may make a folder of that name in /tmp first; a note in it would name a process of ours to end."""
    import os

    monkeypatch.setattr(upload, "EMULATORS", str(tmp_path / "notes"))
    upload.emulator_folder()
    assert (tmp_path / "notes").stat().st_mode & 0o777 == 0o700
    note = upload.note_of("socket://127.0.0.1:7007")
    with open(note, "w") as f:
        json.dump({"pid": os.getpid(), "mark": ""}, f)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was ended"))
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    for call in (upload.emulator_folder, lambda: upload.stop("socket://127.0.0.1:7007")):
        with pytest.raises(SystemExit, match="belongs to somebody else"):
            call()
    assert os.path.exists(note)
