"""Renode's scripts, as far as they can be checked without Renode: grammar, models, memory, what the ports wait for."""

import re
from pathlib import Path

import pytest

from recurc.make.renode import describable, port_registers, render_renode, uart_model
from recurc.resources import resource_dir
from recurc.targets.boards import list_boards, load_board
from tests.ci.repl import ReplError, parse
from tests.ci.resc import check_resc

BOARDS = [b for b in list_boards() if describable(b)]
# Models of Renode 1.16.1 with the attributes that their constructors take.
MODELS = {
    "CPU.CortexM": {"cpuType", "numberOfMPURegions", "nvic"}, "IRQControllers.NVIC": {"systickFrequency"},
    "CPU.RiscV32": {"cpuType", "privilegedArchitecture", "timeProvider", "hartId"},
    "IRQControllers.CoreLevelInterruptor": {"frequency"}, "Miscellaneous.DWT": {"frequency"},
    "Memory.MappedMemory": {"size"}, "UART.CMSDK_APB_UART": {"frequency"}, "UART.STM32F7_USART": {"frequency"},
    "UART.NXP_LPUART": {"frequency"}, "UART.PL011": {"frequency"}, "UART.NS16550": set(),
    "UART.NRF52840_UART": {"easyDMA"}, "Python.PythonPeripheral": {"size", "initable", "filename"}, "Bus.SystemBus": set(),
}  # fmt: skip
CORES = {"cortex-m4f", "cortex-m7", "cortex-m33", "cortex-m55"}


def rendered(name: str, **more) -> dict[str, str]:
    return render_renode(load_board(name), build_name="tiny at int4", build="fw/tiny", elf=f"../../fw/tiny/{name}/firmware.elf",
                         build_up="../../fw/tiny", data_up="../data", **more)  # fmt: skip


def test_every_board_with_firmware_has_scripts():
    built = {b.name for b in list_boards() if b.linkable and b.family != "host"}
    assert built == {b.name for b in BOARDS}
    assert uart_model(load_board("esp32-s3-n8r8")) is None and not describable(load_board("host"))


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.name)
def test_a_platform_is_the_boards(board):
    entries = parse(rendered(board.name)[".repl"])
    for entry in entries.values():
        assert set(entry.attributes) <= MODELS[entry.model], entry
    memory = {(e.place, int(e.attributes["size"], 0)) for e in entries.values() if e.model == "Memory.MappedMemory"}
    assert memory == {(r.base, r.size) for r in board.regions}
    assert entries["uart"].place == board.uart.base and entries["uart"].model == uart_model(board)[0]
    cpu = entries["cpu"].attributes["cpuType"].strip('"')
    assert cpu in CORES if board.family == "arm" else re.fullmatch(r"rv32imafcv?_zicsr_zifencei", cpu)
    assert "NOT RUN" in rendered(board.name)[".repl"]


@pytest.mark.parametrize(
    "text, says",
    [
        ("cpu CPU.CortexM @ sysbus", "no entry"),
        ("init: CPU.CortexM @ sysbus", "no entry"),
        ("a: M.N @ sysbus 0x10\na: M.N @ sysbus 0x20", "declared twice"),
        ("a:\n    size: 1", "never declared"),
        ("a: M.N @ sysbus 0x10\n  size: 1", "four blanks"),
        ("a: M.N @ sysbus 0x10\n        size: 1", "below nothing"),
        ("    size: 1", "below nothing"),
        ("a: M.N @ sysbus 0x10\n    size 1", "no attribute"),
        ("a: M.N @ sysbus 0x10\n    size: 0xG", "no attribute"),
        ('a: M.N @ sysbus 0x10\n    type: "x', "unterminated"),
        ("a: M.N @ sysbus 0x10\n    size: 1\n    size: 2", "given twice"),
        ("a: M.N @ bus 0x10", "refers to bus"),
        ("a: M.N @ sysbus 0x10\n    -> nvic@0", "refers to nvic"),
        ("a: M.N @ sysbus 0x10\n    -> sysbus", "no attribute"),
        ('sysbus:\n    init:\n        Tag <0x1, 0x4 "x"', "no command"),
    ],
)
def test_the_checker_refuses(text, says):
    with pytest.raises(ReplError, match=says):
        parse(text)


# -- what the ports wait for ----------------------------------------------------------------------------------------

RUNTIME = resource_dir("runtime_c") / "ports"


def constants(port: str) -> dict[str, str]:
    files = [*(RUNTIME / port).glob("*.[ch]"), *(RUNTIME / "arm_chip").glob("*.h")]
    text = "\n".join(f.read_text() for f in files)
    return {m[1]: re.sub(r"/\*.*?\*/", "", m[2]) for m in re.finditer(r"^#define (\w+)[ \t]+(.+)$", text, re.M)}


def value(expression: str, names: dict[str, str]) -> int:
    while re.search(r"[A-Za-z_]\w*", re.sub(r"0[xX][0-9a-fA-F]+|\b\d+[uU]?\b", "0", expression)):
        before = expression
        expression = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: f"({names[m[0]]})" if m[0] in names else m[0], expression)
        assert expression != before, expression
        expression = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uU]\b", r"\1", expression)
    return int(eval(re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uU]\b", r"\1", expression)))  # noqa: S307 - our own sources


def waits(port: str) -> list[tuple[int, int, int]]:
    """(address, mask, wanted) of every wait in a port's sources whose register is known by name."""
    names, found = constants(port), []
    for file in sorted((RUNTIME / port).glob("*.[ch]")):
        for m in re.finditer(r"\brc_chip_(?:wait|need)\(([^()]*)\)", re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.S)):
            address, mask, wanted = (part.strip() for part in m[1].split(","))
            if address in names:
                found.append(tuple(value(x, names) for x in (address, mask, wanted)))
    return found


@pytest.mark.parametrize("port", [p for p in port_registers() if (RUNTIME / p).is_dir()])
def test_no_port_waits_for_ever(port):
    """Each register that a port waits for shows what it wants: by a tag, by rolling bits, or as 0; the UART's models do so."""
    known = port_registers()[port]
    tags = {t["address"]: t["value"] for t in known.get("tags", ())}
    rolling = {r["address"] for r in known.get("rolling", ())}
    uarts = {b.uart.base & ~0xFFF for b in BOARDS if port in b.ports}
    fields: dict[tuple[int, int], set[int]] = {}
    for address, mask, wanted in waits(port):
        if address & ~0xFFF not in uarts:
            fields.setdefault((address, mask), set()).add(wanted)
    for (address, mask), wanted in fields.items():  # of several values of one field, one is another way to go on
        single = address in rolling and all(value and value & (value - 1) == 0 for value in wanted)
        assert (tags.get(address, 0) & mask) in wanted or single, f"{port}: {address:#x}"


def test_the_waits_are_found():
    assert (0x58024804, 0x2000, 0x2000) in waits("stm32h743") and len(waits("stm32h743")) >= 8
    assert (0x40010044, 3, 2) in waits("rp2350")
    assert all(waits(p) for p in ("stm32u5", "imxrt", "nrf53", "apollo5"))


# -- the script -----------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, texts: dict[str, str]) -> Path:
    scripts = folder / "recurc-ci" / "renode"
    scripts.mkdir(parents=True)
    for suffix, text in texts.items():
        (scripts / f"{name}{suffix}").write_text(text)
    return scripts


@pytest.mark.parametrize("name", ["stm32h7", "riscv32-virt"])
def test_a_script_loads_what_is_there(tmp_path, name):
    elf = tmp_path / "fw" / "tiny" / name / "firmware.elf"
    elf.parent.mkdir(parents=True)
    elf.write_bytes(b"")
    table = elf.parents[1] / "puzzles.rct"
    table.write_bytes(b"")
    texts = rendered(name, table={"path": "../../fw/tiny/puzzles.rct", "address": 0x90000000})
    found = check_resc(texts[".resc"], write(tmp_path, name, texts))
    assert f"machine LoadPlatformDescription $ORIGIN/{name}.repl" in found
    assert ("rc_vectors" in texts[".resc"]) == (name == "stm32h7")
    assert "sysbus LoadBinary $ORIGIN/../../fw/tiny/puzzles.rct 0x90000000" in found
    assert 'emulation CreateServerSocketTerminal $port "recurc" false' in found
    with pytest.raises(AssertionError, match="set nowhere"):
        check_resc(texts[".resc"].replace("$port?=", "$other?="), tmp_path / "recurc-ci" / "renode")


def test_the_symbol_of_the_vectors_is_the_startups():
    assert "rc_vectors" in (RUNTIME / "arm_common" / "rc_startup.c").read_text()


def test_every_file_says_that_it_was_not_run():
    for board in BOARDS:
        assert all("NOT RUN" in text for text in rendered(board.name).values())
