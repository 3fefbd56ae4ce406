"""How many multiply-adds lie between two calls of a model's hook, about two milliseconds' worth on the board's clock; and how
long that is in the worst case, with what each op of a step takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from recurc.documents.plan import Estimate, HookTime, OpTime, Work
from recurc.plan.cost import MARGIN, ClockedBoard, estimate, flash_waits, prices, work_summary
from recurc.plan.planner import MemoryPlan

HOOK_SECONDS = 0.002
HOOK_MACS = 250_000  # where the time of a step is not known
_LEAST = 1_000


def hook_macs(plan: MemoryPlan, board: ClockedBoard) -> int:
    """Multiply-adds between two calls on a board; HOOK_MACS where its clock, or what its core takes, is not known."""
    work = work_summary(plan.program, plan.layout, plan.forms, plan.kernels)
    return macs_between(estimate(work, board, plan.placement.get("image")))


def macs_between(found: Estimate | None) -> int:
    """The same, by the estimate of a step."""
    if found is None or not found["seconds"]:
        return HOOK_MACS
    return max(int(found["macs"] * HOOK_SECONDS / found["seconds"]) // _LEAST * _LEAST, _LEAST)


@dataclass(frozen=True)
class _Cost:
    """Instructions, and cycles with waits for weights."""

    instructions: float
    cycles: float

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.instructions + other.instructions, self.cycles + other.cycles)

    def __mul__(self, times: float) -> _Cost:
        return _Cost(self.instructions * times, self.cycles * times)


def op_times(work: Work, board: ClockedBoard, image_region: str | None, hook_macs: int) -> tuple[list[OpTime], HookTime] | None:
    """What each op of a step takes, and the longest time between two calls of the hook within a step.

    That is the time of so many multiply-adds and of the tile under way, with all that lies between tiles where it is most: an
    op's rows that end and those of the next one that begin.

    Returns:
        None where `estimate` gives none, or where the work was counted by an older recurc.
    """
    price = prices(work["kernels"], board.core)
    if price is None or not work.get("ops"):
        return None
    hz, most = board.clock_hz, 1.0 + MARGIN
    cached = "dcache" in board.features
    times: list[OpTime] = []
    gap = between_most = _Cost(0.0, 0.0)
    for op in work["ops"]:
        waits = flash_waits(board, image_region, op["flash_bytes"] + (0 if cached else op["flash_again"]))["cycles"]
        products, between = (_Cost(*price.of(op[key])) for key in ("units", "between"))
        products += _Cost(0.0, waits)
        whole, turn = products + between, min(op["tile"] / op["rows"], 1.0)
        times.append(
            {
                "name": op["name"],
                "times": op["times"],
                "macs": op["macs"],
                "instructions": round(whole.instructions),
                "most": ceil(whole.instructions * most),
                "seconds": whole.cycles / hz if hz else None,
            }
        )
        turns = (hook_macs + op["piece"]) / (op["macs"] * turn) if op["macs"] else 1.0
        here = products * turn * min(turns, 1 / turn) + between * turn * min(floor(turns), ceil(1 / turn))
        gap, between_most = _longer(gap, here), _longer(between_most, between * turn)
    longest = (gap + between_most * 2.0) * most
    return times, {
        "macs": hook_macs,
        "instructions": ceil(longest.instructions),
        "seconds": longest.cycles / hz if hz else None,
    }


def _longer(a: _Cost, b: _Cost) -> _Cost:
    return _Cost(max(a.instructions, b.instructions), max(a.cycles, b.cycles))
