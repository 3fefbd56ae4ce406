"""A board file is data: nothing in it runs a program, reads or writes a file of its choice, or leaves its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recurc.cli.main import main
from recurc.errors import InputError
from recurc.targets import allowed
from recurc.targets.boards import list_boards, load_board, parse_board
from tests.boardfiles import board_text

H7 = board_text("stm32h7")
AN500 = board_text("mps2-an500")
ESP = board_text("esp32-s3-n8r8")


def refused(text: str, *said: str) -> None:
    with pytest.raises(InputError) as e:
        parse_board(text, Path("x.toml"))
    paragraph = str(e.value)
    assert e.value.exit_code == 3 and all(s in paragraph for s in said), paragraph
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in paragraph)


FLAGS = [
    "-wrapper", "/tmp/evil", "-B/tmp", "-specs=/tmp/x", "--specs=x", "-fplugin=/tmp/x.so", "@/tmp/flags", "-include/etc/passwd",
    "-include", "-I/tmp", "-isystem/tmp", "-L/tmp", "-l:evil.a", "-Wl,-T/tmp/x", "-Wl,-plugin,/tmp/x", "-Xlinker",
    "-Xassembler",
    "-Wa,--defsym", "-T/tmp/x", "-o/tmp/x", "-MD", "-MF/tmp/x", "-save-temps", "-dumpdir", "-fdump-tree-all=/tmp/x",
    "-ffast-math", "-Ofast", "-fprofile-use=/tmp", "-fuse-ld=evil", "-fdiagnostics-format=json-file", "-Dmain=evil", "-E",
    "-mcpu=x -wrapper y", "-mcpu=cortex-m7\n-wrapper", "-mcpu=/tmp/x", "-march=../x", "--sysroot=/tmp", "-x", "evil.c", "",
    "-mcpu=", "-m", "-mfpu=fpv5-d16,evil", "-mllvm", "-Xclang", "-load",
]  # fmt: skip


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("key", ["cpu_flags", "link_flags"])
def test_flags_are_machine_flags(key, flag):
    text = H7.replace("features =", "link_flags = []\nfeatures =", 1)
    line = next(li for li in text.split("\n") if li.startswith(key))
    shown = "\\n".join(flag.split("\n"))
    refused(text.replace(line, f'{key} = ["{shown}"]'), key)


def test_flags_of_chips_are_allowed():
    for flag in (
        "-mcpu=cortex-m55+nomve.fp",
        "-mthumb",
        "-mfpu=fpv5-sp-d16",
        "-mfloat-abi=hard",
        "-march=rv32imafc_zicsr",
        "-mabi=ilp32f",
        "-mno-unaligned-access",
        "-msmall-data-limit=8",
        "-mslow-flash-data",
        "-mtune=cortex-m7",
    ):
        assert not allowed.bad_flag([flag]), flag
    for board in list_boards():
        assert not allowed.bad_flag((*board.cpu_flags, *board.link_flags))
        assert board.emulator is None or not allowed.bad_emulator_word(board.emulator.args)


@pytest.mark.parametrize("args", [
    ["-drive", "file=/etc/passwd,if=none"], ["-chardev", "file,path=/tmp/x,id=y"], ["-serial", "file:/tmp/x"],
    ["-monitor", "stdio"],
    ["-D", "/tmp/x"], ["-d", "cpu"], ["-trace", "file=/tmp/x"], ["-readconfig", "/tmp/x"], ["-incoming", "exec:evil"],
    ["-device", "loader,file=/etc/shadow"], ["-netdev", "tap,script=/tmp/x"], ["-global", "x.file=/tmp/x"],
    ["-kernel", "/tmp/x"],
    ["-icount", "shift=6,rr=record,rrfile=/tmp/x"], ["-semihosting-config", "enable=on,target=native,chardev=x"],
    ["-bios", "/x"],
    ["-m", "128M,maxmem=1G"], ["-cpu", "rv32,x=/tmp"], ["-pidfile", "/tmp/x"], ["-daemonize"], ["-run-with", "x"], ["evil.elf"],
    ["-plugin", "/tmp/evil.so"], ["-L", "/tmp"], ["-icount"], ["-icount", "shift=6\n"], ["-semihosting"], ["-object", "x"],
])  # fmt: skip
def test_the_emulator_is_told_nothing_of_files(args):
    words = ", ".join('"' + a.replace("\n", "\\n") + '"' for a in args)
    line = next(li for li in AN500.split("\n") if li.startswith("args ="))
    refused(AN500.replace(line, f"args = [{words}]"))


@pytest.mark.parametrize("machine", ["mps2-an500,dumpdtb=/tmp/x", "../x", "a b", "x\\ny", "-M", ""])
def test_the_machine_is_a_name(machine):
    refused(AN500.replace('machine = "mps2-an500"', f'machine = "{machine}"'), "machine")


@pytest.mark.parametrize("program", ["/tmp/evil", "sh", "qemu-system-riscv32", "../qemu-system-arm", "qemu-system-arm; x"])
def test_the_emulators_program_is_ours(program):
    refused(AN500.replace('kind = "qemu"', f'kind = "qemu"\nprogram = "{program}"'), "program")
    board = parse_board(AN500.replace('kind = "qemu"', 'kind = "qemu"\nprogram = "qemu-system-arm"'), Path("x.toml"))
    assert board.emulator.program == "qemu-system-arm"


@pytest.mark.parametrize("command", [
    ["sh", "-c", "evil"], ["/tmp/evil", "{file}"], ["python3", "x.py"], ["openocd", "-c", "exec evil"],
    ["teensy_loader_cli", "/etc/x"],
    ["../teensy_loader_cli"], ["STM32_Programmer_CLI", "-el", "/tmp/evil.stldr"], ["STM32_Programmer_CLI", "$HOME"],
    ["nrfutil", "--json", "{file}"], ["teensy_loader_cli", "{file.__class__}"], ["teensy_loader_cli", "{file}\n"],
    ["dfu-util", "-U", "x"],
])  # fmt: skip
def test_upload_tools_and_their_words_are_listed(command):
    words = ", ".join('"' + w.replace("\n", "\\n") + '"' for w in command)
    refused(H7.replace('disk = "probe"', f"command = [{words}]"))
    line = next(li for li in H7.split("\n") if li.startswith("external ="))
    refused(H7.replace(line, f"external = [{words}]"))


@pytest.mark.parametrize(("key", "value"), [
    ("platform", "https://evil/x.git"), ("platform", "symlink:///tmp/evil"), ("platform", "file:///tmp/x"),
    ("platform", "evil/ststm32@1"),
    ("platform", "ststm32"), ("platform", "ststm32@^19.6.0\\nbuild_flags = !cmd"), ("platform", "ststm32@https://x"),
    ("board", "x\\ny"), ("board", "../x"), ("upload", "custom\\nupload_command = evil"), ("upload", "a b"),
])  # fmt: skip
def test_platformio_is_told_of_its_own_packages_only(key, value):
    line = next(li for li in H7.split("\n") if li.startswith(f"{key} =") and "stm" in H7[H7.index("[platformio]") :])
    refused(H7.replace(line, f'{key} = "{value}"'))


def test_packages_and_sdkconfig_are_listed_kinds():
    line = next(li for li in H7.split("\n") if li.startswith("packages ="))
    for package in (
        "evil/toolchain@1",
        "toolchain@1",
        "platformio/x@https://evil",
        "platformio/x@file:///tmp/x",
        "platformio/x",
    ):
        refused(H7.replace(line, f'packages = ["{package}"]'), "package")
    for text in ('CONFIG_X=\\"a\\"', "CONFIG_X=y\\nCONFIG_Y=y", "source /tmp/x", "CONFIG_X=$(evil)"):
        refused(ESP.replace('"CONFIG_SPIRAM=y"', f'"{text}"'), "sdkconfig")


@pytest.mark.parametrize("define", [
    'main = 1', 'RC_X = "$(evil)"', '"RC_X=1 -wrapper" = 1', '"RC X" = 1', "RC_X = 1.5", "RC_X = true",
    "__FAST_MATH__ = 1", "RC_X = 0x1_0000_0000",
])  # fmt: skip
def test_defines_are_numbers_of_ours(define):
    refused(H7.replace('RC_UART_BAUD = "uart.baud"', define), "defines")


def test_ports_are_recurcs():
    for port in ("../../evil", "/tmp/evil", "", "arm_common/../../x", "nope"):
        refused(H7.replace('"arm_common"', f'"{port}"'), "ports")


CONTROL = ["\\u001b[2J", "a\\nb", "a\\rb", "\\u0085", "\\u202ex", "\\u2066", "\\u2028", "\\u007f", "\\u0000"]


@pytest.mark.parametrize("bad", CONTROL)
def test_no_text_of_a_board_has_a_control_character(bad):
    places = [li.split(" = ")[0] for li in H7.split("\n") if ' = "' in li]
    assert len(set(places)) > 12
    for line in {li for li in H7.split("\n") if ' = "' in li}:
        key = line.split(" = ")[0]
        refused(H7.replace(line, f'{key} = "x{bad}"', 1))


def test_names_are_plain_words():
    for name in ("../x", "a/b", "a b", ".", "-x", "", "x" * 100, "ä", "a;b", "${x}"):
        refused(H7.replace('name = "stm32h7"', f'name = "{name}"', 1))
    for region in ("a b", "ö", "1x", "a;b", "x" * 100):
        refused(H7.replace('name = "itcm"', f'name = "{region}"', 1), "region")


@pytest.mark.parametrize("text", [
    "a = " + "[" * 5000, "a." * 5000 + "b = 1", "x = " + "9" * 5000, "\ufeff\x00", "name = 'x'\n" * 2,
])  # fmt: skip
def test_what_is_no_board_is_said_in_one_paragraph(text):
    refused(text)


def test_a_board_file_that_is_no_file_is_refused(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_text("#" * (2 << 20))
    for path in (tmp_path / "pipe.toml", "/dev/zero.toml", tmp_path / "large.toml", tmp_path):
        if not Path(path).exists():
            continue
        with pytest.raises(InputError, match="cannot be read"):
            load_board(str(path) + ("/" if Path(path).is_dir() else ""))
    evil = tmp_path / "evil.toml"
    evil.write_text(H7.replace('"-mthumb"', '"-wrapper", "/tmp/evil,x"'))
    assert main(["boards", "show", str(evil)]) == 3
    said = capsys.readouterr().err
    assert "-wrapper" in said and said.count("\n") == 1
