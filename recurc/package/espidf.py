"""The format "espidf": a project for a chip that only its own SDK compiles, through PlatformIO. Nothing is compiled here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from recurc import __version__
from recurc.build.listing import TABLE_FILE
from recurc.build.manifest import PROJECT, Build
from recurc.emit.runtime import copy_runtime
from recurc.emit.sources import Sources, engine_files, firmware_id
from recurc.errors import InputError
from recurc.files import put
from recurc.package.base import Made, Package, Upload, UploadOptions, Work, planned, with_identity
from recurc.package.pio import TABLE_COPY, environment_name, upload
from recurc.plan.layout import align_up
from recurc.plan.planner import MemoryPlan
from recurc.quoting import environment
from recurc.targets.boards import Board
from recurc.targets.toolchain import C_FLAGS, runtime_sources

APP, WEIGHTS, PUZZLES = "factory", "weights", "puzzles"
SECTOR = 0x1000  # flash is erased, and partitions begin and end, in these
APP_ALIGN = 0x10000
FIRST_FREE = 0x9000  # after boot loader and partition table
WEIGHTS_COPY = "data/weights.rcm"
USB = "-usb"  # the second environment's suffix: the wire is the chip's own USB
_COMPONENT = Path("components/recurc")
_PLACEHOLDER = "0" * 32


@dataclass(frozen=True)
class Partition:
    """One line of partitions.csv: offset and size in bytes of the flash chip. `file` is what the upload writes there."""

    name: str
    type: str
    subtype: str
    offset: int
    size: int
    file: str = ""
    bytes: int = 0
    flags: str = ""


def partitions(board: Board, plan: MemoryPlan) -> tuple[Partition, ...]:
    """The partition table of a plan: regions in flash hold offsets there, so its addresses are the partitions' own."""
    code = board.region(plan.placement["code"])
    image = plan.section(".recurc_image")
    found = [
        Partition(APP, "app", "factory", code.base, code.size),
        Partition(WEIGHTS, "0x40", "0x00", image.address, align_up(image.bytes, SECTOR), WEIGHTS_COPY, image.bytes, "readonly"),
    ]
    if plan.table is not None:
        found.append(Partition(PUZZLES, "0x40", "0x01", plan.table.address, align_up(plan.table.bytes, SECTOR), TABLE_COPY,
                               plan.table.bytes, "readonly"))  # fmt: skip
    end = FIRST_FREE
    for p in found:
        assert p.offset % (APP_ALIGN if p.type == "app" else SECTOR) == 0 and p.offset >= end, p
        end = p.offset + p.size
    assert end <= flash_bytes(board), found
    return tuple(found)


def flash_bytes(board: Board) -> int:
    """Size of the flash chip that the regions outside RAM are parts of."""
    return max(r.end for r in board.regions if not r.writable)


def sdkconfig(board: Board, plan: MemoryPlan) -> list[str]:
    """Lines of ESP-IDF's configuration: the board's own and what this firmware needs."""
    assert board.platformio is not None
    external = board.region(plan.placement["arena"]).kind == "external-ram"
    return [
        *board.platformio.sdkconfig,
        *(["CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY=y"] if external else []),
        f"CONFIG_ESPTOOLPY_FLASHSIZE_{flash_bytes(board) >> 20}MB=y",
        "CONFIG_PARTITION_TABLE_CUSTOM=y", Markup('CONFIG_PARTITION_TABLE_CUSTOM_FILENAME="partitions.csv"'),
        "CONFIG_COMPILER_OPTIMIZATION_PERF=y", "CONFIG_APP_REPRODUCIBLE_BUILD=y",
        f"CONFIG_ESP_MAIN_TASK_STACK_SIZE={plan.stack_bytes}", "CONFIG_ESP_MAIN_TASK_AFFINITY_CPU0=y",
        # The firmware starts the task watchdog itself; idle tasks get no time while a puzzle is solved.
        "CONFIG_ESP_TASK_WDT_EN=y", "CONFIG_ESP_TASK_WDT_INIT=n",
        # The wire is no log.
        "CONFIG_BOOTLOADER_LOG_LEVEL_NONE=y", "CONFIG_LOG_DEFAULT_LEVEL_NONE=y",
        "CONFIG_ESP_CONSOLE_UART_DEFAULT=y", "CONFIG_ESP_CONSOLE_SECONDARY_NONE=y",
    ]  # fmt: skip


def _copy_component(folder: Path, board: Board, sources: Sources, runtime: Path) -> list[str]:
    """Model and runtime as one component of ESP-IDF: their calls go both ways. Returns its C files."""
    (folder / "model").mkdir(parents=True)
    for name in ("model.c", "model_config.h"):
        shutil.copyfile(sources.folder / name, folder / "model" / name)
    files = copy_runtime(
        runtime, folder / "runtime", [*engine_files(sources.kernels, runtime), *runtime_sources(board, runtime)]
    )
    return ["model/model.c", *(f"runtime/{name}" for name in files)]


class EspidfPackage(Package):
    """A project folder for ESP-IDF. Nothing in it depends on where it lies. Sizes of code and variables are estimates."""

    name = "espidf"
    title = "ESP-IDF project"
    folder = PROJECT
    uploads = True

    def check(self, board: Board) -> None:
        if board.platformio is None or board.platformio.framework != self.name:
            raise InputError(
                "the board's file is not right", where=str(board.path), why="packages names espidf, [platformio] does not",
                next='Write framework = "espidf" there',
            )  # fmt: skip

    def write(self, work: Work, made: Made | None) -> Made:
        work.note(f"writing the project for {work.target.name} ...")
        made = made or planned(work)
        plan = made.firmware[0].plan
        return with_identity(work, made.sources, plan, _write(work, made.sources, plan))

    def upload(self, build: Build, board: Board, options: UploadOptions) -> Upload:
        return upload(build, board, replace(options, stock=False))


def _write(work: Work, sources: Sources, plan: MemoryPlan) -> str:
    """Write the project; returns the build id that HELLO will tell."""
    board, build, runtime = work.target, work.folder, work.runtime
    assert board.platformio is not None
    folder, env = build / PROJECT, environment()
    files = _copy_component(folder / _COMPONENT, board, sources, runtime)
    (folder / "data").mkdir()
    shutil.copyfile(sources.folder / "model.rcm", folder / WEIGHTS_COPY)
    if plan.table is not None:
        shutil.copyfile(build / TABLE_FILE, folder / TABLE_COPY)
    flags = [f for f in C_FLAGS if f.startswith(("-O", "-f")) and "sections" not in f]  # warnings and sections are ESP-IDF's
    context = {
        **work.told, "version": __version__, "board": board, "stock": board.platformio, "name_of": environment_name(board.name),
        "usb": USB, "partitions": partitions(board, plan), "sdkconfig": sdkconfig(board, plan), "flags": flags, "files": files,
        "external": board.region(plan.placement["arena"]).kind == "external-ram", "arena": plan.section(".recurc_arena"),
        "table": plan.table, "ports": [f"runtime/ports/{p}" for p in board.ports], "flash_mb": flash_bytes(board) >> 20,
        "defines": {key: value for key, value in board.defines.items() if isinstance(value, int)},
    }  # fmt: skip

    def text(template: str, **more: Any) -> str:
        return env.get_template(f"espidf/{template}.j2").render(**context, **more)

    texts = {name: text(name) for name in ("platformio.ini", "CMakeLists.txt", "sdkconfig.defaults", "partitions.csv")}
    texts["src/CMakeLists.txt"] = text("main_CMakeLists.txt")
    texts[str(_COMPONENT / "CMakeLists.txt")] = text("component_CMakeLists.txt")
    texts["pio/partition_data.py"] = text("partition_data.py")
    # What the firmware is compiled from names it, apart from the id itself.
    identity = firmware_id(board, sources, runtime, text("main.c", build_id=_PLACEHOLDER), *texts.values())
    texts["src/main.c"] = text("main.c", build_id=identity)
    texts["README.md"] = text("README.md", build_id=identity)
    texts[".gitignore"] = ".pio/\nbuild/\nsdkconfig\nsdkconfig.*\n!sdkconfig.defaults\n"
    for name, content in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(folder / name, content)
    return identity


PACKAGE = EspidfPackage()
