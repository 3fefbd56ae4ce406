"""Exact instruction counts from the emulator: of whole layers, and of block calls and supervision steps of real firmware.

QEMU runs with `-icount`, where every instruction advances the board's counter by the same time, so ticks are instructions
(boards/*.toml, `ticks.per_instruction`). The counts are the same on every machine, for one compiler version.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

from recurc.device.transports import TransportClosed
from recurc.plan.kernels import choose_kernels
from recurc.resources import resource_dir
from recurc.targets.boards import Board, load_board
from recurc.targets.linker import default_placement, render_linker_script
from recurc.targets.qemu import QemuTransport
from recurc.targets.toolchain import compile_firmware, port_include_dirs

FIRMWARE = Path(__file__).parent / "firmware"
BOARDS = ("mps2-an500", "mps2-an386", "mps2-an505", "mps3-an547", "riscv32-virt")
SHAPES = ((97, 512, 3072), (97, 1536, 512), (1, 512, 3072))  # rows, depth, channels
_IMAGE_BYTES = 3072 * 512
_RECORD = struct.Struct("<5Q")
_SECONDS = 300.0


@dataclass(frozen=True)
class LayerCount:
    """Instructions of one whole layer on one board: quantizing its rows, the product, scaling to fp32."""

    board: str
    bits: int
    rows: int
    depth: int
    channels: int
    instructions: int

    @property
    def macs(self) -> int:
        return self.rows * self.depth * self.channels


def build_layers(board: Board, out: Path, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> Path:
    """The ELF that measures layers of these shapes (rows, depth, channels) with the board's kernels.

    Raises:
        ToolchainError: no compiler for the board.
    """
    runtime, kernels = resource_dir("runtime_c"), choose_kernels(board.features)
    out.mkdir(parents=True, exist_ok=True)
    image = out / "image.bin"
    image.write_bytes(np.random.default_rng(0).bytes(_IMAGE_BYTES))
    four, eight = kernels.int4, kernels.int8
    assert four.act == eight.act
    defines: dict[str, int | str | None] = {"IMAGE_PATH": str(image), "TILE": kernels.tile, "DEPTH_MULTIPLE": kernels.padded(1)}
    text = {
        "ACT": four.act, "ROWS_TYPE": four.rows_type, "QUANTIZE4": four.quantize, "QUANTIZE8": eight.quantize,
        "TILE4": four.tile, "TILE8": eight.tile,
        "ZERO4": "(m.zero + j)" if kernels.has_zero(4) else "0", "ZERO8": "(m.zero + j)" if kernels.has_zero(8) else "0",
        "TILE_BYTES4(ld)": f"({kernels.weights.tile_bytes(512, 4)}u*((ld)/512u))",
        "TILE_BYTES8(ld)": f"({kernels.weights.tile_bytes(512, 8)}u*((ld)/512u))",
        "CASE_LIST": ",".join("{%du,%du,%du}" % shape for shape in shapes),
    }
    script = out / "firmware.ld"
    script.write_text(render_linker_script(board, default_placement(board)))
    ports = [f for port in board.ports for f in sorted((runtime / "ports" / port).glob("*.[cS]"))]
    sources = [FIRMWARE / "layers.c", FIRMWARE / "image.S", *(runtime / "kernels" / s for s in kernels.sources), *ports]
    return compile_firmware(board, sources, port_include_dirs(board, runtime), defines, script, out,
                            [f"-D{name}={value}" for name, value in text.items()])


def run_layers(board: Board, elf: Path, extra: tuple[str, ...] = (), n: int = 2 * len(SHAPES)) -> list[LayerCount]:
    """Run the ELF of `build_layers` and read its n counts. `extra`: arguments for QEMU."""
    transport, heard = QemuTransport(board, elf, extra), bytearray()
    deadline = time.monotonic() + _SECONDS
    try:
        while len(heard) < n * _RECORD.size and time.monotonic() < deadline:
            heard += transport.read(1.0)
        if extra:  # let a plugin write its file
            while time.monotonic() < deadline:
                transport.read(1.0)
    except TransportClosed:
        pass
    finally:
        transport.close()
    found = []
    for rows, depth, channels, bits, ticks in _RECORD.iter_unpack(bytes(heard[:n * _RECORD.size])):
        found.append(LayerCount(board.name, bits, rows, depth, channels, round(ticks / board.ticks.per_instruction)))
    return found


def count_layers(name: str, out: Path, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> list[LayerCount]:
    """Instructions of layers of these shapes on an emulated board, int4 and int8 of each."""
    board = load_board(name)
    return run_layers(board, build_layers(board, out, shapes), n=2 * len(shapes))
