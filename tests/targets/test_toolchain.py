"""Compilers and emulators: missing, failing, and what they make."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recurc.device.session import DeviceSession
from recurc.emit.linker import Placement, render_linker_script, render_main
from recurc.errors import InputError, ToolchainError
from recurc.resources import resource_dir
from recurc.targets.boards import load_board
from recurc.targets.qemu import QemuTransport
from recurc.targets.toolchain import compile_shared, find_compiler
from tests.device.dummy_build import IMAGE_BYTES, build_dummy
from tests.placing import default_placement
from tests.tools import EMULATED, need

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("family", "package"), [("arm", "gcc-arm-none-eabi"), ("riscv", "gcc-riscv64-unknown-elf"), ("host", "gcc libc6-dev")]
)
def test_a_missing_compiler_names_its_package(empty_path, family, package):
    with pytest.raises(ToolchainError, match=f"apt-get install {package}") as e:
        find_compiler(family)
    assert e.value.exit_code == 6


def test_a_missing_emulator_names_its_package(empty_path, tmp_path):
    for board, package in (("mps2-an500", "qemu-system-arm"), ("riscv32-virt", "qemu-system-misc")):
        with pytest.raises(ToolchainError, match=f"apt-get install {package}"):
            QemuTransport(load_board(board), tmp_path / "x.elf")


def test_a_compiler_named_by_the_environment_must_exist(monkeypatch):
    monkeypatch.setenv("RECURC_ARM_GCC", "/nonexistent/gcc")
    with pytest.raises(ToolchainError, match="RECURC_ARM_GCC"):
        find_compiler("arm")


def test_compiler_errors_are_shown(tmp_path):
    need("host")
    source = tmp_path / "bad.c"
    source.write_text("int f(void) { return undeclared; }\n")
    with pytest.raises(ToolchainError, match="bad.c does not compile") as e:
        compile_shared([source], [], tmp_path / "x.so")
    assert "undeclared" in str(e.value)


def test_long_compiler_output_is_shortened(tmp_path):
    need("host")
    source = tmp_path / "bad.c"
    source.write_text("".join(f"int f{i}(void) {{ return u{i}; }}\n" for i in range(100)))
    with pytest.raises(ToolchainError, match="more lines") as e:
        compile_shared([source], [], tmp_path / "x.so")
    assert len(str(e.value).splitlines()) < 40


def test_warnings_are_errors(tmp_path):
    need("host")
    source = tmp_path / "warn.c"
    source.write_text("int f(long x);\nint f(long x) { return x; }\n")
    with pytest.raises(ToolchainError, match="conversion"):
        compile_shared([source], [], tmp_path / "x.so")


def test_a_missing_source_is_said(tmp_path):
    need("host")
    with pytest.raises(ToolchainError, match="source file is missing"):
        compile_shared([tmp_path / "none.c"], [], tmp_path / "x.so")


@pytest.mark.parametrize("board", [*EMULATED, "stm32h7"])
def test_builds_are_reproducible_and_hold_no_paths(board, tmp_path):
    need(board)
    one = build_dummy(board, tmp_path / "one").read_bytes()
    again = build_dummy(board, tmp_path / "two").read_bytes()
    assert one == again
    assert str(tmp_path).encode() not in one
    assert str(resource_dir("runtime_c")).encode() not in one


def sections(elf: Path) -> dict[str, tuple[int, int]]:
    """Allocated sections: name -> (address, size)."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as stream:
        return {s.name: (s["sh_addr"], s["sh_size"]) for s in ELFFile(stream).iter_sections() if s["sh_flags"] & 2}


@pytest.mark.parametrize("name", [*EMULATED, "stm32h7"])
def test_every_part_lies_where_the_board_says(name, tmp_path):
    need(name)
    board, placed = load_board(name), sections(build_dummy(name, tmp_path))
    parts = {".text": "code", ".recurc_image": "image", ".recurc_arena": "arena", ".bss": "data", ".stack": "stack"}
    for section, part in parts.items():
        address, size = placed[section]
        region = board.candidates(part)[0]
        assert region.base <= address and address + size <= region.end, section
    assert placed[".text"][0] == board.candidates("code")[0].base
    assert placed[".recurc_image"][0] % 64 == placed[".recurc_arena"][0] % 64 == 0
    assert placed[".recurc_image"][1] == IMAGE_BYTES
    assert placed[".stack"] == (board.candidates("stack")[0].base, board.stack_bytes)
    known = {*parts, ".rodata", ".data", ".ARM.exidx"}
    assert {s for s, (_, size) in placed.items() if size} <= known


def test_an_image_in_external_flash_is_placed_there(tmp_path):
    need("stm32h7")
    board = load_board("stm32h7")
    regions = {**default_placement(board).regions, "image": "qspi"}
    elf = build_dummy("stm32h7", tmp_path, placement=Placement(regions, {"stack": 8192}))
    placed = sections(elf)
    assert placed[".recurc_image"][0] == 0x90000000
    assert placed[".stack"][1] == 8192


def test_what_does_not_fit_does_not_link(tmp_path):
    need("stm32h7")
    board = load_board("stm32h7")
    regions = {**default_placement(board).regions, "arena": "sram4"}
    with pytest.raises(ToolchainError, match="does not link"):
        build_dummy("stm32h7", tmp_path, defines={"RC_DUMMY_ARENA": 70000}, placement=Placement(regions, {"stack": 8192}))


def test_a_placement_must_be_whole():
    board = load_board("stm32h7")
    with pytest.raises(ValueError, match="arena"):
        render_linker_script(board, Placement({"code": "flash"}, {"stack": 1024}))
    for wrong in ("12", "z" * 32):
        with pytest.raises(ValueError):
            render_main(wrong)


@pytest.mark.parametrize("wrong", ["machine", "device"])
def test_qemu_that_ends_early_says_why(tmp_path, wrong):
    need("mps2-an500")
    board, elf = load_board("mps2-an500"), build_dummy("mps2-an500", tmp_path)
    extra: tuple[str, ...] = ()
    if wrong == "machine":
        board = dataclasses.replace(board, emulator=dataclasses.replace(board.emulator, machine="no-such-machine"))
    else:
        extra = ("-device", "no-such-device")
    with pytest.raises(ToolchainError, match="QEMU ended before") as e:
        with DeviceSession(QemuTransport(board, elf, extra)) as session:
            session.hello()
    assert f"no-such-{wrong}" in str(e.value)


def test_there_must_be_a_firmware_and_an_emulator(tmp_path):
    need("mps2-an500")
    with pytest.raises(InputError, match="no firmware to run"):
        QemuTransport(load_board("mps2-an500"), tmp_path / "none.elf")
    with pytest.raises(InputError, match="twin is mps2-an500"):
        QemuTransport(load_board("stm32h7"), tmp_path / "none.elf")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_closing_ends_the_emulator(tmp_path):
    need("mps2-an500")
    transport = QemuTransport(load_board("mps2-an500"), build_dummy("mps2-an500", tmp_path))
    pid, folder = transport.process.pid, transport._folder
    transport.close()
    transport.close()
    assert not alive(pid) and not os.path.exists(folder)


def test_a_killed_parent_leaves_no_emulator(tmp_path):
    need("mps2-an500")
    elf = build_dummy("mps2-an500", tmp_path)
    code = (
        "import sys, time; from recurc.targets.boards import load_board\n"
        "from recurc.targets.qemu import QemuTransport\n"
        f"t = QemuTransport(load_board('mps2-an500'), __import__('pathlib').Path({str(elf)!r}))\n"
        "print(t.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)
