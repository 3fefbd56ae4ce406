"""The PlatformIO project of a build: same sources, same flags, same ELF as the direct call of the compiler."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from recurc import __version__
from recurc.codegen.firmware import Sources, firmware_sources, linker_script, table_defines
from recurc.codegen.manifest import TABLE_FILE
from recurc.plan.planner import MemoryPlan
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.linker import render_main, template_environment
from recurc.targets.qemu import PACKAGES
from recurc.targets.toolchain import (
    BARE_LINK_FLAGS,
    TOOLCHAINS,
    assembler_flags,
    board_defines,
    compile_flags,
    macro_text,
)

PROJECT = "project"  # the project's folder in a build
EMULATOR_PORT = 45870  # first TCP port that an emulated board's UART is offered on
LIBRARY = Path("lib/recurc_runtime")
TABLE_COPY = "data/puzzles.rct"
_FLASH_SECTIONS = (".text", ".ARM.exidx", ".recurc_image", ".rodata", ".data")
_RAM_SECTIONS = (".stack", ".data", ".bss", ".recurc_arena")


@dataclass(frozen=True)
class BoardFirmware:
    """What a project needs to know of one board's firmware: its exact plan and the build id that HELLO tells."""

    board: Board
    plan: MemoryPlan
    build_id: str

    @property
    def env(self) -> str:
        """Name of its PlatformIO environment."""
        return environment_name(self.board.name)


def environment_name(board: str) -> str:
    """A board's name as PlatformIO takes it for an environment."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", board)


def external_image(firmware: BoardFirmware) -> bool:
    """Whether the weights lie in another flash chip than the code."""
    region = firmware.board.region(firmware.plan.placement["image"])
    return region.name != firmware.plan.placement["code"] and region.kind == "external-flash"


def _binaries(firmware: BoardFirmware) -> dict[str, str]:
    """Binary files for flash chips -> what objcopy takes of the ELF for each."""
    if firmware.board.emulator:
        return {}
    if external_image(firmware):
        return {"firmware.bin": "-R .recurc_image", "weights.bin": "-j .recurc_image"}
    return {"firmware.bin": ""}


def _files(firmware: BoardFirmware) -> list[dict[str, Any]]:
    """Files that lie in the board's memory beside the firmware: a mapped puzzle table."""
    table = firmware.plan.table
    return [{"file": TABLE_COPY, "address": f"{table.address:#x}", "bytes": table.bytes, "region": table.region}] if table else []


def _board_json(firmware: BoardFirmware) -> dict[str, Any]:
    """The board as PlatformIO knows boards, with recurc's recipe for its firmware."""
    board, plan = firmware.board, firmware.plan
    toolchain = TOOLCHAINS[board.family]
    flags = compile_flags(board)
    defines = {k: macro_text(v) for k, v in {**table_defines(plan), **board_defines(board)}.items()}

    def room(*parts: str) -> int:
        return sum(board.region(name).size for name in {plan.placement[part] for part in parts})

    recipe = {
        "board": board.name, "compilers": list(toolchain.commands), "variable": toolchain.variable, "packages": toolchain.packages,
        "c_flags": flags, "assembler_flags": assembler_flags(flags), "machine_flags": list(board.link_flags),
        "link_flags": list(BARE_LINK_FLAGS), "defines": defines, "ports": list(board.ports),
        "size": {"flash": list(_FLASH_SECTIONS), "ram": list(_RAM_SECTIONS)}, "binaries": _binaries(firmware),
        "files": _files(firmware), "build_id": firmware.build_id,
    }
    if board.emulator:
        e = board.emulator
        recipe["emulator"] = {"program": e.program, "machine": e.machine, "args": list(e.args),
                              "package": PACKAGES.get(e.program, e.program)}
    return {
        "name": board.title, "vendor": "recurc", "url": "",
        "build": {"cpu": board.core, "mcu": board.name, "f_cpu": f"{board.clock_hz}L"},
        "upload": {"maximum_size": room("code", "image"), "maximum_ram_size": room("arena", "data", "stack"),
                   "protocol": "custom", "protocols": ["custom"]},
        "recurc": recipe,
    }


def _environment(firmware: BoardFirmware, index: int) -> dict[str, Any]:
    board = firmware.board
    return {
        "name": firmware.env, "board": environment_name(board.name), "title": board.title, "emulator": board.emulator is not None,
        "upload_port": f"socket://127.0.0.1:{EMULATOR_PORT + index}", "baud": board.uart.baud,
    }


def _copy_runtime(folder: Path, runtime: Path, firmwares: Sequence[BoardFirmware], sources: Sources) -> None:
    """The runtime as a library: the files that these boards need, and every header."""
    shutil.copytree(runtime / "include", folder / "include")
    wanted = {file for f in firmwares for file in firmware_sources(f.board, sources, runtime)[0]}
    used = {file.parent for file in wanted} | {runtime / "ports" / port for f in firmwares for port in f.board.ports}
    wanted |= {header for parent in used for header in parent.glob("*.h")}
    for file in sorted(wanted):
        target = folder / "src" / file.relative_to(runtime)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def write_platformio(build: Path, sources: Sources, runtime: Path, firmwares: Sequence[BoardFirmware],
                     details: Mapping[str, Any]) -> Path:
    """Write the PlatformIO project of a build: the target's environment first, then its emulated twin's.

    Args:
        build: the build folder; the project becomes its folder `project`.
        runtime: the build's copy of the C runtime.
        details: "name", "precision", "label" of the model, for the README.

    Returns:
        The project's folder.
    """
    folder, env = build / PROJECT, template_environment()
    templates = resource_dir("templates") / "platformio"
    (folder / "src").mkdir(parents=True)
    for file in sorted(sources.folder.iterdir()):
        shutil.copyfile(file, folder / "src" / file.name)
    _copy_runtime(folder / LIBRARY, runtime, firmwares, sources)
    shutil.copytree(templates / "platform", folder / "pio" / "platform-recurc", ignore=shutil.ignore_patterns("main.py", "__pycache__"))
    (folder / "pio" / "platform-recurc" / "builder").mkdir()
    shutil.copyfile(templates / "platform" / "main.py", folder / "pio" / "platform-recurc" / "builder" / "main.py")
    for name in ("firmware_flags.py", *(("emulate.py",) if any(f.board.emulator for f in firmwares) else ())):
        shutil.copyfile(templates / name, folder / "pio" / name)
    texts: dict[str, str] = {}
    for f in firmwares:
        texts[f"src/boards/{f.env}/main.c"] = render_main(f.build_id)
        texts[f"pio/ld/{f.env}.ld"] = linker_script(f.board, f.plan)
        texts[f"boards/{f.env}.json"] = json.dumps(_board_json(f), indent=2) + "\n"
    if any(f.plan.table for f in firmwares):
        (folder / TABLE_COPY).parent.mkdir()
        shutil.copyfile(build / TABLE_FILE, folder / TABLE_COPY)
    context = {**details, "version": __version__, "envs": [_environment(f, i) for i, f in enumerate(firmwares)]}
    for name in ("platformio.ini", "README.md"):
        texts[name] = env.get_template(f"platformio/{name}.j2").render(**context)
    texts[str(LIBRARY / "library.json")] = env.get_template("platformio/library.json.j2").render(version=__version__)
    texts[".gitignore"] = ".pio/\n"
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def find_environment(board: Board) -> Optional[str]:
    """Name of a board's environment in its build's project; None for this computer, which needs no project."""
    return None if board.family == "host" else environment_name(board.name)
