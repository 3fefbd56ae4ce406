"""The format "platformio": a project with the same sources, flags and ELF as the direct call of the compiler."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recurc import __version__
from recurc.build.listing import TABLE_FILE
from recurc.build.manifest import PROJECT, Build
from recurc.emit.code import OP_NAMES
from recurc.emit.linker import render_main
from recurc.emit.runtime import copy_runtime
from recurc.emit.sources import firmware_sources, linker_script, table_defines
from recurc.errors import InputError
from recurc.files import put
from recurc.package.base import BoardFirmware, Made, Package, Upload, UploadOptions, Work
from recurc.package.pio import BOARDS, PLATFORM, TABLE_COPY, environment_name, stop, upload
from recurc.quoting import environment, markdown_code
from recurc.resources import resource_dir
from recurc.targets.boards import COMPILED, Board
from recurc.targets.qemu import PACKAGES
from recurc.targets.reach import reach_text
from recurc.targets.toolchain import (
    BARE_LINK_FLAGS,
    TOOLCHAINS,
    assembler_flags,
    board_defines,
    check_linkable,
    compile_flags,
    macro_text,
)
from recurc.targets.uploads import Stock

EMULATOR_PORT = 45870  # first TCP port that an emulated board's UART is offered on
LIBRARY = Path("lib/recurc_runtime")
WEIGHTS_FILE = "weights.bin"
_FLASH_SECTIONS = (".text", ".ARM.exidx", ".recurc_image", ".rodata", ".data")
_RAM_SECTIONS = (".stack", ".data", ".bss", ".recurc_arena")


def stock_of(firmware: BoardFirmware) -> Stock | None:
    """PlatformIO's own platform for a board; None where there is none, or where its uploader would not write all."""
    return None if external_image(firmware) else firmware.board.platformio


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
        "board": environment_name(firmware.board.name),
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
        route = asdict(board.flash) if board.flash else {}
        recipe["flash"] = {key: value for key, value in route.items() if key != "words" or value}
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
        "name": environment_name(board.name),
        "board": environment_name(board.name),
        "title": board.title,
        "emulator": board.emulator is not None,
        "upload_port": f"socket://127.0.0.1:{EMULATOR_PORT + index}",
        "baud": board.uart.baud,
        "stock": stock_of(firmware),
        "how": _how(board),
        "reach": reach_text(board.family, board.verified),
        "hint": board.flash.hint if board.flash else "",
        "apart": apart(firmware),
    }


def _write(work: Work, made: Made) -> None:
    folder, env, firmware, sources = work.folder / PROJECT, environment(), made.firmware, made.sources
    templates = resource_dir("templates") / "platformio"
    (folder / "src").mkdir(parents=True)
    for file in sorted(sources.folder.iterdir()):
        if file.name != OP_NAMES:  # a firmware prints none
            shutil.copyfile(file, folder / "src" / file.name)
    boards = [f.board for f in firmware]
    files = [file for board in boards for file in firmware_sources(board, sources, work.runtime)[0]]
    ports = [work.runtime / "ports" / port for board in boards for port in board.ports]
    copy_runtime(work.runtime, folder / LIBRARY, files, beside=ports, sources="src")
    for name in ("platform.json", "platform.py", "builder/main.py"):
        (folder / PLATFORM / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(templates / "platform" / name, folder / PLATFORM / name)
    for name in ("firmware_flags.py", "upload.py", *(("stock.py",) if any(stock_of(f) for f in firmware) else ())):
        shutil.copyfile(templates / name, folder / "pio" / name)
    texts: dict[str, str] = {}
    for f in firmware:
        name = environment_name(f.board.name)
        texts[f"src/boards/{name}/main.c"] = render_main(f.build_id)
        texts[f"pio/ld/{name}.ld"] = linker_script(f.board, f.plan)
        texts[f"{BOARDS}/{name}.json"] = json.dumps(_board_json(f), indent=2) + "\n"
    if any(f.plan.table for f in firmware):
        (folder / TABLE_COPY).parent.mkdir()
        shutil.copyfile(work.folder / TABLE_FILE, folder / TABLE_COPY)
    context = {
        **work.told,
        "version": __version__,
        "envs": [_environment(f, i) for i, f in enumerate(firmware)],
        "packages": sorted({TOOLCHAINS[f.board.family].packages for f in firmware}),
    }
    for name in ("platformio.ini", "README.md"):
        texts[name] = env.get_template(f"platformio/{name}.j2").render(**context)
    texts[str(LIBRARY / "library.json")] = env.get_template("platformio/library.json.j2").render(version=__version__)
    texts[".gitignore"] = ".pio/\n"
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(folder / name, text)


class PlatformioPackage(Package):
    """A project for PlatformIO: the target's environment first, then its emulated twin's. It comes after "firmware"."""

    name = "platformio"
    title = "PlatformIO project"
    folder = PROJECT
    uploads = True

    def check(self, board: Board) -> None:
        if COMPILED not in board.packages[: board.packages.index(self.name)]:
            raise InputError(
                "the board's file is not right", where=str(board.path), why=f"{self.name} comes after {COMPILED} in packages",
                next=f'Write packages = ["{COMPILED}", "{self.name}"]',
            )  # fmt: skip
        check_linkable(board)

    def write(self, work: Work, made: Made | None) -> Made:
        assert made is not None  # `check`
        _write(work, made)
        return made

    def upload(self, build: Build, board: Board, options: UploadOptions) -> Upload:
        return upload(build, board, options)

    def stop(self, build: Build, board: Board, port: str) -> bool:
        return stop(build, board, port)


PACKAGE = PlatformioPackage()
