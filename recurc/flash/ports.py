"""Finding the serial port of a board by the USB ids that its file names."""

from __future__ import annotations

from recurc.targets.boards import Board


def usb_ports(board: Board) -> list[str]:
    """Serial ports of this computer whose USB ids are the board's."""
    if board.flash is None or not board.flash.usb:
        return []
    from serial.tools import list_ports

    wanted = {tuple(int(half, 16) for half in pair.split(":")) for pair in board.flash.usb}
    return sorted(p.device for p in list_ports.comports() if (p.vid, p.pid) in wanted)


def wire_port(board: Board) -> str:
    """The board's serial port when exactly one can be meant, else ""."""
    found = usb_ports(board)
    return found[0] if len(found) == 1 else ""
