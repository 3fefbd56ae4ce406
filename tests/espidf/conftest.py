"""One build for the ESP32-S3 with a puzzle table, and its project as a process here, with stand-ins for ESP-IDF."""

from __future__ import annotations

import os
import re
import subprocess
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from recurc.api import Gate, Model
from recurc.build.manifest import PROJECT, Build
from tests.randmodels import random_reasoner

HERE = Path(__file__).parent
TARGET = "esp32-s3-n8r8"
GOOD = Gate(1.0, 1, "calibration puzzles", ())
WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -Wdouble-promotion -Werror".split()
FLASH_BYTES = 8 << 20


@dataclass(frozen=True)
class Row:
    """A line of partitions.csv."""

    name: str
    type: str
    subtype: str
    offset: int
    size: int


@pytest.fixture(scope="session")
def quantized():
    return Model(random_reasoner(puzzles=5), "tiny").quantize("int4", method="min-max", puzzle_table="int8")


@pytest.fixture(scope="session")
def made(quantized, tmp_path_factory) -> Build:
    return quantized.build(TARGET, tmp_path_factory.mktemp("esp") / "out", gate=GOOD)


@pytest.fixture(scope="session")
def project(made) -> Path:
    return made.path / PROJECT


def partition_rows(project: Path) -> list[Row]:
    lines = [line for line in (project / "partitions.csv").read_text().splitlines() if not line.startswith("#")]
    cells = [[c.strip() for c in line.split(",")] for line in lines]
    return [Row(c[0], c[1], c[2], int(c[3], 0), int(c[4], 0)) for c in cells]


def extra_images(project: Path, upload: str = "all") -> list[tuple[int, Path]]:
    """What pio/partition_data.py adds to PlatformIO's upload."""
    found: list[tuple[str, str]] = []

    class Env:
        def Append(self, **more):
            found.extend(more.pop("FLASH_EXTRA_IMAGES"))
            assert not more

    scope = {"Import": lambda name: None, "env": Env()}
    before = os.environ.get("RECURC_UPLOAD")
    os.environ["RECURC_UPLOAD"] = upload
    try:
        exec(compile((project / "pio" / "partition_data.py").read_text(), "partition_data.py", "exec"), scope)
    finally:
        os.environ.pop("RECURC_UPLOAD")
        if before is not None:
            os.environ["RECURC_UPLOAD"] = before
    return [(int(offset, 0), Path(file.replace("$PROJECT_DIR", str(project)))) for offset, file in found]


def fake_sdkconfig(project: Path) -> str:
    """sdkconfig.defaults as C macros, as ESP-IDF makes sdkconfig.h."""
    lines = re.findall(r"^(CONFIG_\w+)=(.+)$", (project / "sdkconfig.defaults").read_text(), re.M)
    return "".join(f"#define {key} {1 if value == 'y' else value}\n" for key, value in lines if value != "n")


def compiler_call(project: Path, work: Path, usb: bool) -> tuple[list[str], list[Path]]:
    """gcc with the flags, macros and folders of the component's CMakeLists.txt and the stand-ins; and its C files."""
    component = project / "components" / "recurc"
    cmake = (component / "CMakeLists.txt").read_text()
    files = [component / f for f in re.findall(r'^ +"(\S+\.c)"$', cmake, re.M)]
    folders = [component / f for f in re.findall(r'"(\S+?)"', re.search(r"INCLUDE_DIRS (.+)", cmake)[1])]
    flags = re.search(r"target_compile_options\(\$\{COMPONENT_LIB\} PRIVATE (.+)\)", cmake)[1].split()
    macros = re.search(r"target_compile_definitions\(\$\{COMPONENT_LIB\} PRIVATE (.+)\)", cmake)[1].split()
    work.mkdir(exist_ok=True)
    (work / "fake_sdkconfig.h").write_text(fake_sdkconfig(project))
    call = ["gcc", *flags, *(f"-D{m}" for m in macros), *(["-DRC_WIRE_USB=1"] if usb else []), f"-I{work}",
            "-isystem", str(HERE / "stubs"), *(f"-I{f}" for f in folders)]  # fmt: skip
    return call, [project / "src" / "main.c", *files]


@pytest.fixture(scope="session")
def programs(project, tmp_path_factory) -> dict[str, Path]:
    """The firmware as a process: by wire, "uart" and "usb"."""
    found, objects, work = {}, {}, tmp_path_factory.mktemp("firmware")
    cmake = (project / "src" / "CMakeLists.txt").read_text()
    wrapped = re.search(r'target_link_libraries\(\$\{COMPONENT_LIB\} INTERFACE "(.+)"\)', cmake)[1]
    for wire in ("uart", "usb"):
        call, files = compiler_call(project, work, wire == "usb")
        for file in (*files, HERE / "fake_idf.c", HERE / "fake_panic.c"):
            if file not in objects or "esp_idf" in str(file):  # only the port knows the wire
                objects[file] = work / f"{file.stem}.o"
                subprocess.run([*call, "-c", str(file), "-o", str(objects[file])], check=True)
        found[wire] = work / wire
        subprocess.run(["gcc", wrapped, *map(str, objects.values()), "-o", str(found[wire])], check=True)
    return found


def flash_image(project: Path, out: Path) -> dict[str, str]:
    """The flash chip after an upload, in a file, and what the stand-ins are told of it."""
    chip = bytearray(b"\xff" * FLASH_BYTES)
    for offset, file in extra_images(project):
        data = file.read_bytes()
        chip[offset : offset + len(data)] = data
    out.write_bytes(chip)
    rows = [r for r in partition_rows(project) if r.type != "app"]
    told = "".join(f"{int(r.type, 0)},{int(r.subtype, 0)},{r.offset},{r.size};" for r in rows)
    return {"RC_FLASH": str(out), "RC_PARTITIONS": told}


@contextmanager
def running(program: Path, variables: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The firmware on a pseudo-terminal: (port, process)."""
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    process = subprocess.Popen([str(program)], stdin=master, stdout=master, stderr=subprocess.PIPE, env=variables)
    try:  # both ends stay open: what a firmware said before it ended is still to be read
        yield os.ttyname(slave), process
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
