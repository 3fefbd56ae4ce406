"""The bundled boards: sizes as the parts' manuals give them, whole firmware linked for each, boot headers byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from recurc.errors import ToolchainError
from recurc.resources import resource_dir
from recurc.targets.boards import list_boards, load_board
from recurc.targets.elf import linked_sections
from recurc.targets.regions import PARTS
from recurc.targets.toolchain import find_compiler
from tests.device.dummy_build import build_dummy
from tests.tools import BUDGETS, need

K, M = 1024, 1024 * 1024
# Flash-like memory, largest contiguous RAM on the chip, the same beside it, all RAM; without optional chips. Manuals are
# named in the board files; an RT1064's FlexRAM counts as what the port makes of it.
SIZES = {
    "nucleo-h743": (2 * M, 512 * K, 0, 1056 * K),
    "stm32h7": (2 * M, 512 * K, 0, 1056 * K),
    "portenta-h7": (2 * M - 256 * K + 16 * M, 512 * K, 8 * M, 1056 * K + 8 * M),
    "stm32u5a5": (4 * M, 2496 * K, 0, 2512 * K),
    "imxrt1064": (4 * M, 512 * K, 0, 1 * M),
    "pico2": (4 * M, 520 * K, 0, 520 * K),
    "teensy41": (7936 * K, 512 * K, 0, 1 * M),
    # without boot loader and partition table; of 512 KiB, what ESP-IDF leaves for static variables
    "esp32-s3-n8r8": (8 * M - 64 * K, 240 * K, 8 * M, 240 * K + 8 * M),
    "apollo510": (4128768, 3 * M, 0, 3 * M + 496 * K + 256 * K),
    "nrf5340": (1 * M, 512 * K, 0, 512 * K),
    "mcu-4mb": (4 * M, 2496 * K, 0, 2496 * K),
    "mcu-4mb-m7": (4 * M, 512 * K, 0, 1 * M),
    "soc-8mb": (8 * M, 512 * K, 8 * M, 512 * K + 8 * M),
}
BARE = [b.name for b in list_boards() if b.family != "host"]
LINKED = [b.name for b in list_boards() if b.family != "host" and b.linkable]
DESCRIBED = [b.name for b in list_boards() if b.verified == "described"]


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_parts(name):
    b = load_board(name)
    assert (b.flash_bytes, b.largest("ram"), b.largest("external-ram"), b.ram_bytes) == SIZES[name]


def test_every_real_board_and_budget_is_in_the_table():
    assert set(SIZES) == {b.name for b in list_boards() if b.kind in ("board", "budget")}
    assert {b.name for b in list_boards() if b.kind == "budget"} == set(BUDGETS)


@pytest.mark.parametrize("name", BARE)
def test_boards_say_what_was_verified_and_nothing_more(name):
    b = load_board(name)
    assert b.evidence, "a line on what was checked"
    assert (b.verified == "emulated") == (b.emulator is not None)
    assert (b.verified == "described") == (not b.buildable) and (b.verified == "written") == (b.buildable and not b.linkable)
    assert b.stack_bytes == (
        8192 if b.buildable and not b.linkable else 4096
    )  # an SDK's drivers and its task switch take some of it
    assert b.kind != "budget" or (b.reference and b.mpu and b.emulator)
    assert b.kind != "emulator" or b.emulator
    assert bool(b.unseen) == (b.verified in ("compiled", "written")), "changes that nobody has seen on the part"
    named = {r for part in (*PARTS, "table") for r in b.placement.get(part, ())}
    assert not any(b.region(r).optional for part in ("code", "arena", "data", "stack") for r in b.placement[part])
    assert named <= {r.name for r in b.regions}


@pytest.mark.parametrize("name", [b.name for b in list_boards() if b.twin])
def test_a_twin_runs_the_very_code_and_has_the_room(name):
    """A twin gets its board's sources and arena layout, so it needs its core, its compiler flags and at least its memory."""
    board, twin = load_board(name), load_board(load_board(name).twin)
    assert twin.emulator is not None and (twin.core, twin.cpu_flags) == (board.core, board.cpu_flags)
    caches = {"icache", "dcache"}
    assert board.features - caches == twin.features - caches
    assert twin.stack_bytes >= board.stack_bytes
    for part in ("image", "arena"):
        room = max(r.size for r in twin.candidates(part))
        assert room >= max(r.size for r in board.candidates(part) if not r.optional), part


@pytest.mark.parametrize("name", LINKED)
def test_a_whole_firmware_links_warning_free(name, tmp_path):
    need(name)
    board = load_board(name)
    sections = linked_sections(build_dummy(name, tmp_path))
    placed = {}
    for section in sections:
        region = next(r for r in board.regions if r.base <= section.address and section.address + section.bytes <= r.end)
        placed[section.name] = region
    assert {r.name for r in placed.values()} <= {r for part in PARTS for r in board.placement[part]}
    for section in (".text", ".rodata", ".recurc_image"):
        assert not placed[section].writable, f"{section} in {placed[section].name}"


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_is_only_described_is_not_built(name, tmp_path):
    with pytest.raises(ToolchainError, match=f"no firmware can be built for {name}.*the plan and its figures hold") as e:
        build_dummy(name, tmp_path)
    assert e.value.exit_code == 6
    assert "no port" in str(e.value)
    assert not (tmp_path / "firmware.elf").exists()


def test_what_an_sdk_compiles_is_not_compiled_here(tmp_path):
    with pytest.raises(ToolchainError, match="no firmware can be compiled here for esp32-s3-n8r8") as e:
        build_dummy("esp32-s3-n8r8", tmp_path)
    assert e.value.exit_code == 6 and "espidf" in e.value.why


def test_there_is_no_compiler_for_xtensa():
    with pytest.raises(ToolchainError, match="no C compiler for xtensa"):
        find_compiler("xtensa")


def test_ports_belong_to_a_board():
    used = {p for b in list_boards() for p in b.ports}
    assert used == {p.name for p in (resource_dir("runtime_c") / "ports").iterdir() if any(p.glob("*.[cS]"))}


def flash_bytes(elf: Path, address: int, size: int) -> bytes:
    """What the flash holds at an address, from the segments' load addresses."""
    with elf.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments():
            start = segment["p_paddr"]
            if segment["p_type"] == "PT_LOAD" and start <= address and address + size <= start + segment["p_filesz"]:
                return segment.data()[address - start : address - start + size]
    raise AssertionError(f"nothing at {address:#x}")


def symbols(elf: Path) -> dict[str, int]:
    with elf.open("rb") as stream:
        return {s.name: s["st_value"] for s in ELFFile(stream).get_section_by_name(".symtab").iter_symbols()}


@pytest.mark.parametrize("name, base, size", [("imxrt1064", 0x70000000, 4 * M), ("teensy41", 0x60000000, 8 * M)])
def test_the_boot_header_of_the_rt1060_family(name, base, size, tmp_path):
    """i.MX RT1060 Processor Reference Manual, System Boot: configuration block, image vector table, boot data."""
    need(name)
    elf = build_dummy(name, tmp_path)
    config = flash_bytes(elf, base, 512)
    assert config[:4] == b"FCFB" and config[4:8] == bytes((0, 4, 1, 0x56))
    assert struct.unpack_from("<I", config, 0x50)[0] == size  # sflashA1Size
    assert config[0x0C:0x0F] == bytes((1, 3, 3))  # read strobe, hold, set-up
    assert config[0x44:0x47] == bytes((1, 4, 3))  # serial NOR, four lines, 60 MHz
    # Look-up table, sequence 0: command 0xEB on one line, 24 address bits, 6 dummy cycles and 4 data bytes on four.
    pads, operations = {1: 0, 4: 2}, {"CMD": 1, "ADDR": 2, "DUMMY": 12, "READ": 9}
    steps = [("CMD", 1, 0xEB), ("ADDR", 4, 24), ("DUMMY", 4, 6), ("READ", 4, 4)]
    want = b"".join(struct.pack("<H", operations[op] << 10 | pads[lines] << 8 | n) for op, lines, n in steps)
    assert config[0x80:0x88] == want
    assert struct.unpack_from("<II", config, 0x1C0) == (256, 4096)
    names = symbols(elf)
    header, entry, _, dcd, boot_data, own, csf, _ = struct.unpack("<8I", flash_bytes(elf, base + 0x1000, 32))
    assert header in (0x412000D1, 0x432000D1) and dcd == csf == 0
    assert entry == names["rc_imxrt_entry"] and entry & 1 and own == base + 0x1000
    assert struct.unpack("<3I", flash_bytes(elf, boot_data, 12)) == (base, size, 0)
    assert names["rc_vectors"] == base + 0x2000
    stack, reset = struct.unpack("<2I", flash_bytes(elf, base + 0x2000, 8))
    assert (stack, reset) == (names["rc_stack_top"], names["rc_reset_handler"])


def test_the_image_definition_of_the_rp2350(tmp_path):
    """RP2350 datasheet 5.9: block markers around an image type item (Arm, secure, executable) and the last item."""
    need("pico2")
    elf = build_dummy("pico2", tmp_path)
    assert symbols(elf)["rc_vectors"] == 0x10000000
    start, kind, words, flags, last, last_words, pad, link, end = struct.unpack("<IBBHBHBII", flash_bytes(elf, 0x10000040, 20))
    assert (start, end) == (0xFFFFDED3, 0xAB123579)
    assert (kind, words, flags) == (0x42, 1, 0x1021)  # IMAGE_TYPE, one word: executable, secure, Arm, RP2350
    assert (last, last_words, pad, link) == (0xFF, 1, 0, 0)  # LAST after one word; the only block links to itself


def test_the_core_of_soc_8mb_starts_from_its_flash(tmp_path):
    """No byte outside the 8 MiB: the vectors, too, lie in them."""
    need("soc-8mb")
    board, elf = load_board("soc-8mb"), build_dummy("soc-8mb", tmp_path)
    assert symbols(elf)["rc_vectors"] == board.region("flash").base
    with elf.open("rb") as stream:
        loads = [s for s in ELFFile(stream).iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
    flash = board.region("flash")
    assert loads and all(flash.base <= s["p_paddr"] and s["p_paddr"] + s["p_filesz"] <= flash.end for s in loads)
