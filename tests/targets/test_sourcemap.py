"""Addresses of a firmware against addr2line of its toolchain."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from recurc.device.session import DeviceFaultError
from recurc.targets.boards import load_board
from recurc.targets.sourcemap import SourceMap
from recurc.targets.toolchain import find_compiler
from recurc.verify.device import connect
from tests.device import dummy_build as dummy
from tests.tools import need

BOARDS = ("mps2-an500", "mps3-an547", "riscv32-virt")


@pytest.fixture(scope="module")
def elfs(tmp_path_factory):
    made = {}

    def get(board, **options):
        need(board)
        key = board, repr(options)
        if key not in made:
            made[key] = dummy.build_dummy(board, tmp_path_factory.mktemp(board), **options)
        return made[key]

    return get


def binutil(board: str, name: str) -> str:
    compiler = find_compiler(load_board(board).family)
    return subprocess.run([compiler, f"-print-prog-name={name}"], capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("board", BOARDS)
def test_lines_are_those_of_addr2line(board, elfs):
    elf = elfs(board)
    with open(elf, "rb") as f:
        functions = [
            s
            for s in ELFFile(f).get_section_by_name(".symtab").iter_symbols()
            if s["st_info"]["type"] == "STT_FUNC" and s["st_size"] >= 8
        ]
    addresses = [(s["st_value"] & ~1) + offset for s in functions[::3] for offset in (0, s["st_size"] // 4 * 2)]
    tool = binutil(board, "addr2line")
    if shutil.which(tool) is None:  # the compiler's default answer when it has none of its own
        tool = find_compiler(load_board(board).family).replace("gcc", "addr2line")
    said = subprocess.run([tool, "-e", str(elf), *map(hex, addresses)], capture_output=True, text=True, check=True).stdout
    places = SourceMap(elf)
    compared = 0
    for address, line in zip(addresses, said.splitlines(), strict=True):
        place = places.place(address)
        want = line.split(" ")[0].removeprefix("./")
        if want.startswith("?"):
            assert place is None or not place.file
            continue
        if want.startswith("/"):  # libgcc, which was compiled in a folder of its packager's
            assert want.endswith(f"/{place.file}:{place.line}")
            continue
        assert f"{place.file}:{place.line}" == want, hex(address)
        compared += 1
    assert compared > 20


def test_functions_and_callers(elfs):
    elf = elfs("mps2-an500")
    with open(elf, "rb") as f:
        symbols = {s.name: s for s in ELFFile(f).get_section_by_name(".symtab").iter_symbols()}
    start = symbols["rc_step"]["st_value"]
    places = SourceMap(elf)
    assert start & 1  # Thumb: the bit is no part of the address
    place = places.place(start)
    assert (place.function, place.offset) == ("rc_step", 0)
    assert places.caller((start & ~1) + 6).function == "rc_step"
    assert str(place) == f"rc_step ({place.file}:{place.line})"
    assert places.place(0xE0000000) is None and places.caller(0) is None


def test_without_line_tables_the_function_is_left(elfs, tmp_path):
    elf = tmp_path / "stripped.elf"
    subprocess.run([binutil("mps2-an500", "strip"), "--strip-debug", "-o", str(elf), str(elfs("mps2-an500"))], check=True)
    with open(elf, "rb") as f:
        start = ELFFile(f).get_section_by_name(".symtab").get_symbol_by_name("rc_step")[0]["st_value"]
    place = SourceMap(elf).place(start)
    assert (place.function, place.file, place.line) == ("rc_step", "", 0)
    assert str(place) == f"rc_step ({place.address:#010x})"


def test_what_is_no_elf_has_no_places(tmp_path):
    (tmp_path / "x").write_bytes(b"no elf")
    assert SourceMap(tmp_path / "x").place(0) is None and not SourceMap(tmp_path / "x").riscv
    assert SourceMap(tmp_path / "missing").place(4) is None


@pytest.mark.parametrize("board", BOARDS)
def test_a_crash_names_file_and_line(board, elfs):
    """Also the caller, and what the registers mean."""
    elf = elfs(board, defines={"DUMMY_CRASH_STEP": 2})
    with connect(load_board(board), elf, "qemu", step_timeout=60) as session:
        session.load(np.zeros(16))
        with pytest.raises(DeviceFaultError) as e:
            list(session.run(3))
    error = e.value
    source = (dummy.DUMMY / "model.c").read_text().splitlines()
    assert error.place.function == "rc_step"
    near = "\n".join(source[error.place.line - 2 : error.place.line + 4])
    assert "0xFFFFFF00u" in near
    assert "no memory answers" in str(error) and f"dummy/model.c:{error.place.line}" in str(error)
    assert error.caller is None or error.caller.function in str(error)
