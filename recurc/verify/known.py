"""The known answer of a weights image, asked of a device: its program computes right, beside holding the right bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recurc.build.manifest import Build, mapped_table
from recurc.device.session import DeviceSession
from recurc.emit.image import check_image
from recurc.emit.readback import IMAGE_LIMIT
from recurc.errors import MismatchError
from recurc.ir.lower import lower
from recurc.reading import Unreadable, not_read, read_regular
from recurc.storage.image import KINDS
from recurc.storage.known import KnownAnswer, unpack
from recurc.targets.boards import Board


def known_answer(build: Build, image: Path) -> KnownAnswer | None:
    """What an image for a build's firmware knows; None where it knows none.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    try:
        data = read_regular(image, IMAGE_LIMIT)
    except Unreadable as error:
        raise not_read(error, image, "the weights image", "the weights image is not usable", "Build again") from None
    found = next(((at, size) for kind, at, size in check_image(data, str(image)) if kind == KINDS["known"]), None)
    program = lower(build.config, build.lowering)
    return None if found is None else unpack(data[found[0] : found[0] + found[1]], program)


def meet_known(session: DeviceSession, build: Build, board: Board, image: Path) -> bool:
    """Let a device run the first ops of the puzzle whose answer its image knows, those of every kind, and compare the carry.

    The puzzle under way ends.

    Args:
        image: that the device holds.

    Returns:
        Whether it was asked: not where the image knows no answer, or where the puzzle's row would have to be sent.

    Raises:
        MismatchError: it computes something else. DeviceUnreachableError: no answer.
    """
    known = known_answer(build, image)
    if known is None or (build.table is not None and mapped_table(build, board.name) is None):
        return False
    session.load(np.frombuffer(known.tokens, np.uint8))
    for _ in session.run(0, puzzle=known.puzzle_id):
        pass
    told = session.trace(1, known.ops).carry_crc
    if told != known.reduced:
        raise MismatchError(
            "the device computes something else than its weights give", where=session.transport.description,
            why=f"after {known.ops} ops of the puzzle whose answer the image knows, its carry has CRC-32 {told:08x}, not "
            f"{known.reduced:08x}", next="Verify the build on it, which finds where they part; look at its clock and supply",
        )  # fmt: skip
    return True


__all__ = ["known_answer", "meet_known"]
