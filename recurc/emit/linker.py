"""Linker scripts and main.c: the generated files that depend on the board and not on the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recurc.quoting import environment
from recurc.targets.boards import Board
from recurc.targets.mpu import mpu_entries
from recurc.targets.regions import PARTS

_VECTOR_BYTES = 64  # rc_vectors in rc_startup.c: 16 words


@dataclass(frozen=True)
class Placement:
    """Region name of each part ("code", "image", "arena", "data", "stack"), and sizes in bytes ("stack" is needed)."""

    regions: Mapping[str, str]
    sizes: Mapping[str, int]


def render_linker_script(board: Board, placement: Placement) -> str:
    """The linker script of one board.

    Input sections it knows: .vectors, .recurc_boot, .text, .rodata.recurc_image, .rodata, .data, .bss and .recurc_arena.

    Raises:
        InputError: the board's regions do not fit its memory protection unit.
    """
    missing = [part for part in PARTS if part not in placement.regions]
    if missing:
        raise ValueError(f"no region is chosen for {', '.join(missing)}")
    template = environment().get_template("linker.ld.j2")
    regions = {part: placement.regions[part] for part in PARTS}
    boot_end = board.boot.bytes + (_VECTOR_BYTES if board.boot.place == "after-vectors" else 0) if board.boot else 0
    return template.render(
        board=board,
        placement=regions,
        stack_bytes=placement.sizes["stack"],
        boot_end=boot_end,
        mpu=mpu_entries(board, frozenset(placement.regions.values())),
    )


def render_main(build_id: str) -> str:
    """main.c of a firmware; `build_id` is 32 hexadecimal digits."""
    if len(build_id) != 32:
        raise ValueError("a build id has 32 hexadecimal digits")
    bytes.fromhex(build_id)
    return environment().get_template("main.c.j2").render(build_id=build_id)
