"""Exact instruction counts from the emulator: of whole layers, and of block calls and supervision steps of real firmware.

QEMU runs with `-icount`, where every instruction advances the board's counter by the same time, so ticks are instructions
(boards/*.toml, `ticks.per_instruction`). The counts are the same on every machine, for one compiler version.
"""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurc.device.transports import TransportClosed
from recurc.emit.code import emit_model
from recurc.emit.image import build_image
from recurc.emit.linker import Placement, render_linker_script
from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.plan.hook import hook_macs
from recurc.plan.kernels import choose_kernels
from recurc.plan.layout import make_layout
from recurc.quant.model import QuantizedModel
from recurc.quant.weights import precision_named
from recurc.resources import resource_dir
from recurc.targets.boards import Board, load_board
from recurc.targets.fit import early_plan
from recurc.targets.qemu import QemuTransport
from recurc.targets.regions import PARTS
from recurc.targets.toolchain import compile_firmware, port_include_dirs

FIRMWARE = Path(__file__).parent / "firmware"
BOARDS = ("mps2-an500", "mps2-an386", "mps2-an505", "mps3-an547", "riscv32-virt", "riscv32-v-virt")
SHAPES = ((97, 512, 3072), (97, 1536, 512), (1, 512, 3072))  # rows, depth, channels
PRECISIONS = ("int4", "int8", "int4-g32")  # whose layers are measured, and block calls of them
_IMAGE_BYTES = 3072 * 512
_SECONDS = 300.0


@dataclass(frozen=True)
class LayerCount:
    """Instructions of one whole layer on one board: quantizing its rows, the product, scaling to fp32."""

    board: str
    precision: str
    rows: int
    depth: int
    channels: int
    instructions: int

    @property
    def macs(self) -> int:
        return self.rows * self.depth * self.channels


def _placement(board: Board) -> Placement:
    """Every part in the board's first preference: what is counted here is small."""
    return Placement({part: board.candidates(part)[0].name for part in PARTS}, {"stack": board.stack_bytes})


def build_layers(board: Board, out: Path, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> Path:
    """The ELF that measures layers of these shapes (rows, depth, channels) with the board's kernels.

    Raises:
        ToolchainError: no compiler for the board.
    """
    runtime, kernels = resource_dir("runtime_c"), choose_kernels(board.features)
    out.mkdir(parents=True, exist_ok=True)
    image = out / "image.bin"
    image.write_bytes(np.random.default_rng(0).bytes(_IMAGE_BYTES))
    rows, forms = kernels.rows_kernel, [precision_named(name).form for name in PRECISIONS]
    tiles = [kernel.tile for form in forms if (kernel := kernels.of(form))]
    defines: dict[str, int | str | None] = {"IMAGE_PATH": str(image), "TILE": kernels.tile, "DEPTH_MULTIPLE": kernels.padded(1)}
    beside = ["groups" if f.grouped else "zeros" if f.codec(kernels.weights).zeros_stored else "none" for f in forms]
    text = {
        "ACT": rows.act,
        "ROWS_TYPE": rows.rows_type,
        "QUANTIZE": rows.quantize,
        "WIDTHS(X)": "".join(
            f"X({i}u,{tiles[i]},{form.codec(kernels.weights).tile_bytes(512)}u,{beside[i]})" for i, form in enumerate(forms)
        ),
        "CASE_LIST": ",".join("{%du,%du,%du}" % shape for shape in shapes),
    }
    script = out / "firmware.ld"
    script.write_text(render_linker_script(board, _placement(board)))
    ports = [f for port in board.ports for f in sorted((runtime / "ports" / port).glob("*.[cS]"))]
    sources = [FIRMWARE / "layers.c", FIRMWARE / "image.S", *(runtime / "kernels" / s for s in kernels.sources), *ports]
    return compile_firmware(
        board,
        sources,
        port_include_dirs(board, runtime),
        defines,
        script,
        out,
        [f"-D{name}={value}" for name, value in text.items()],
    )


def run_layers(board: Board, elf: Path, extra: tuple[str, ...] = (), shapes: int = len(SHAPES)) -> list[LayerCount]:
    """Run the ELF of `build_layers` and read the counts of its shapes. `extra`: arguments for QEMU."""
    words = run_counts(board, elf, 5 * len(PRECISIONS) * shapes, extra)
    records = (words[i : i + 5] for i in range(0, len(words), 5))
    return [
        LayerCount(board.name, PRECISIONS[index], rows, depth, channels, round(ticks / board.ticks.per_instruction))
        for rows, depth, channels, index, ticks in records
    ]


def count_layers(name: str, out: Path, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> list[LayerCount]:
    """Instructions of layers of these shapes on an emulated board, every precision of each."""
    board = load_board(name)
    return run_layers(board, build_layers(board, out, shapes), shapes=len(shapes))


def count_sums(name: str, out: Path, size: int = 64 << 10) -> tuple[float, float]:
    """Instructions a byte of CRC-32 and of SHA-256 on an emulated board, over `size` bytes of flash (a multiple of 4096).

    Raises:
        ToolchainError: no compiler for the board.
    """
    board, runtime = load_board(name), resource_dir("runtime_c")
    out.mkdir(parents=True, exist_ok=True)
    image, script = out / "image.bin", out / "firmware.ld"
    data = np.random.default_rng(0).bytes(size)
    image.write_bytes(data)
    script.write_text(render_linker_script(board, _placement(board)))
    ports = [f for port in board.ports for f in sorted((runtime / "ports" / port).glob("*.[cS]"))]
    own = [runtime / "image" / f"rc_{part}.c" for part in ("crc32", "sha256")]
    sources = [FIRMWARE / "sums.c", FIRMWARE / "image.S", *own, *ports]
    elf = compile_firmware(board, sources, port_include_dirs(board, runtime), {"IMAGE_PATH": str(image)}, script, out)
    n, crc, sha256, sums = run_counts(board, elf, 4)
    assert (n, sums) == (size, zlib.crc32(data) << 32 | hashlib.sha256(data).digest()[0]), f"{name} computes other sums"
    return crc / board.ticks.per_instruction / n, sha256 / board.ticks.per_instruction / n


def random_model(config: ReasonerConfig) -> Reasoner:
    """A reasoner of this shape with random weights: counts depend on shapes alone, but for the odd rounding."""
    rng = np.random.default_rng(0)
    d = config.hidden_size
    shapes = {ref.name: (ref.n, ref.k) for ref in lower(config).linears}
    shapes |= {"embed_tokens.embedding_weight": (config.vocab_size, d), "H_init": (d,), "L_init": (d,), "q_head.bias": (2,)}
    if config.pos_encodings == "learned":
        shapes["embed_pos.embedding_weight"] = (config.rows, d)
    if config.puzzle_emb_ndim:
        shapes["puzzle_emb.weights"] = (config.num_puzzle_identifiers, config.puzzle_emb_ndim)
    tensors = {name: (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32) for name, shape in shapes.items()}
    return Reasoner(config, tensors, "random", "0" * 64)


def build_steps(
    board: Board,
    model: QuantizedModel,
    out: Path,
    scratch: int | None = None,
    steps: int = 1,
    puzzles: np.ndarray | None = None,
) -> Path:
    """The ELF that measures `steps` supervision steps of a model, planned for the board as a build plans it.

    Args:
        scratch: bytes of scratch instead of what the planner takes.
        puzzles: [n, seq_len] tokens; then each of them is measured, with the times between calls of the hook (hooks.c).

    Raises:
        DoesNotFitError, ToolchainError.
    """
    runtime, kernels, forms = resource_dir("runtime_c"), choose_kernels(board.features), model.forms
    out.mkdir(parents=True, exist_ok=True)
    layout = make_layout(model.program, forms, kernels, scratch) if scratch else None
    plan = early_plan(model.program, forms, board, kernels, layout)
    image = build_image(model, kernels)
    (out / "model.rcm").write_bytes(image.data)
    for name, text in emit_model(model, image, kernels, plan.layout, hook_macs(plan, board)).items():
        (out / name).write_text(text)
    defines = {"MEASURED_STEPS": steps}
    own = [FIRMWARE / "steps.c"]
    if puzzles is not None:
        rows = ",".join("{" + ",".join(map(str, row)) + "}" for row in puzzles.tolist())
        (out / "puzzles.c").write_text(
            '#include "model_config.h"\n#include <stdint.h>\nextern const uint8_t puzzles[][RC_SEQ_LEN];\n'
            f"const uint8_t puzzles[][RC_SEQ_LEN] = {{{rows}}};\n"
        )
        defines["PUZZLES"], own = len(puzzles), [FIRMWARE / "hooks.c", out / "puzzles.c"]
    script = out / "firmware.ld"
    script.write_text(render_linker_script(board, Placement(plan.placement, {"stack": plan.stack_bytes})))
    sources = [
        *own,
        out / "model.c",
        out / "weights.S",
        *(runtime / "kernels" / s for s in kernels.sources),
        *(runtime / "image" / f"rc_{part}.c" for part in ("image", "crc32", "sha256", "status", "table")),
        *(f for port in board.ports for f in sorted((runtime / "ports" / port).glob("*.[cS]"))),
    ]
    return compile_firmware(board, sources, [out, *port_include_dirs(board, runtime)], defines, script, out)


def run_counts(board: Board, elf: Path, n: int, extra: tuple[str, ...] = ()) -> list[int]:
    """Run a measuring ELF and read its n numbers, u64 each. `extra`: arguments for QEMU; then it is waited for.

    Raises:
        AssertionError: it ended early.
    """
    transport, heard = QemuTransport(board, elf, extra), bytearray()
    deadline = time.monotonic() + _SECONDS
    try:
        while time.monotonic() < deadline and (extra or len(heard) < 8 * n):
            heard += transport.read(1.0)
    except TransportClosed:
        pass
    finally:
        transport.close()
    assert len(heard) >= 8 * n, f"{board.name} sent {len(heard)} of {8 * n} bytes"
    return list(struct.unpack(f"<{n}Q", bytes(heard[: 8 * n])))
