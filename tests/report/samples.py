"""Plan summaries of the planner's shape, made from a program, its layout and a board, without compiling anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recurc.ir.lower import lower
from recurc.models.reasoner import ReasonerConfig
from recurc.plan.kernels import choose_kernels
from recurc.plan.layout import make_layout
from recurc.targets.boards import Board, load_board
from tests.randmodels import random_reasoner

PAPER = {"seq": 81, "vocab": 11, "hidden": 512, "layers": 2, "expansion": 4.0, "ndim": 512, "plen": 16}


def paper_config(**changes: Any) -> ReasonerConfig:
    """The configuration of the 9x9 sudoku shape of the paper, with token mixing."""
    small = random_reasoner("mlp_t", pos="none", seq=16, hidden=32, ndim=32, plen=1, layers=1, expansion=4.0).config
    values = {"seq_len": 81, "vocab_size": 11, "hidden_size": 512, "num_heads": 8, "L_layers": 2, "puzzle_emb_ndim": 512,
              "puzzle_emb_len": 16, "H_cycles": 3, "L_cycles": 6, "halt_max_steps": 16, "num_puzzle_identifiers": 1}
    return replace(small, **{**values, **changes})


def summary(board: Board | str = "stm32h7", config: ReasonerConfig | None = None, bits: int = 4) -> dict[str, Any]:
    """What `plan_summary` gives for a model on a board: every piece at an address, parts that add up to what is used."""
    board = load_board(board) if isinstance(board, str) else board
    program = lower(config or paper_config())
    kernels = choose_kernels(board.features)
    layout = make_layout(program, bits, kernels, 48 * 1024)
    flash, ram = board.candidates("image")[0], board.candidates("arena")[0]
    stack = board.candidates("stack")[0]
    pieces: dict[str, list[dict[str, Any]]] = {r.name: [] for r in board.regions}
    ends = {r.name: r.base for r in board.regions}

    def add(name: str, kind: str, region: str, size: int, lifetime: str = "always", at: int | None = None) -> None:
        address = -(-ends[region] // 64) * 64 if at is None else at
        pieces[region].append({"name": name, "kind": kind, "region": region, "address": address, "bytes": size,
                               "lifetime": lifetime})
        ends[region] = max(ends[region], address + size)

    add("code", "code", flash.name, 12_624, "always, read only")
    add("constants", "constants", flash.name, 1_208, "always, read only")
    add("image header", "headers", flash.name, 128 + 32 * (3 * len(program.linears) + 4), "always, read only")
    for role, table in program.tables.items():
        add(f"table.{role}", "tables", flash.name, 4 * table.rows * table.dim, "always, read only")
    for ref in program.linears:
        add(f"{ref.name}:weights", "weights", flash.name, ref.n * ref.k * bits // 8, "always, read only")
        add(f"{ref.name}:scales", "scales", flash.name, 5 * ref.n, "always, read only")
    add("stack", "stack", stack.name, board.stack_bytes)
    add("variables", "data", stack.name, 3_304)
    start = -(-ends[ram.name] // 64) * 64
    for b in layout.carry.buffers:
        kind = "carry" if b.name.startswith("z_") else "io"
        add(b.name, kind, ram.name, b.bytes, "a puzzle", start + b.offset)
    for b in layout.kv.buffers:
        add(b.name, "kv", ram.name, b.bytes, "a puzzle", start + layout.carry.bytes + b.offset)
    scratch = start + layout.carry.bytes + layout.kv.bytes
    for struct in (*(s.scratch for s in layout.shapes), layout.heads):
        for b in struct.buffers:
            add(f"{struct.name}.{b.name}", "scratch", ram.name, b.bytes, f"op {struct.name}", scratch + b.offset)
    step = program.macs_per_step
    return {
        "regions": [_region(r, pieces[r.name], ends[r.name]) for r in board.regions],
        "verdict": {"fits": True, "missing_bytes": 0, "region": None, "changes": []},
        "model": {"parameters": sum(ref.k * ref.n for ref in program.linears), "macs_per_call": program.macs_per_call,
                  "macs_per_step": step, "macs_per_puzzle": step * program.steps},
    }


def _region(region: Any, pieces: list[dict[str, Any]], end: int) -> dict[str, Any]:
    parts: dict[str, int] = {}
    reached = region.base
    for piece in sorted(pieces, key=lambda p: (p["address"], -p["bytes"])):
        new = piece["address"] + piece["bytes"] - max(piece["address"], reached)
        if new > 0:
            parts[piece["kind"]] = parts.get(piece["kind"], 0) + new
            reached = max(reached, piece["address"] + piece["bytes"])
    used = end - region.base
    if used > sum(parts.values()):
        parts["padding"] = used - sum(parts.values())
    return {"name": region.name, "kind": region.kind, "base": region.base, "size": region.size, "used": used,
            "free": region.size - used, "parts": parts, "pieces": pieces}


def refused(plan: dict[str, Any], region: str, missing: int) -> dict[str, Any]:
    """The same plan with the verdict that it does not fit."""
    changes = [
        {"change": "--precision int4", "saves": 2_400_000, "fits": True},
        {"change": "--carry fp16", "saves": 198_656, "fits": False},
        {"change": "--target portenta-h7", "needs": 90_000, "region": "sdram", "fits": True},
    ]
    return {**plan, "verdict": {"fits": False, "missing_bytes": missing, "region": region, "changes": changes}}
