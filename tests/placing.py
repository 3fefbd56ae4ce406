"""Where the parts of a firmware of the tests' own go: no plan is made for it."""

from __future__ import annotations

from recurc.emit.linker import Placement
from recurc.targets.boards import Board
from recurc.targets.regions import PARTS


def default_placement(board: Board) -> Placement:
    """Every part in the board's first preference, whatever its size."""
    return Placement({part: board.candidates(part)[0].name for part in PARTS}, {"stack": board.stack_bytes})
