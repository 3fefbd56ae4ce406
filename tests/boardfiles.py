"""Board files that say all by themselves, for tests that change a line of one."""

from __future__ import annotations

from recurc.resources import resource_dir
from recurc.targets.boards import whole_board_text


def board_text(name: str) -> str:
    """A bundled board's file with its chip written out."""
    return whole_board_text(resource_dir("boards") / f"{name}.toml")
