"""What a firmware's self-test costs: every byte of image and mapped table is read for CRC-32 and for SHA-256.

Instructions a byte were counted in QEMU (benchmarks.counting.count_sums), and a test holds them; the time is an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from recurc.plan.cost import WaitingRegion

CRC = {"cortex-m7": 7.0, "cortex-m4": 7.0, "cortex-m33": 7.0, "cortex-m55": 6.0, "rv32imafc": 10.0, "rv32imafcv": 10.0}
SHA256 = {"cortex-m7": 36.0, "cortex-m4": 35.4, "cortex-m33": 35.6, "cortex-m55": 34.9, "rv32imafc": 60.8, "rv32imafcv": 60.8}
CRCS = {"weights image": 2, "puzzle table": 1}  # the image's sections are checked first, then the whole is summed
LINE_BYTES = 32


class ClockedBoard(Protocol):
    """What the estimate needs of a board."""

    @property
    def core(self) -> str: ...
    @property
    def clock_hz(self) -> int: ...
    @property
    def regions(self) -> Sequence[WaitingRegion]: ...


@dataclass(frozen=True)
class SelftestCost:
    """Bytes that are read, instructions (counted), seconds (an estimate; None: no clock, or a core that was not counted)."""

    bytes: int
    instructions: int | None
    seconds: float | None


def selftest_cost(board: ClockedBoard, pieces: Mapping[str, tuple[int, str | None]]) -> SelftestCost:
    """Cost of one self-test.

    Args:
        pieces: name of a piece of memory ("weights image", "puzzle table") -> its bytes and the region it lies in.
    """
    size = sum(n for n, _ in pieces.values())
    if board.core not in CRC:
        return SelftestCost(size, None, None)
    by_piece = {name: n * (CRCS[name] * CRC[board.core] + SHA256[board.core]) for name, (n, _) in pieces.items()}
    instructions = round(sum(by_piece.values()))
    if not board.clock_hz:
        return SelftestCost(size, instructions, None)
    waits = sum(n * (CRCS[name] + 1) * _wait(board, region) for name, (n, region) in pieces.items())
    return SelftestCost(size, instructions, instructions / board.clock_hz + waits)


def _wait(board: ClockedBoard, region: str | None) -> float:
    """Seconds that the core waits for a byte of a region; 0 where the board file does not know."""
    found = next((r for r in board.regions if r.name == region), None)
    if found is not None and found.bandwidth:
        return 1.0 / float(found.bandwidth)
    return float((found and found.wait_states) or 0) / LINE_BYTES / board.clock_hz
