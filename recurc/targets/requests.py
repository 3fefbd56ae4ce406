"""What a board file asks of emulator, compiler and linker: only what `recurc.targets.allowed` lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recurc.reading import is_folder, shown
from recurc.resources import resource_dir
from recurc.targets.allowed import EMULATORS, MACHINE, MACRO, bad_emulator_word, bad_flag
from recurc.targets.tomltable import ADDRESS_LIMIT, Table, nearest


@dataclass(frozen=True)
class Emulator:
    """How the board is emulated: program, which is ours by kind and family, machine name and further arguments."""

    kind: str
    program: str
    machine: str
    args: tuple[str, ...] = ()


def read_emulator(t: Table, family: str) -> Emulator | None:
    """[emulator] of a board file; None without it. Raises InputError."""
    data = t.get("emulator", dict, None)
    if data is None:
        return None
    e = Table(data, "emulator", t.path)
    kind = e.text("kind", one_of=tuple(EMULATORS))
    program = EMULATORS[kind].get(family)
    if program is None:
        raise t.bad(f"emulator: {kind} runs no board of the family {family} here")
    named, machine, args = e.text("program", program), e.text("machine", pattern=MACHINE), e.words("args", [])
    e.close()
    if named != program:
        raise t.bad(f"emulator: program = {shown(named)} is not the one for {family}, {program}", "Leave `program` out")
    if (bad := bad_emulator_word(args)) is not None:
        raise t.bad(
            f"emulator: {shown(bad)} in args is not on recurc's list of options and their values",
            "See boards/README.md for what an emulator may be told",
        )
    return Emulator(kind, program, machine, args)


def read_flags(t: Table, key: str, default: Any = ...) -> tuple[str, ...]:
    """Flags of compiler or linker: machine flags only. Others run programs, read files, or change the bits."""
    flags = t.words(key, default)
    if (bad := bad_flag(flags)) is not None:
        raise t.bad(
            f"{key} has {shown(bad)}, which is not on recurc's list",
            "Machine flags are allowed (-mcpu, -march, -mfpu, ...); see boards/README.md",
        )
    return flags


def read_ports(t: Table) -> tuple[str, ...]:
    """Ports of recurc's runtime: their files are compiled into the firmware."""
    ports, known = t.words("ports"), sorted(p.name for p in (resource_dir("runtime_c") / "ports").iterdir() if is_folder(p))
    for port in ports:
        if port not in known:
            raise t.bad(f"ports: there is no port {shown(port)}", nearest(port, known))
    return ports


def read_defines(t: Table, facts: Mapping[str, int]) -> dict[str, int]:
    """[defines] of a board file: C macros with numbers, or with the names of numbers that the file has elsewhere.

    Args:
        facts: those numbers by their names, "uart.baud".

    Raises:
        InputError: no macro of ours, no number, or a name that means none.
    """
    values = dict(t.get("defines", dict, {}))
    for key, value in values.items():
        if isinstance(value, str):
            if value not in facts:
                raise t.bad(f"defines: {shown(key)} = {shown(value)} names no number of the board",
                            nearest(value, tuple(facts)))  # fmt: skip
            values[key] = value = facts[value]
        if not MACRO.fullmatch(key) or type(value) is not int or not -(1 << 31) <= value < ADDRESS_LIMIT:
            raise t.bad(f"defines: {shown(key)} = {shown(value)} is not a C macro name that begins with RC_, with 32 bits")
    return values
