"""Linker scripts and main.c: the generated files that depend on the board and not on the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recurc.resources import resource_dir
from recurc.targets.boards import PARTS, Board


@dataclass(frozen=True)
class Placement:
    """Region name of each part ("code", "image", "arena", "data", "stack"), and sizes in bytes ("stack" is needed)."""

    regions: Mapping[str, str]
    sizes: Mapping[str, int]


def template_environment() -> Environment:
    """Jinja environment over recurc's templates; an undefined variable is an error."""
    return Environment(
        loader=FileSystemLoader(resource_dir("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def default_placement(board: Board) -> Placement:
    """Every part in the board's first preference, whatever its size."""
    return Placement({part: board.candidates(part)[0].name for part in PARTS}, {"stack": board.stack_bytes})


def render_linker_script(board: Board, placement: Placement) -> str:
    """The linker script of one board.

    Input sections it knows: .vectors, .text, .rodata.recurc_image, .rodata, .data, .bss and .recurc_arena.
    """
    missing = [part for part in PARTS if part not in placement.regions]
    if missing:
        raise ValueError(f"no region is chosen for {', '.join(missing)}")
    template = template_environment().get_template("linker.ld.j2")
    regions = {part: placement.regions[part] for part in PARTS}
    return template.render(board=board, placement=regions, stack_bytes=placement.sizes["stack"])


def render_main(build_id: str) -> str:
    """main.c of a firmware; `build_id` is 32 hexadecimal digits."""
    if len(build_id) != 32:
        raise ValueError("a build id has 32 hexadecimal digits")
    bytes.fromhex(build_id)
    return template_environment().get_template("main.c.j2").render(build_id=build_id)
