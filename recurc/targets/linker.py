"""Linker scripts and main.c: the generated files that depend on the board and not on the model."""

from __future__ import annotations

from typing import Mapping

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recurc.resources import resource_dir
from recurc.targets.boards import PARTS, Board


def template_environment() -> Environment:
    """Jinja environment over recurc's templates; an undefined variable is an error."""
    return Environment(loader=FileSystemLoader(resource_dir("templates")), undefined=StrictUndefined, keep_trailing_newline=True)


def default_placement(board: Board) -> dict[str, str]:
    """Every part in the board's first preference, whatever its size: part -> region name."""
    return {part: board.candidates(part)[0].name for part in PARTS}


def render_linker_script(board: Board, placement: Mapping[str, str], stack_bytes: int | None = None) -> str:
    """The linker script of one board.

    Input sections it knows: .vectors, .text, .rodata.recurc_image, .rodata, .data, .bss and .recurc_arena.

    Args:
        placement: region name of each part: "code", "image", "arena", "data", "stack".
        stack_bytes: size of the stack; the board's default when None.
    """
    missing = [part for part in PARTS if part not in placement]
    if missing:
        raise ValueError(f"no region is chosen for {', '.join(missing)}")
    template = template_environment().get_template("linker.ld.j2")
    stack = board.stack_bytes if stack_bytes is None else stack_bytes
    return template.render(board=board, placement={part: placement[part] for part in PARTS}, stack_bytes=stack)


def render_main(build_id: str) -> str:
    """main.c of a firmware; `build_id` is 32 hexadecimal digits."""
    if len(build_id) != 32:
        raise ValueError("a build id has 32 hexadecimal digits")
    bytes.fromhex(build_id)
    return template_environment().get_template("main.c.j2").render(build_id=build_id)
