"""How far recurc's own tests reach on a board: the words of board files and what they mean, said once for all who say it."""

from __future__ import annotations

from collections.abc import Mapping

REACH: Mapping[str, str] = {
    "emulated": "firmware runs in an emulator and is compared bit for bit",
    "compiled": "links within the real memory map; neither firmware nor upload has been run on the part",
    "written": "project for the chip's own SDK; recurc's tests never compile or run it",
    "described": "memory map only: models can be planned for it, not built",
}
VERIFIED = tuple(REACH)
_THIS_COMPUTER = "the firmware as a process of this computer"


def reach_text(family: str, verified: str) -> str:
    """What a board's word means, in a line.

    Args:
        family, verified: of the board.
    """
    return _THIS_COMPUTER if family == "host" else REACH[verified]
