"""What a board file may ask for: compiler flags, emulators and tools by lists of ours. A board file is data, whoever wrote it.

Nothing here can run a program of the file's choice, or read or write a file of its choice. Compilers, emulators and upload
tools do much more than their name says (`-wrapper`, `-fplugin`, `-drive file=`, OpenOCD's scripts), so what is not listed is
refused, and the lists have what chips need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")  # of a board: a folder's name, an environment's, a C string
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")  # of a core, a port, a kind
REGION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # in a linker script and in Renode's
MACRO = re.compile(r"RC_[A-Z0-9_]{1,60}")

_VALUE = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
# Machine flags: which instructions, which calling convention. None takes the name of a file.
FLAGS = re.compile(
    rf"-m(cpu|arch|tune|fpu|abi|float-abi|cmodel)={_VALUE}"
    r"|-m(thumb|arm|little-endian|slow-flash-data|fix-cortex-m3-ldrd|strict-align|cmse|relax)"
    r"|-mno-(unaligned-access|relax|fdiv|div|save-restore)"
    r"|-m(unaligned-access|save-restore|fdiv|div)"
    r"|-msmall-data-limit=\d{1,6}"
)

# The emulator is chosen by its kind and the board's family.
EMULATORS: Mapping[str, Mapping[str, str]] = {"qemu": {"arm": "qemu-system-arm", "riscv": "qemu-system-riscv32"}}
MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # a comma would begin properties, such as dumpdtb=FILE
# QEMU's options -> what their value may be.
_QEMU: Mapping[str, re.Pattern[str]] = {
    "-icount": re.compile(r"shift=(\d{1,2}|auto)(,(sleep|align)=(on|off))*"),
    "-semihosting-config": re.compile(r"enable=on,target=native"),  # the firmware ends QEMU through it
    "-global": re.compile(r"[A-Za-z0-9._-]+\.init-n?svtor=(0x[0-9A-Fa-f]{1,8}|\d{1,10})"),
    "-cpu": re.compile(r"[A-Za-z0-9_.-]+(,[a-z0-9_-]+=(on|off|true|false|v?[0-9][0-9.]*))*"),
    "-bios": re.compile(r"none"),
    "-m": re.compile(r"\d{1,5}[KMG]?"),
    "-smp": re.compile(r"1"),
}

# Tools that write a firmware -> what each of their words may be. {file} and {address} are filled in by us,
# $RECURC_... by the user's environment.
_TOOLS: Mapping[str, re.Pattern[str]] = {
    "teensy_loader_cli": re.compile(r"--mcu=[A-Z0-9_]+|-w|-s|-v|\{file\}"),
    "STM32_Programmer_CLI": re.compile(
        r"-c|port=(SWD|JTAG|USB\d?)|freq=\d+|mode=[A-Z]+|reset=[A-Za-z]+|-el|-w|-v|-rst|-hardRst|\{file\}|\{address\}"
        r"|\$RECURC_[A-Z0-9_]+"
    ),
    "nrfutil": re.compile(
        r"device|program|--firmware|--options|--core|Application|Network|[a-z_]+=[A-Z_]+(,[a-z_]+=[A-Z_]+)*|\{file\}"
    ),
    "probe-rs": re.compile(
        r"download|--chip=[A-Za-z0-9_-]+|--binary-format|bin|hex|--base-address|--verify|\{file\}|\{address\}"
    ),
    "picotool": re.compile(r"load|-v|-x|-t|bin|-o|\{file\}|\{address\}"),
    "st-flash": re.compile(r"--reset|--connect-under-reset|write|\{file\}|\{address\}"),
    "dfu-util": re.compile(r"-a|-s|-D|\d{1,2}|\{address\}(:leave)?|\{file\}"),
}

_VERSION = r"@[\^~]?\d+(\.\d+){0,2}"
# PlatformIO runs what a platform brings: only those of its own registry's owner, with a version.
PLATFORM = re.compile(rf"(ststm32|teensy|nxpimxrt|nordicnrf52|raspberrypi|espressif32|atmelsam){_VERSION}")
PACKAGE = re.compile(rf"platformio/[a-z0-9-]{{1,64}}{_VERSION}")
SDKCONFIG = re.compile(r"CONFIG_[A-Z0-9_]{1,80}=(y|n|\d{1,10})")


def bad_flag(flags: Iterable[str]) -> str | None:
    """The first compiler or linker flag that is not allowed; None when all are."""
    return next((f for f in flags if not FLAGS.fullmatch(f)), None)


def bad_emulator_word(words: Iterable[str]) -> str | None:
    """The first word of QEMU's arguments that is not allowed; None when all are. They are options, each with its value."""
    left = list(words)
    for option, value in zip(left[::2], left[1::2], strict=False):
        if option not in _QEMU:
            return option
        if not _QEMU[option].fullmatch(value):
            return f"{option} {value}"
    return left[-1] if len(left) % 2 else None


def tools() -> tuple[str, ...]:
    """Programs that may write a firmware to a board."""
    return tuple(_TOOLS)


def bad_tool_word(command: Sequence[str]) -> str | None:
    """The first word of an upload command that is not allowed; None when all are."""
    program, *words = command
    if program not in _TOOLS:
        return program
    return next((w for w in words if not _TOOLS[program].fullmatch(w)), None)
