"""Cost model: instructions, and an estimate of the time, of a supervision step on a core with a kernel set.

Instructions = work (`recurc.plan.work`) times constants that were measured in QEMU (costs.json, written by
benchmarks/cost_constants.py). Time = instructions times cycles an instruction of the core, by a model that is named, plus waits
for flash where the board file knows them. Nothing here was measured on a chip; every result says what it rests on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from recurc.documents.plan import ClassTime, Estimate, FlashWaits, OpWork, Work
from recurc.ir.program import Program
from recurc.plan.kernels import KernelSet
from recurc.plan.layout import Layout
from recurc.plan.work import CARRY, NORM, QUANTIZE, ClassWork, OneOp, class_place, op_works, step_work
from recurc.storage.form import Forms

TABLE = Path(__file__).with_name("costs.json")
BETWEEN = frozenset({QUANTIZE, NORM, CARRY})  # classes that an op does before and after the tiles of channels of its rows
MARGIN = 0.10  # of instructions: what QEMU counts of models that the constants were not fitted to is within; tests hold it
LINE_BYTES = 32  # a read of flash that misses fetches so much on all cores with a cache or a prefetch buffer of ours
# Cores without figures of their own are counted like another one with the same instructions.
ALIKE = {"cortex-m85": "cortex-m55"}
# Cycles an instruction where llvm-mca has no usable model of the core.
PLAIN_CYCLES = 1.0
CYCLES_BY = {
    "cortex-m7": "llvm-mca's model of the Cortex-M7",
    "cortex-m4": "llvm-mca's model of the Cortex-M4",
    "cortex-m33": "llvm-mca's model of the Cortex-M4, whose pipeline the Cortex-M33's resembles",
    "cortex-m55": "llvm-mca's model of the Cortex-M55",
    "cortex-m85": "llvm-mca's model of the Cortex-M55, whose instructions the Cortex-M85 shares",
}
CYCLES_LIKE = {"cortex-m33": "cortex-m4"}


class WaitingRegion(Protocol):
    """What the estimate needs of a memory region; None: unknown."""

    @property
    def name(self) -> str: ...
    @property
    def wait_states(self) -> int | None: ...
    @property
    def bandwidth(self) -> int | None: ...


class ClockedBoard(Protocol):
    """What the estimate needs of a board."""

    @property
    def core(self) -> str: ...
    @property
    def clock_hz(self) -> int: ...
    @property
    def features(self) -> frozenset[str]: ...
    @property
    def regions(self) -> Sequence[WaitingRegion]: ...


def entry_key(kernels: str, core: str) -> str:
    """Name of a table entry."""
    return f"{kernels}/{core}"


def merged_units(work: Iterable[ClassWork]) -> dict[str, float]:
    """Units of several classes together."""
    total: Counter[str] = Counter()
    for one in work:
        total.update(one.units)
    return dict(total)


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Mapping[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())
    return table


def constants(kernels: str, core: str) -> Mapping[str, Any] | None:
    """The table's entry of a kernel set on a core; None where nothing was measured."""
    table = _table()
    return table.get(entry_key(kernels, core)) or table.get(entry_key(kernels, ALIKE.get(core, core)))


def work_summary(program: Program, layout: Layout, forms: Forms, kernels: KernelSet) -> Work:
    """The work of a step as plain data, for plans and manifests: no constants in it.

    {"kernels", "classes": [{"name", "macs", "flash_bytes", "flash_again", "ram_bytes", "units": {unit: count}}], "ops": see
    `recurc.documents.plan.OpWork`}
    """
    work = step_work(program, layout, forms, kernels)
    return {
        "kernels": kernels.name,
        "ops": [_op_entry(op) for op in op_works(program, layout, forms, kernels)],
        "classes": [
            {
                "name": name,
                "macs": w.macs,
                "flash_bytes": w.flash_bytes,
                "flash_again": w.flash_again,
                "ram_bytes": w.ram_bytes,
                "units": {unit: n for unit, n in w.units.items() if n},
            }
            for name, w in work.items()
            if w.units or w.macs
        ],
    }


def _op_entry(op: OneOp) -> OpWork:
    def units(between: bool) -> dict[str, float]:
        found = merged_units(w for name, w in op.work.items() if (name in BETWEEN) == between)
        return {unit: n for unit, n in found.items() if n}

    def total(key: str) -> int:
        return sum(getattr(w, key) for w in op.work.values())

    return {
        "name": op.name,
        "times": op.times,
        "rows": op.rows,
        "tile": op.tile,
        "piece": op.piece,
        "macs": total("macs"),
        "flash_bytes": total("flash_bytes"),
        "flash_again": total("flash_again"),
        "units": units(False),
        "between": units(True),
    }


@dataclass(frozen=True)
class Prices:
    """What a kernel set's units cost on a board's core; `unknown`: units that nobody has measured, which cost nothing."""

    entry: Mapping[str, Any]
    cycles: Mapping[str, float]
    cycles_by: str

    def of(self, units: Mapping[str, float]) -> tuple[float, float]:
        """Instructions and cycles, without waits for flash."""
        per_unit = self.entry["instructions"]
        by_group: Counter[str] = Counter()
        for unit, n in units.items():
            by_group[unit.split(":")[0]] += n * per_unit.get(unit, 0.0)
        return sum(by_group.values()), sum(n * self.cycles.get(group, self.cycles[""]) for group, n in by_group.items())


def prices(kernels: str, core: str) -> Prices | None:
    """None where the kernel set was not measured on the core."""
    entry = constants(kernels, core)
    return None if entry is None else Prices(entry, *_cycles_per_instruction(kernels, core, entry))


def estimate(work: Work, board: ClockedBoard, image_region: str | None = None) -> Estimate | None:
    """Instructions of each class and, where the board has a clock, an estimated time a step.

    Args:
        work: what `work_summary` gives. image_region: the region that holds the weights.

    Returns:
        {"kind": "estimate", "model": text, "instructions_from": text, "worst_error": share, "clock_hz", "macs",
        "instructions", "instructions_per_mac", "cycles", "seconds", "flash_waits": {"cycles", "note"}, "classes": [{"name",
        "macs", "flash_bytes", "ram_bytes", "instructions", "cycles", "seconds", "share"}]}; cycles and seconds are None
        without a clock. None where this kernel set was not measured on the core.
    """
    price = prices(work["kernels"], board.core)
    if price is None:
        return None
    entry, cycles_by = price.entry, price.cycles_by
    cached = "dcache" in board.features
    classes: list[dict[str, Any]] = []
    unknown = sorted({unit for c in work["classes"] for unit in c["units"] if unit not in entry["instructions"]})
    for c in work["classes"]:
        instructions, cycles = price.of(c["units"])
        classes.append(
            {
                "name": c["name"],
                "macs": c["macs"],
                "flash_bytes": c["flash_bytes"] + (0 if cached else c["flash_again"]),
                "ram_bytes": c["ram_bytes"],
                "instructions": round(instructions),
                "cycles": cycles,
            }
        )
    classes.sort(key=lambda c: class_place(c["name"]))
    waits = flash_waits(board, image_region, sum(c["flash_bytes"] for c in classes))
    if unknown:
        cycles_by += f", nothing for {', '.join(unknown)}, which nobody has measured"
    return _result(classes, waits, board, entry, cycles_by)


def _result(
    classes: list[dict[str, Any]], waits: FlashWaits, board: ClockedBoard, entry: Mapping[str, Any], cycles_by: str
) -> Estimate:
    cycles = sum(c["cycles"] for c in classes) + waits["cycles"]
    macs, instructions = (sum(c[key] for c in classes) for key in ("macs", "instructions"))
    hz = board.clock_hz
    timed: list[ClassTime] = [
        {
            "name": c["name"],
            "macs": c["macs"],
            "flash_bytes": c["flash_bytes"],
            "ram_bytes": c["ram_bytes"],
            "instructions": c["instructions"],
            "cycles": round(c["cycles"]) if hz else None,
            "share": c["cycles"] / cycles if cycles else 0.0,
            "seconds": round(c["cycles"]) / hz if hz else None,
        }
        for c in classes
    ]
    model = f"instructions counted in QEMU x cycles an instruction: {cycles_by}; {waits['note']}"
    return {
        "kind": "estimate",
        "model": model,
        "instructions_from": entry["measured"],
        "worst_error": entry["worst_error"],
        "clock_hz": hz or None,
        "macs": macs,
        "instructions": instructions,
        "instructions_per_mac": instructions / macs if macs else None,
        "cycles": round(cycles) if hz else None,
        "seconds": cycles / hz if hz else None,
        "flash_waits": waits,
        "classes": timed,
    }


def _cycles_per_instruction(kernels: str, core: str, entry: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Cycles an instruction by group ("" for all others), and the name of the model that they are from."""
    modelled = entry["cycles_per_instruction"]
    if not modelled and core in CYCLES_LIKE:
        modelled = (constants(kernels, CYCLES_LIKE[core]) or entry)["cycles_per_instruction"]
    if not modelled:
        return {"": PLAIN_CYCLES}, "one cycle each (no model of this core)"
    return {**modelled, "": modelled.get("glue", PLAIN_CYCLES)}, CYCLES_BY.get(core, "llvm-mca")


def flash_waits(board: ClockedBoard, region: str | None, read: int) -> FlashWaits:
    """Cycles that the core waits for weights, each line once; 0 where the board file does not know."""
    found = next((r for r in board.regions if r.name == region), None)
    if found is not None and found.bandwidth and board.clock_hz:
        return {
            "cycles": round(read * board.clock_hz / found.bandwidth),
            "note": f"waits while weights come from {region} at {found.bandwidth / 1e6:g} MB/s, no other waits",
        }
    states = None if found is None else found.wait_states
    if states is None:
        return {"cycles": 0, "note": f"waits for {region or 'flash'} are not in it"}
    return {
        "cycles": states * (read // LINE_BYTES),
        "note": f"{states} wait states a {LINE_BYTES}-byte line from {region}, no other waits",
    }
