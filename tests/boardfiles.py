"""Board files that say all by themselves, for tests that change a line of one."""

from __future__ import annotations

from pathlib import Path

from recurc.resources import resource_dir
from recurc.targets.boards import whole_board_text


def board_text(name: str) -> str:
    """A bundled board's file with its chip written out."""
    return whole_board_text(resource_dir("boards") / f"{name}.toml")


def board_file(folder: Path, packages: str, name: str = "mine") -> Path:
    """A board of the user's own, without instructions that only its core has, and how it is delivered."""
    dropped = ("aliases", "features", "packages")
    lines = [line for line in board_text("mps2-an386").splitlines() if not line.startswith(dropped)]
    text = "\n".join(lines).replace('name = "mps2-an386"', f'name = "{name}"\nfeatures = []\n{packages}', 1)
    path = folder / f"{name}.toml"
    path.write_text(text + "\n")
    return path
