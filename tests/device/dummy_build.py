"""Builds the stand-in model for any board, with the real runtime around it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from recurc.emit.linker import Placement, render_linker_script, render_main
from recurc.resources import resource_dir
from recurc.symmetries import Symmetry
from recurc.targets.boards import Board, load_board
from recurc.targets.toolchain import compile_firmware, compile_shared, port_include_dirs, runtime_sources
from tests.placing import default_placement

DUMMY = Path(__file__).parent / "dummy"
BUILD_ID = "00112233445566778899aabbccddeeff"
IMAGE_BYTES = 1028
SEQ_LEN, VOCAB, ROWS, HIDDEN, STEPS = 16, 6, 17, 8, 12
KEY = bytes([0x51, *range(1, 16)])  # of a streamed table, as in dummy/model.c
FORMS = tuple(
    Symmetry.of(rng.permutation(SEQ_LEN), rng.permutation(VOCAB))
    for rng in (np.random.default_rng(1), np.random.default_rng(2))
)  # other forms of a puzzle


def image_bytes(good: bool = True) -> bytes:
    """The stand-in's image: magic, 1020 random bytes, FORMS and KEY among them, CRC (wrong when not `good`)."""
    body = b"RCM1" + np.random.default_rng(5).integers(0, 256, IMAGE_BYTES - 8, dtype=np.uint8).tobytes()
    forms = b"".join(bytes([*form.cells, *form.tokens]) for form in FORMS)
    body = body[:960] + forms + KEY + body[960 + len(forms + KEY) :]
    assert len(body) == IMAGE_BYTES - 4
    return body + (zlib.crc32(body) ^ (0 if good else 1)).to_bytes(4, "little")


SHA_END = 72
SHA256 = image_bytes()[40:SHA_END]  # what lies where an image tells its sha256


def _sources(board: Board, runtime: Path) -> list[Path]:
    """The runtime of the server, and what the stand-in itself calls."""
    return list(dict.fromkeys((*runtime_sources(board, runtime), runtime / "image" / "rc_table.c")))


def build_dummy(
    board_name: str,
    out: Path,
    good_image: bool = True,
    defines: dict | None = None,
    extra_flags: tuple[str, ...] = (),
    placement: Placement | None = None,
) -> Path:
    """firmware.elf of the stand-in model for one board."""
    board: Board = load_board(board_name)
    runtime = resource_dir("runtime_c")
    out.mkdir(parents=True, exist_ok=True)
    image = out / "model.rcm"
    image.write_bytes(image_bytes(good_image))
    main = out / "main.c"
    main.write_text(render_main(BUILD_ID))
    script = None
    if board.family != "host":
        script = out / "firmware.ld"
        script.write_text(render_linker_script(board, placement or default_placement(board)))
    return compile_firmware(
        board,
        [main, DUMMY / "model.c", DUMMY / "weights.S", *_sources(board, runtime)],
        [DUMMY, *port_include_dirs(board, runtime)],
        {"IMAGE_PATH": str(image), **(defines or {})},
        script,
        out,
        extra_flags,
    )


def build_dummy_library(out: Path, *defines: str) -> Path:
    """The stand-in model as a shared library; without `defines` it has an fp32 carry and no streamed table."""
    runtime = resource_dir("runtime_c")
    image = [runtime / "image" / f"rc_{part}.c" for part in ("crc32", "status", "table")]
    shared = [*image, *sorted((runtime / "solve").glob("*.c"))]
    return compile_shared([DUMMY / "model.c", *shared], [DUMMY, runtime / "include"], out, [f"-D{d}" for d in defines])
