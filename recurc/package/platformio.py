"""The PlatformIO project of a build: same sources, same flags, same ELF as the direct call of the compiler."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recurc import __version__
from recurc.build.manifest import PROJECT, TABLE_FILE
from recurc.emit.linker import render_main
from recurc.files import put
from recurc.package.firmware import Sources, firmware_sources, linker_script, table_defines
from recurc.plan.planner import MemoryPlan
from recurc.quoting import environment, markdown_code
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.qemu import PACKAGES
from recurc.targets.toolchain import BARE_LINK_FLAGS, TOOLCHAINS, assembler_flags, board_defines, compile_flags, macro_text
from recurc.targets.uploads import Stock

EMULATOR_PORT = 45870  # first TCP port that an emulated board's UART is offered on
LIBRARY = Path("lib/recurc_runtime")
# The platform's own: in the project's folder they would hide stock boards of the same name.
PLATFORM = "pio/platform-recurc"
BOARDS = f"{PLATFORM}/boards"
TABLE_COPY, WEIGHTS_FILE = "data/puzzles.rct", "weights.bin"
_FLASH_SECTIONS = (".text", ".ARM.exidx", ".recurc_image", ".rodata", ".data")
_RAM_SECTIONS = (".stack", ".data", ".bss", ".recurc_arena")


@dataclass(frozen=True)
class BoardFirmware:
    """What a project needs to know of one board's firmware: its exact plan and the build id that HELLO tells."""

    board: Board
    plan: MemoryPlan
    build_id: str

    @property
    def stock(self) -> Stock | None:
        """PlatformIO's own platform for it; None where there is none, or where its uploader would not write all."""
        return None if external_image(self) else self.board.platformio

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
    """Files for flash chips -> what objcopy takes of the ELF for each."""
    if firmware.board.emulator:
        return {}
    main = f"firmware.{firmware.board.flash.format if firmware.board.flash else 'bin'}"
    return {main: "-R .recurc_image", WEIGHTS_FILE: "-j .recurc_image"} if external_image(firmware) else {main: ""}


def apart(firmware: BoardFirmware) -> list[dict[str, Any]]:
    """What lies in a board's memory beside the main flash: weights in another chip, a mapped puzzle table.

    Of each: file (within PlatformIO's build folder when `built`, else within the project), address, bytes, region.
    """
    plan, found = firmware.plan, []
    if external_image(firmware):
        section = plan.section(".recurc_image")
        found.append(
            {
                "file": WEIGHTS_FILE,
                "built": True,
                "address": f"{section.address:#x}",
                "bytes": section.bytes,
                "region": section.region,
            }
        )
    if plan.table:
        found.append(
            {
                "file": TABLE_COPY,
                "built": False,
                "address": f"{plan.table.address:#x}",
                "bytes": plan.table.bytes,
                "region": plan.table.region,
            }
        )
    return found


def _board_json(firmware: BoardFirmware) -> dict[str, Any]:
    """The board as PlatformIO knows boards, with recurc's recipe for its firmware."""
    board, plan = firmware.board, firmware.plan
    toolchain = TOOLCHAINS[board.family]
    flags = compile_flags(board)
    defines = {k: macro_text(v) for k, v in {**table_defines(plan), **board_defines(board)}.items()}

    def room(*parts: str) -> int:
        return sum(board.region(name).size for name in {plan.placement[part] for part in parts})

    recipe: dict[str, Any] = {
        "board": firmware.env,
        "compilers": list(toolchain.commands),
        "variable": toolchain.variable,
        "packages": toolchain.packages,
        "c_flags": flags,
        "assembler_flags": assembler_flags(flags),
        "machine_flags": list(board.link_flags),
        "link_flags": list(BARE_LINK_FLAGS),
        "defines": defines,
        "ports": list(board.ports),
        "size": {"flash": list(_FLASH_SECTIONS), "ram": list(_RAM_SECTIONS)},
        "binaries": _binaries(firmware),
        "build_id": firmware.build_id,
    }
    if board.emulator:
        e = board.emulator
        recipe["emulator"] = {
            "program": e.program,
            "machine": e.machine,
            "args": list(e.args),
            "package": PACKAGES.get(e.program, e.program),
        }
        recipe["files"] = [f for f in apart(firmware) if not f["built"]]  # QEMU loads the rest with the ELF
    else:
        recipe["flash_base"] = f"{board.region(plan.placement['code']).base:#x}"
        recipe["flash"] = asdict(board.flash) if board.flash else {}
        recipe["apart"] = apart(firmware)
    return {
        "name": board.title,
        "vendor": "recurc",
        "url": "",
        "build": {"cpu": board.core, "mcu": board.name, "f_cpu": f"{board.clock_hz}L"},
        "upload": {
            "maximum_size": room("code", "image"),
            "maximum_ram_size": room("arena", "data", "stack"),
            "protocol": "custom",
            "protocols": ["custom"],
        },
        "recurc": recipe,
    }


_REACH = {
    "emulated": "runs in recurc's tests",
    "compiled": "compiled in recurc's tests; neither firmware nor upload has been run on the part",
    "written": "not compiled by recurc's tests",
    "described": "not built by recurc's tests",
}


def _how(board: Board) -> str:
    """The upload of a board, for people."""
    if board.emulator:
        return f"starts {board.emulator.program}"
    if board.flash is None:
        return "none known: use your own tool"
    if board.flash.disk:
        return "copied to the boot loader's disk" if board.flash.disk == "uf2" else "copied to the debug probe's disk"
    return markdown_code(board.flash.command[0])


def _environment(firmware: BoardFirmware, index: int) -> dict[str, Any]:
    board = firmware.board
    return {
        "name": firmware.env,
        "board": firmware.env,
        "title": board.title,
        "emulator": board.emulator is not None,
        "upload_port": f"socket://127.0.0.1:{EMULATOR_PORT + index}",
        "baud": board.uart.baud,
        "stock": firmware.stock,
        "how": _how(board),
        "reach": _REACH[board.verified],
        "hint": board.flash.hint if board.flash else "",
        "apart": apart(firmware),
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


def write_platformio(
    build: Path, sources: Sources, runtime: Path, firmwares: Sequence[BoardFirmware], details: Mapping[str, Any]
) -> Path:
    """Write the PlatformIO project of a build: the target's environment first, then its emulated twin's.

    Args:
        build: the build folder; the project becomes its folder `project`.
        runtime: the build's copy of the C runtime.
        details: "name", "precision", "label" of the model, for the README.

    Returns:
        The project's folder.
    """
    folder, env = build / PROJECT, environment()
    templates = resource_dir("templates") / "platformio"
    (folder / "src").mkdir(parents=True)
    for file in sorted(sources.folder.iterdir()):
        shutil.copyfile(file, folder / "src" / file.name)
    _copy_runtime(folder / LIBRARY, runtime, firmwares, sources)
    for name in ("platform.json", "platform.py", "builder/main.py"):
        (folder / PLATFORM / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(templates / "platform" / name, folder / PLATFORM / name)
    for name in ("firmware_flags.py", "upload.py", *(("stock.py",) if any(f.stock for f in firmwares) else ())):
        shutil.copyfile(templates / name, folder / "pio" / name)
    texts: dict[str, str] = {}
    for f in firmwares:
        texts[f"src/boards/{f.env}/main.c"] = render_main(f.build_id)
        texts[f"pio/ld/{f.env}.ld"] = linker_script(f.board, f.plan)
        texts[f"{BOARDS}/{f.env}.json"] = json.dumps(_board_json(f), indent=2) + "\n"
    if any(f.plan.table for f in firmwares):
        (folder / TABLE_COPY).parent.mkdir()
        shutil.copyfile(build / TABLE_FILE, folder / TABLE_COPY)
    context = {
        **details,
        "version": __version__,
        "envs": [_environment(f, i) for i, f in enumerate(firmwares)],
        "packages": sorted({TOOLCHAINS[f.board.family].packages for f in firmwares}),
    }
    for name in ("platformio.ini", "README.md"):
        texts[name] = env.get_template(f"platformio/{name}.j2").render(**context)
    texts[str(LIBRARY / "library.json")] = env.get_template("platformio/library.json.j2").render(version=__version__)
    texts[".gitignore"] = ".pio/\n"
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(folder / name, text)
    return folder
