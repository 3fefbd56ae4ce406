"""Builds driver.c with its vectors for a board (or this computer), runs it, and compares every byte with the twin."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from recurc.device.transports import TransportClosed
from recurc.emit.linker import render_linker_script
from recurc.resources import resource_dir
from recurc.targets.boards import Board
from recurc.targets.qemu import QemuTransport
from recurc.targets.toolchain import compile_firmware, port_include_dirs
from tests.kernels.vectors import Case
from tests.placing import default_placement

HERE = Path(__file__).parent
ARENA_BYTES = 96 * 1024
RUN_SECONDS = 60.0


def build(
    board: Board, cases: Sequence[Case], variants: frozenset[str], out: Path, flags: Sequence[str] = (), heap: bool = False
) -> Path:
    """firmware.elf that runs the cases."""
    runtime = resource_dir("runtime_c")
    out.mkdir(parents=True, exist_ok=True)
    (out / "vectors.bin").write_bytes(b"".join(c.record() for c in cases))
    kernels = runtime / "kernels"
    sources = sorted((kernels / "portable").glob("*.c"))
    defines: dict[str, int | str | None] = {"VECTORS_PATH": "vectors.bin", "ARENA_BYTES": ARENA_BYTES}
    for variant, folder in (("dsp", "dsp"), ("mve", "mve"), ("v", "rvv"), ("host", "host")):
        if variant in variants:
            defines[f"DRIVER_{variant.upper()}"] = 1
            sources += sorted((kernels / folder).glob("*.c"))
    if heap:
        defines["DRIVER_HEAP"] = 1
    ports = [f for port in board.ports for f in sorted((runtime / "ports" / port).glob("*.[cS]"))]
    script = None
    if board.family != "host":
        script = out / "firmware.ld"
        script.write_text(render_linker_script(board, default_placement(board)))
    return compile_firmware(
        board,
        [HERE / "driver.c", HERE / "vectors.S", *sources, *ports],
        port_include_dirs(board, runtime),
        defines,
        script,
        out,
        flags,
    )


def run_here(elf: Path, variant: str = "portable", under: Sequence[str] = ()) -> tuple[bytes, int, str]:
    """Run a host build with a variant of its kernels: what it wrote, its exit status, what it said on stderr.

    Args:
        under: a command that runs programs of another architecture.
    """
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "RECURC_KERNELS": variant}  # the driver frees nothing
    done = subprocess.run([*under, str(elf)], capture_output=True, stdin=subprocess.DEVNULL, timeout=RUN_SECONDS, env=env)
    return done.stdout, done.returncode, done.stderr.decode(errors="replace")


def run_emulated(board: Board, elf: Path, expected: int) -> bytes:
    """Run a firmware in QEMU until it ends or has sent `expected` bytes and more."""
    transport, heard = QemuTransport(board, elf), bytearray()
    deadline = time.monotonic() + RUN_SECONDS
    try:
        while time.monotonic() < deadline and len(heard) <= expected:
            heard += transport.read(1.0)
    except TransportClosed:
        pass
    finally:
        transport.close()
    return bytes(heard)


def compare(cases: Sequence[Case], heard: bytes) -> list[str]:
    """Names of the cases whose outputs differ, the first differing byte with each; "" when all is equal."""
    wrong, at = [], 0
    for case in cases:
        want = case.expected()
        got = heard[at : at + len(want)]
        at += len(want)
        if got != want:
            first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), len(got))
            wrong.append(f"{case.op} {case.name}: byte {first} of {len(want)}, {len(got)} came")
    if len(heard) > at:
        wrong.append(f"{len(heard) - at} bytes too many")
    return wrong
