"""Builds and runs the libFuzzer targets of this folder, with AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from recurc.resources import resource_dir
from tests.device import dummy_build as dummy

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
FLAGS = (
    "-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all", "-fsanitize=fuzzer,address,undefined",
)  # fmt: skip
WIRE = ("wire/rc_frame.c", "wire/rc_cobs.c", "image/rc_crc32.c")
TABLE = ("image/rc_table.c", "image/rc_crc32.c")
SERVER = (
    *(f"wire/rc_{part}.c" for part in ("server", "hello", "solving", "trace", "selftest")),
    *("solve/rc_solve.c", "solve/rc_known.c", "image/rc_table.c", "image/rc_sha256.c"),
)
# Target -> (runtime files, files of the tests, longest input)
TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], int]] = {
    "receiver": (WIRE, (), 2200),
    "server": ((*WIRE, *SERVER), ("port.c", "model.c"), 1500),
    "image": (tuple(f"image/rc_{part}.c" for part in ("image", "crc32", "sha256")), (), 64),
    "table": (TABLE, (), 200),
}


@dataclass(frozen=True)
class Report:
    """What a fuzzer did: executions, executions a second, edges of the code it reached."""

    runs: int
    per_second: int
    covered: int


class Crash(Exception):
    """The fuzzer found something; its text says what, and where the input is."""


def compiler() -> str | None:
    """Path of clang, None when it is not installed."""
    return shutil.which("clang")


def build(name: str, folder: Path) -> Path:
    """The fuzzer of a target, in `folder`. Streams rows of 601 int8 values, where the target has a model."""
    runtime, own, _ = TARGETS[name]
    base = resource_dir("runtime_c")
    data = ", ".join(map(str, dummy.image_bytes()))
    header = f"#include <stdint.h>\nstatic const _Alignas(64) uint8_t fuzz_image[] = {{{data}}};\n"
    (folder / "fuzz_image.h").write_text(header)
    program = folder / f"fuzz_{name}"
    command = [str(compiler()), *FLAGS, "-DDUMMY_TABLE=2", "-DDUMMY_CARRY=2", f"-I{folder}", f"-I{dummy.DUMMY}",
               f"-I{base / 'include'}", str(FOLDER / f"fuzz_{name}.c"), *(str(dummy.DUMMY / f) for f in own),
               *(str(base / f) for f in runtime), "-lm", "-o", str(program)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Crash(done.stderr)
    return program


def fuzz(program: Path, name: str, kept: Path, runs: int = 0, seconds: int = 0, seed: int = 0) -> Report:
    """Run a fuzzer on its corpus and on `kept`, which takes what it finds.

    Raises:
        Crash: an input that makes the code under test misbehave; its file is named.
    """
    kept.mkdir(parents=True, exist_ok=True)
    limit = [f"-runs={runs}"] if runs else [f"-max_total_time={seconds}"]
    command = ["nice", "-n", "19", str(program), *limit, f"-max_len={TARGETS[name][2]}", "-print_final_stats=1",
               "-timeout=10", f"-seed={seed}", "-rss_limit_mb=1024", f"-artifact_prefix={kept}/found-", str(kept),
               str(CORPUS / name)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Crash(done.stderr[-6000:])
    number = {key: int(value) for key, value in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    covered = [int(n) for n in re.findall(r" cov: (\d+)", done.stderr)]
    return Report(number["number_of_executed_units"], number["average_exec_per_sec"], max(covered, default=0))


def merge(program: Path, name: str, kept: Path) -> None:
    """Take into the corpus the fewest inputs that reach all that corpus and `kept` reach."""
    fewest = kept.parent / f"{name}-fewest"
    shutil.rmtree(fewest, ignore_errors=True)
    fewest.mkdir()
    subprocess.run(
        [str(program), "-merge=1", f"-max_len={TARGETS[name][2]}", str(fewest), str(CORPUS / name), str(kept)],
        check=True,
        capture_output=True,
    )
    shutil.rmtree(CORPUS / name)
    shutil.copytree(fewest, CORPUS / name)
