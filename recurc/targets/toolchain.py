"""C compilers: found, called in parallel, their failures explained."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recurc.environment import remedy
from recurc.errors import ToolchainError
from recurc.reading import matching
from recurc.targets.boards import COMPILED, Board
from recurc.targets.objectcache import compile_once

C_FLAGS = (
    "-std=c99 -O3 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -ffunction-sections -fdata-sections -g "
    "-Wall -Wextra -Wconversion -Wshadow -Wdouble-promotion -Werror"
).split()
# Freestanding, so that the compiler's own stdint.h serves and no C library need be installed; -fbuiltin after it,
# because -ffreestanding alone turns 4-byte memcpy idioms into calls, five times slower in inner loops.
BARE_C_FLAGS = ("-ffreestanding", "-fbuiltin")
BARE_LINK_FLAGS = (
    "-nostdlib -nostartfiles -Wl,--gc-sections -Wl,--build-id=none -Wl,--fatal-warnings -Wl,-z,noexecstack "
    "-Wl,--no-warn-rwx-segments"
).split()
# Writes a call graph with the frame of each function beside the object; changes no code.
STACK_FLAGS = ("-fcallgraph-info=su",)
HOST_LINK_FLAGS = ("-Wl,--build-id=none", "-Wl,-z,noexecstack")
_SHOWN_LINES = 30


@dataclass(frozen=True)
class Toolchain:
    """Compilers of one board family: candidates in order, and the Debian packages that bring them."""

    family: str
    commands: tuple[str, ...]
    packages: str
    variable: str  # environment variable that overrides the choice

    def find(self) -> str:
        """Path of the compiler.

        Raises:
            ToolchainError: none is installed; names the package.
        """
        chosen = os.environ.get(self.variable)
        for command in (chosen,) if chosen else self.commands:
            path = shutil.which(command)
            if path:
                return os.path.abspath(path)
        raise ToolchainError(
            f"there is no C compiler for {self.family}",
            where=chosen or " or ".join(self.commands),
            why=f"the command that {self.variable} names was not found" if chosen else "it is not on the PATH",
            next=f"Install it with `apt-get install {self.packages}`",
        )


TOOLCHAINS = {
    "arm": Toolchain("arm", ("arm-none-eabi-gcc",), "gcc-arm-none-eabi", "RECURC_ARM_GCC"),
    "riscv": Toolchain(
        "riscv", ("riscv64-unknown-elf-gcc", "riscv32-unknown-elf-gcc"), "gcc-riscv64-unknown-elf", "RECURC_RISCV_GCC"
    ),
    "host": Toolchain("host", ("gcc", "cc"), "gcc libc6-dev", "RECURC_HOST_CC"),
}


def find_compiler(family: str) -> str:
    """Path of the C compiler of a board family ("arm", "riscv", "host").

    Raises:
        ToolchainError: it is not installed, or recurc drives none for this family ("xtensa").
    """
    if family not in TOOLCHAINS:
        raise ToolchainError(
            f"recurc drives no C compiler for {family}",
            why="boards of this family are described only",
            next="Take a board that `recurc boards` lists as emulated or compiled",
        )
    return TOOLCHAINS[family].find()


def _shortened(output: str) -> str:
    lines = output.strip().splitlines()
    if len(lines) > _SHOWN_LINES:
        lines = [*lines[:_SHOWN_LINES], f"... and {len(lines) - _SHOWN_LINES} more lines"]
    return "\n".join(lines)


# Variables that change what a compiler reads or runs: what a build is must not depend on somebody's shell.
REACHES_COMPILERS = frozenset((
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX",
    "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES", "GCC_COMPARE_DEBUG", "CCC_OVERRIDE_OPTIONS", "LD_RUN_PATH", "COLLECT_GCC",
))  # fmt: skip


def _call(command: Sequence[str], what: str, where: str, cwd: Path | None = None) -> None:
    """Run a compiler; its failure becomes a ToolchainError with its shortened output."""
    # Messages in English and no path of this machine in the output: builds are the same bytes everywhere.
    # PWD, because the compiler takes the working folder's name from there, and may find a link to it, which no map names.
    env = {name: value for name, value in os.environ.items() if name not in REACHES_COMPILERS}
    env |= {"LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", "PWD": os.path.realpath(cwd) if cwd else os.getcwd()}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=env, cwd=cwd, stdin=subprocess.DEVNULL
        )
    except OSError as e:
        raise ToolchainError(what, where=command[0], why=str(e), next=remedy(e, "Check the compiler's installation")) from e
    if done.returncode:
        output = _shortened(done.stderr or done.stdout) or f"it ended with status {done.returncode} and said nothing"
        raise ToolchainError(
            what,
            where=where,
            why="The compiler said:\n" + output + "\n",
            next="If it is recurc's own source that does not compile, please report it with these lines",
        )


def macro_text(value: int | str) -> str:
    """A macro's value as C text; strings become C string literals."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f"{value:#x}u" if value >= 0 else f"({value})"


def _define_flags(defines: Mapping[str, int | str | None]) -> list[str]:
    """-D flags; None is a bare macro."""
    return [f"-D{key}" + ("" if value is None else f"={macro_text(value)}") for key, value in defines.items()]


def board_defines(board: Board) -> dict[str, int | str]:
    """Macros that every source of a board's firmware is compiled with."""
    return {**board.defines, "RC_BOARD_NAME": board.name, **({"RC_MPU": int(board.mpu[1:])} if board.mpu else {})}


def compile_flags(board: Board) -> list[str]:
    """Compiler flags of a board's C files, without macros and folders."""
    return [*C_FLAGS, *(() if board.family == "host" else (*BARE_C_FLAGS, *STACK_FLAGS)), *board.cpu_flags]


def assembler_flags(flags: Sequence[str]) -> list[str]:
    """Of a C file's flags, those for a .S file: the assembler's -g would keep the source's path."""
    return [f for f in flags if f not in ("-std=c99", "-g")]


def _prefix_maps(sources: Sequence[Path], include_dirs: Sequence[Path], out_dir: Path) -> list[str]:
    """Flags that keep this machine's paths out of debug information: builds are the same bytes in any folder."""
    folders = {p.absolute().parent for p in sources} | {p.absolute() for p in include_dirs}
    # The last map that matches counts, so the general ones come first.
    maps = [
        (Path.cwd(), "."),
        (out_dir.absolute(), "build"),
        *((p, p.name) for p in sorted(folders) if p != out_dir.absolute()),
    ]
    return [f"-ffile-prefix-map={path}={name}" for path, name in maps]


def _compile_objects(compiler: str, flags: Sequence[str], sources: Sequence[Path], objects_dir: Path) -> list[Path]:
    """Compile every source, in parallel, or take it from the cache; objects in the order of the sources."""
    objects_dir.mkdir(parents=True, exist_ok=True)
    objects = [objects_dir / f"{i:03d}_{source.stem}.o" for i, source in enumerate(sources)]

    def one(job: tuple[Path, Path]) -> None:
        source, target = job
        own = list(flags)
        if source.suffix == ".S":
            # .incbin looks along -I, so in the build's folder too (-Wa would split a path at its commas)
            own = [*assembler_flags(flags), f"-I{objects_dir.parent}"]
        compile_once(compiler, own, source, target, lambda c: _call(c, f"{source.name} does not compile", str(source)))

    for source in sources:
        if not source.is_file():
            raise ToolchainError(
                "a source file is missing", where=str(source), why="it was listed for this build", next="Build again"
            )
    with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
        list(pool.map(one, zip(sources, objects, strict=True)))
    return objects


def runtime_sources(board: Board, runtime: Path) -> list[Path]:
    """The files of the C runtime that every firmware for the board needs: its ports, the wire server and what
    that calls: the procedure that answers puzzles, CRC and SHA-256.

    Args:
        runtime: the runtime_c folder, or a build's copy of it.
    """
    found = [f for port in board.ports for f in matching(runtime / "ports" / port, "*.[cS]")]
    sums = [runtime / "image" / name for name in ("rc_crc32.c", "rc_sha256.c")]
    return [*found, *matching(runtime / "wire", "*.c"), *matching(runtime / "solve", "*.c"), *sums]


def port_include_dirs(board: Board, runtime: Path) -> list[Path]:
    """Include folders of the board's ports and of the runtime."""
    return [runtime / "include", *(runtime / "ports" / port for port in board.ports)]


def check_linkable(board: Board) -> None:
    """That firmware can be compiled for a board at all.

    Raises:
        ToolchainError: its memory can be planned, but recurc has no compiler or no port for it; says which.
    """
    if board.linkable:
        return
    if board.buildable and COMPILED not in board.packages:
        raise ToolchainError(
            f"no firmware can be compiled here for {board.name}",
            where=f"board file {board.path.name}" if board.path else "",
            why=f"a build for it is delivered as {' and '.join(board.packages)}, which is compiled elsewhere",
            next="Build it with `recurc build`; the README in the build's folder says what compiles it",
        )
    missing = (
        "recurc drives no Xtensa compiler (Debian has none; Espressif's SDK brings its own)"
        if board.family == "xtensa"
        else "recurc has no port for it: startup, clock, UART"
    )
    raise ToolchainError(
        f"no firmware can be built for {board.name}",
        where=f"board file {board.path.name}" if board.path else board.name,
        why=f"its memory map is described, so the plan and its figures hold, but {missing}",
        next="Take a board that `recurc boards` lists as emulated or compiled"
        + ("" if board.family == "xtensa" else ", or write a port (runtime_c/ports)"),
    )


def compile_firmware(
    board: Board,
    sources: Sequence[Path],
    include_dirs: Sequence[Path],
    defines: Mapping[str, int | str | None],
    linker_script: Path | None,
    out_dir: Path,
    extra_flags: Sequence[str] = (),
) -> Path:
    """Compile and link a firmware; writes firmware.elf and firmware.map into `out_dir`.

    Args:
        sources: all .c and .S files, those of `runtime_sources` among them.
        defines: macros on top of the board's own and RC_BOARD_NAME.
        linker_script: None for the host family only.
        extra_flags: for compiling and linking (sanitizers in tests).

    Returns:
        Path of firmware.elf.

    Raises:
        ToolchainError: compiler missing, or it failed; its output is in the message.
    """
    objects = compile_objects(board, sources, include_dirs, defines, out_dir, extra_flags)
    return link_firmware(board, objects, linker_script, out_dir, extra_flags)


def compile_objects(
    board: Board,
    sources: Sequence[Path],
    include_dirs: Sequence[Path],
    defines: Mapping[str, int | str | None],
    out_dir: Path,
    extra_flags: Sequence[str] = (),
) -> list[Path]:
    """Compile sources for a board into `out_dir`/obj, in their order; arguments as of `compile_firmware`.

    Beside each object of a microcontroller lies its call graph with stack usage (.ci).

    Raises:
        ToolchainError: compiler missing, or it failed; its output is in the message.
    """
    check_linkable(board)
    compiler = find_compiler(board.family)
    out_dir.mkdir(parents=True, exist_ok=True)
    flags = [
        *compile_flags(board),
        *_define_flags({**board_defines(board), **defines}),  # a build's own win over the board's
        *(f"-I{d}" for d in include_dirs),
        *_prefix_maps(sources, include_dirs, out_dir),
        *extra_flags,
    ]
    return _compile_objects(compiler, flags, sources, out_dir / "obj")


def link_firmware(
    board: Board,
    objects: Sequence[Path],
    linker_script: Path | None,
    out_dir: Path,
    extra_flags: Sequence[str] = (),
    name: str = "firmware",
) -> Path:
    """Link objects to `out_dir`/NAME.elf, with its map beside it.

    Raises:
        ToolchainError: compiler missing, or the link failed; its output is in the message.
    """
    compiler = find_compiler(board.family)
    elf, map_file = out_dir / f"{name}.elf", out_dir / f"{name}.map"
    # The linker expands % in the map's name and -Wl splits at commas: it is named without its folder.
    link = [compiler, *board.link_flags, *extra_flags, *(str(o.absolute()) for o in objects)]
    link += ["-o", str(elf.absolute()), f"-Wl,-Map={map_file.name}"]
    if board.family == "host":
        link += HOST_LINK_FLAGS
    else:
        link += [*_bare_flags(compiler), "-T", str(linker_script and linker_script.absolute()), "-lgcc"]
    _call(link, f"the firmware for {board.name} does not link", str(elf), cwd=out_dir)
    return elf


def _bare_flags(compiler: str) -> list[str]:
    """Link flags without those that an older linker does not know."""
    version = subprocess.run([compiler, "-Wl,--version", "-nostdlib"], capture_output=True, text=True).stdout
    digits = version.splitlines()[0].rsplit(" ", 1)[-1].split(".") if version else ["0"]
    old = [int("".join(c for c in d if c.isdigit()) or 0) for d in digits[:2]] < [2, 39]
    return [f for f in BARE_LINK_FLAGS if not (old and "rwx" in f)]


def _shared_flags(sources: Sequence[Path], include_dirs: Sequence[Path], out_dir: Path) -> list[str]:
    return [*C_FLAGS, "-fPIC", *(f"-I{d}" for d in include_dirs), *_prefix_maps(sources, include_dirs, out_dir)]


def shared_objects(sources: Sequence[Path], include_dirs: Sequence[Path], out_dir: Path) -> list[Path]:
    """Compile sources into objects that several libraries of `compile_shared` take.

    Raises:
        ToolchainError: compiler missing, or it failed; its output is in the message.
    """
    return _compile_objects(find_compiler("host"), _shared_flags(sources, include_dirs, out_dir), sources, out_dir)


def compile_shared(
    sources: Sequence[Path],
    include_dirs: Sequence[Path],
    out: Path,
    extra_flags: Sequence[str] = (),
    objects: Sequence[Path] = (),
) -> Path:
    """Compile sources into a shared library for this computer, with `objects` that are compiled already.

    Raises:
        ToolchainError: compiler missing, or it failed; its output is in the message.
    """
    compiler = find_compiler("host")
    out.parent.mkdir(parents=True, exist_ok=True)
    flags = [*_shared_flags(sources, include_dirs, out.parent), *extra_flags]
    compiled = [*_compile_objects(compiler, flags, sources, out.parent / (out.name + ".obj")), *objects]
    _call(
        [compiler, "-shared", *HOST_LINK_FLAGS, *extra_flags, *map(str, compiled), "-o", str(out)],
        "the host library does not link",
        str(out),
    )
    return out
