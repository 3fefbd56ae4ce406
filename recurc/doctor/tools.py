"""Compilers and emulators: there, new enough, and fit for the boards that need them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from recurc.doctor.findings import MISSING, NOTE, OK, PROBLEM, Finding
from recurc.errors import ToolchainError
from recurc.targets.boards import Board
from recurc.targets.qemu import PACKAGES
from recurc.targets.toolchain import TOOLCHAINS, find_compiler

COMPILERS, EMULATORS = "C compilers for", "emulators"
OLDEST_GCC = (10,)  # the first that writes call graphs with stack usage
OLDEST_QEMU = (7, 0)  # the first whose RISC-V has version 1.0 of the vectors; tests run 7.2
EXIT = ToolchainError.exit_code
_SECONDS = 10.0
_FAMILY_NAMES = {"host": "this computer", "arm": "Arm boards", "riscv": "RISC-V boards", "xtensa": "Xtensa boards"}


def said_by(command: Sequence[str], seconds: float = _SECONDS) -> tuple[int, str]:
    """Exit status of a program and what it said; status -1 and why when it does not run or takes longer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, f"no answer within {seconds:g} s"
    except OSError as e:
        return -1, e.strerror or str(e)
    return done.returncode, done.stdout + done.stderr


def version_in(text: str) -> tuple[int, ...]:
    """The first version number in a text, () when there is none."""
    found = re.search(r"\b(\d+(?:\.\d+)+)", text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def dotted(version: Sequence[int]) -> str:
    """A version as text."""
    return ".".join(map(str, version))


def check_compilers(boards: Sequence[Board], needed: Collection[str]) -> list[Finding]:
    """One finding for each family of `boards`; a missing compiler counts as an error for the families in `needed`."""
    families = sorted({b.family for b in boards}, key=tuple(_FAMILY_NAMES).index)
    return [_compiler(f, [b for b in boards if b.family == f and b.linkable], f in needed) for f in families]


def _compiler(family: str, boards: Sequence[Board], needed: bool) -> Finding:
    name = _FAMILY_NAMES[family]
    code = EXIT if needed else 0
    if family not in TOOLCHAINS:
        return Finding(COMPILERS, name, NOTE, "recurc drives none: a build is a project that PlatformIO compiles when online")
    chain = TOOLCHAINS[family]
    try:
        path = find_compiler(family)
    except ToolchainError as e:
        only = "" if needed else f"; only for {_names(boards)}"
        return Finding(COMPILERS, name, MISSING, f"{e.where}: {e.why}{only}", e.next, code)
    install = f"apt-get install {chain.packages}, or name another GCC in {chain.variable}"
    status, text = said_by([path, "--version"])
    version = version_in(said_by([path, "-dumpfullversion"])[1]) or version_in(text)
    if status or not version:
        why = (text.strip().splitlines() or ["it said nothing"])[0]
        return Finding(COMPILERS, name, PROBLEM, f"{path} --version fails: {why}", install, code)
    found = f"{Path(path).name} {dotted(version)}, {path}"
    if "clang" in text.lower() and family == "host":
        return Finding(COMPILERS, name, OK, found)  # no stack is planned here, and GCC's and Clang's code give the same bits
    if "clang" in text.lower():
        return Finding(COMPILERS, name, PROBLEM, f"{found} is Clang; recurc reads the stack's worst path from GCC's call graph",
                       install, code)  # fmt: skip
    if version < OLDEST_GCC:
        return Finding(COMPILERS, name, PROBLEM, f"{found} is too old: GCC {dotted(OLDEST_GCC)} or newer is needed", install,
                       code)  # fmt: skip
    refused = _refused(path, boards)
    if refused:
        why, names = refused
        return Finding(COMPILERS, name, PROBLEM, f"{found} cannot build for {names}: {why}",
                       f"Take a newer one: {install}", code)  # fmt: skip
    return Finding(COMPILERS, name, OK, found)


def _refused(compiler: str, boards: Sequence[Board]) -> tuple[str, str] | None:
    """Why the compiler refuses the flags of some boards, and their names; None when it takes them all."""
    by_flags: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Board]] = {}
    for board in boards:
        by_flags.setdefault((board.cpu_flags, board.link_flags), []).append(board)
    for (compile_flags, link_flags), members in by_flags.items():
        status, text = said_by([compiler, *compile_flags, "-ffreestanding", "-fsyntax-only", "-x", "c", "/dev/null"])
        if status:
            lines = [line for line in text.splitlines() if "error" in line] or ["it fails"]
            return lines[0].split("error:")[-1].strip(), _names(members)
        status, library = said_by([compiler, *link_flags, "-print-libgcc-file-name"])
        if status or not Path(library.strip()).is_file():
            return "libgcc for its flags is not installed", _names(members)
    return None


def check_emulators(boards: Sequence[Board], needed: Collection[str]) -> list[Finding]:
    """One finding for each emulator of `boards`; a missing one counts as an error for the programs in `needed`."""
    emulated = [b for b in boards if b.emulator]
    programs = sorted({b.emulator.program for b in emulated if b.emulator})
    return [_emulator(p, [b for b in emulated if b.emulator and b.emulator.program == p], p in needed) for p in programs]


def _emulator(program: str, boards: Sequence[Board], needed: bool) -> Finding:
    code = EXIT if needed else 0
    install = f"Install it with `apt-get install {PACKAGES.get(program, program)}`"
    path = shutil.which(program)
    if path is None:
        only = "" if needed else f"; only for {_names(boards)}"
        return Finding(EMULATORS, program, MISSING, f"it is not on the PATH{only}", install, code)
    status, text = said_by([path, "--version"])
    version = version_in(text)
    if status or not version:
        why = (text.strip().splitlines() or ["it said nothing"])[0]
        return Finding(EMULATORS, program, PROBLEM, f"{path} --version fails: {why}", install, code)
    found = f"QEMU {dotted(version)}, {path}"
    if version < OLDEST_QEMU:
        return Finding(EMULATORS, program, PROBLEM, f"{found} is too old: {dotted(OLDEST_QEMU)} or newer is needed", install,
                       code)  # fmt: skip
    machines = {b.emulator.machine for b in boards if b.emulator}
    status, text = said_by([path, "-machine", "help"])
    lacking = machines - {line.split()[0] for line in text.splitlines() if line.split()}
    if status or lacking:
        return Finding(EMULATORS, program, PROBLEM, f"{found} has no machine {', '.join(sorted(lacking))}",
                       "Take a newer or complete QEMU, such as Debian's", code)  # fmt: skip
    return Finding(EMULATORS, program, OK, found)


def _names(boards: Sequence[Board]) -> str:
    return ", ".join(b.name for b in boards) or "no board"
