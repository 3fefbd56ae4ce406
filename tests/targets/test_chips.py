"""Chips: what boards with one part share. A board names its chip; what comes of both is checked like any board."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from recurc.errors import InputError
from recurc.resources import resource_dir
from recurc.targets import chips
from recurc.targets.boards import list_boards, load_board, parse_board, read_board, whole_board_text
from tests.targets.texts import GOOD

NUCLEO = """
name = "mine"
title = "a board"
chip = "stm32h7"
stack_bytes = 4096
verified = "compiled"
"""
PORTS = resource_dir("runtime_c") / "ports"


def parse(text: str):
    return parse_board(text, Path("b.toml"))


def refused(text: str, *said: str) -> None:
    with pytest.raises(InputError) as e:
        parse(text)
    assert all(s in str(e.value) for s in said), str(e.value)


def test_a_board_has_what_its_chip_has():
    board, bundled = parse(NUCLEO), load_board("nucleo-h743")
    own = ("name", "title", "aliases", "usb", "evidence", "twin", "platformio", "flash", "path", "uart")
    assert replace(board, **{key: getattr(bundled, key) for key in own}) == bundled
    assert board.uart == replace(bundled.uart, note="") and board.chip == "stm32h7"


def test_the_readme_s_example_is_a_board():
    page = (resource_dir("boards") / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    board = parse(text)
    assert board.buildable and board.defines["RC_UART_BAUD"] == board.uart.baud == 115200
    section = page.split("A chip is one more file")[1].split("## Keys")[0]
    told = re.findall(r"`\[*(\w+)\]*`", section.split("those of the keys below")[1].split(". Its port")[0])
    assert told == list(chips.CHIP_KEYS)


def test_what_the_board_says_comes_on_top():
    board = parse(
        NUCLEO
        + """
clock_hz = 400_000_000
[uart]
baud = 115200
[defines]
RC_HSE_HZ = 8000000
[[regions]]
name = "qspi"
kind = "external-flash"
base = 0x90000000
size = 0x01000000
[[regions]]
name = "flash"
size = 0x00100000
[placement]
image = ["flash", "qspi"]
"""
    )
    assert (board.clock_hz, board.ticks.hz) == (400_000_000, 400_000_000)
    assert board.defines == {"RC_UART_BAUD": 115200, "RC_HSE_HZ": 8_000_000, "RC_WATCHDOG_MS": 10_000}
    assert [r.name for r in board.regions] == ["flash", "itcm", "dtcm", "axisram", "sram123", "sram4", "qspi"]
    assert (board.region("flash").size, board.region("flash").base) == (1 << 20, 0x08000000)
    assert [r.name for r in board.candidates("image")] == ["flash", "qspi"]
    assert [r.name for r in board.candidates("arena")] == ["dtcm", "axisram"]


def test_tables_that_a_board_does_not_take():
    board = parse(NUCLEO + 'without = ["watchdog", "defines"]\n')
    assert board.watchdog is None and board.defines == {}
    refused(NUCLEO + 'without = ["regions", "placement"]\n', "no region is RAM")


@pytest.mark.parametrize("text, said", [
    (NUCLEO.replace("stm32h7", "stm32h8"), ("there is no chip 'stm32h8'", "the nearest known: stm32h7")),
    (NUCLEO.replace('"stm32h7"', "7"), ("there is no chip 7",)),
    (NUCLEO.replace("stm32h7", "../boards/host"), ("there is no chip '../boards/host'",)),
    (NUCLEO + 'without = ["boot"]\n', ("the chip stm32h7 has no 'boot'", "it has family, core")),
    (NUCLEO + "without = 1\n", ("'without' must be a list",)),
    (NUCLEO + 'without = [["uart"]]\n', ("the chip stm32h7 has no",)),
    (GOOD.replace('name = "b"', 'name = "b"\nwithout = []'), ("unknown key 'without'",)),
    (NUCLEO + "[uart]\nbaudrate = 1\n", ("uart: unknown key 'baudrate'",)),
    (NUCLEO + "uart = 1\n", ("must be of type dict",)),
    (NUCLEO + "regions = [1]\n", ("is not a table",)),
    (NUCLEO + '[[regions]]\nname = "flash"\nsize = "1"\n', ("must be of type int",)),
    (NUCLEO + '[defines]\nRC_X = "uart.bauds"\n', ("'RC_X' = 'uart.bauds' names no number", "known: uart.baud")),
    (NUCLEO + '[defines]\nRC_X = "regions.flsh.base"\n', ("names no number of the board", "regions.flash.base")),
])  # fmt: skip
def test_wrong_ones_are_refused_with_the_reason(text, said):
    refused(text, *said)


@pytest.mark.parametrize("text, said", [
    ('name = "x"\ntitle = "t"\naliases = []\n', "unknown key 'aliases'"),
    ('name = "y"\ntitle = "t"\n', "name, which is the file's"),
    ('name = "x"\n', "title is missing"), ("name =", "cannot be read"),
])  # fmt: skip
def test_a_wrong_chip_file_is_refused(text, said, tmp_path, monkeypatch):
    (tmp_path / "x.toml").write_text(text)
    monkeypatch.setattr(chips, "resource_dir", lambda kind: tmp_path)
    chips.chips.cache_clear()
    try:
        with pytest.raises(InputError, match=said):
            chips.chips()
    finally:
        chips.chips.cache_clear()


def test_every_board_but_this_computer_names_its_chip_and_every_chip_has_a_board():
    assert {b.name for b in list_boards() if not b.chip} == {"host"}
    assert {b.chip for b in list_boards() if b.chip} == {p.stem for p in resource_dir("chips").glob("*.toml")}


@pytest.mark.parametrize("name", [b.name for b in list_boards()])
def test_a_file_written_out_is_the_same_board(name, tmp_path):
    """It needs no chip's file: what a build keeps stays as it is when a chip's file changes."""
    board = load_board(name)
    text = whole_board_text(board.path)
    assert "chip" not in tomllib.loads(text)
    (tmp_path / "board.toml").write_text(text, encoding="utf-8")
    again = read_board(tmp_path / "board.toml")
    assert replace(again, chip=board.chip, path=board.path) == board
    assert list(again.defines) == list(board.defines)
    assert whole_board_text(tmp_path / "board.toml") == text


# -- nothing is typed twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    sorted(p for kind in ("chips", "boards") for p in resource_dir(kind).glob("*.toml")),
    ids=lambda p: f"{p.parent.name}-{p.stem}",
)
def test_macros_that_are_facts_are_derived(path):
    """A macro with a number that stands elsewhere names it; a board repeats nothing of its chip."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    facts = {
        "RC_UART_BAUD": "uart.baud",
        "RC_UART_BASE": "uart.base",
        "RC_TICK_HZ": "ticks.hz",
        "RC_FLASH_BASE": "regions.flash.base",
    }
    given = data.get("defines", {})
    assert {key: given[key] for key in given if key in facts} == {key: facts[key] for key in given if key in facts}
    if "clock_hz" in data:
        assert data.get("ticks", {}).get("hz") != data["clock_hz"], "not given, hz is the clock's"
    chip = chips.chips().get(data.get("chip", ""), {})
    taken = {key: value for key, value in chip.items() if key not in data.get("without", ())}
    assert [key for key in data if key in taken and data[key] == taken[key]] == []
    for table in (key for key in data if isinstance(data[key], dict) and isinstance(taken.get(key), dict)):
        assert [key for key in data[table] if data[table][key] == taken[table].get(key)] == [], table
    for region in data.get("regions", []):
        known = next((r for r in taken.get("regions", []) if r["name"] == region["name"]), {})
        assert [key for key in region if key != "name" and region[key] == known.get(key)] == [], region["name"]


def numbers(port: str) -> dict[str, int]:
    """Constants of a port's C files."""
    text = "".join(f.read_text(encoding="utf-8") for f in sorted((PORTS / port).glob("*.[ch]")))
    return {name: int(value, 0) for name, value in re.findall(r"^#define (\w+) +(0x[0-9A-Fa-f]+|\d+)u\b", text, re.M)}


# Chip -> port, the constant that is its core clock, first words of its UART's registers, its control register's offset
UARTS = {
    "stm32h7": ("stm32h743", "CORE_HZ", "USART3_", {"USART3_CR1": 0x00, "USART3_TDR": 0x28}),
    "stm32u5": ("stm32u5", "CORE_HZ", "USART1_", {"USART1_CR1": 0x00, "USART1_TDR": 0x28}),
    "nrf5340": ("nrf53", "CORE_HZ", "UARTE_", {"UARTE_BAUDRATE": 0x524}),
    "rp2350": ("rp2350", "CORE_HZ", "UART0", {"UART0": 0}),
    "apollo510": ("apollo5", "CORE_HZ", "UART0", {"UART0": 0}),
    "imxrt1060": ("imxrt", "CORE_HZ", "LPUART1_", {"LPUART1_BAUD": 0x10}),
}


@pytest.mark.parametrize("chip", UARTS)
def test_constants_of_ports_are_the_chips(chip):
    port, clock, words, registers = UARTS[chip]
    data, here = chips.chips()[chip], numbers(port)
    assert port in data["ports"] and here[clock] == data["clock_hz"]
    assert {name: here[name] for name in registers} == {name: data["uart"]["base"] + at for name, at in registers.items()}
    page = data["uart"]["base"] & ~0xFFF
    assert {value & ~0xFFF for name, value in here.items() if name.startswith(words) and value > 0x1000_0000} == {page}


def test_every_chip_with_a_port_of_its_own_is_compared():
    with_macros = {"mps2", "riscv_virt", "esp_idf"}  # these ports have all numbers from macros
    told = {name for name, data in chips.chips().items() if not set(data["ports"]) & with_macros}
    assert told == set(UARTS)
