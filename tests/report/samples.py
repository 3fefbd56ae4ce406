"""Plans of known shapes for reports: nothing is compiled, no weights are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from recurc.build.manifest import Build, write_manifest
from recurc.models.reasoner import ReasonerConfig
from recurc.report.document import report_plan
from recurc.report.planning import plan_checkpoint
from recurc.targets.boards import Board, load_board
from recurc.targets.host import cpu_signature
from recurc.verify.journal import Identity, Journal
from recurc.verify.record import keep
from recurc.verify.result import PuzzleResult
from tests.randmodels import random_reasoner

SOURCE = {"name": "model", "checkpoint": "models/model.safetensors", "sha256": "ab" * 32}


def config(mixer: str = "mlp_t", **changes: Any) -> ReasonerConfig:
    """The 9x9 sudoku shape of the paper (5.03 M parameters), with changes."""
    small = random_reasoner("mlp_t", pos="none", seq=16, hidden=32, ndim=32, plen=1, layers=1, expansion=4.0).config
    values = {
        "mixer": mixer,
        "seq_len": 81,
        "vocab_size": 11,
        "hidden_size": 512,
        "num_heads": 8,
        "L_layers": 2,
        "puzzle_emb_ndim": 512,
        "puzzle_emb_len": 16,
        "H_cycles": 3,
        "L_cycles": 6,
        "halt_max_steps": 16,
        "num_puzzle_identifiers": 1,
        "pos_encodings": "rope" if mixer == "attention" else "none",
    }
    return replace(small, **{**values, **changes})


def sized(board: Board | str, **sizes: int) -> Board:
    """A board with other region sizes."""
    board = load_board(board) if isinstance(board, str) else board
    return replace(board, regions=tuple(replace(r, size=sizes.get(r.name, r.size)) for r in board.regions))


def document(
    shape: ReasonerConfig | None = None, board: Board | str = "stm32h7", precision: str = "int4", **options: Any
) -> dict[str, Any]:
    """The report document of a plan, whether it fits or not."""
    board = load_board(board) if isinstance(board, str) else board
    planned = plan_checkpoint(shape or config(), board, precision, **options)
    return report_plan(
        planned.summary, board, SOURCE, precision=precision, carry=options.get("carry", "fp32"), depth=planned.depth
    )


def build_folder(folder: Path, board: str = "stm32h7", **changes: Any) -> Path:
    """A build folder with the manifest of a plan, its linked sections as planned; firmware files are empty."""
    shape = config()
    plan = plan_checkpoint(shape, sized(board, flash=4 << 20), "int4").summary
    for name in ("firmware.elf", "model.rcm", "librecurc.so"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    files = {"elf": "firmware.elf", "image": "model.rcm", "model_sha256": "cd" * 32, "build_id": "ef" * 16, "kernels": "dsp"}
    sections = [
        {"name": ".text", "address": 0x08000000, "bytes": 12_000, "align": 16, "load_address": 0},
        {"name": ".bss", "address": 0x20004000, "bytes": 345, "align": 8, "load_address": 0},
    ]
    regions = [{k: v for k, v in r.items() if k != "pieces"} for r in plan["regions"]]
    entry = {**files, "plan": plan, "regions": regions, "link": {"agrees": True, "differences": [], "sections": sections}}
    write_manifest(
        folder,
        {
            "recurc": "0.1.0",
            "name": "model",
            "target": board,
            "twin": "mps2-an500",
            "precision": "int4",
            "method": "gptq",
            "label": "int4 (gptq)",
            "steps": 16,
            "h_cycles": 3,
            "l_cycles": 6,
            "boards": {board: entry, "host": files},
            "image_bytes": plan["image"]["bytes"],
            "arena_bytes": plan["arena_bytes"],
            "host_cpu": cpu_signature(),
            "host_library": "librecurc.so",
            "host_image": "model.rcm",
            "checkpoint": {"source": "m", "sha256": "ab" * 32},
            "fidelity": 0.9876,
            "fidelity_puzzles": 32,
            "fidelity_inputs": "calibration puzzles",
            "accuracy": {"n": 40, "cell": 0.97, "exact": 0.9},
            "data": None,
            **changes,
        },
        shape,
    )
    return folder


def record_verify(build: Build, board: str, n: int = 2, *, ticks: int = 1000, steps: int = 16, **told: Any) -> Path:
    """What `verify` leaves in a build folder after n equal puzzles; the journal."""
    artifact, path = build.boards[board], build.path / f"verify-{board}.jsonl"
    with Journal(path, Identity.of(artifact, board, "dd" * 32, steps, None)) as journal:
        for i in range(n):
            journal.append(PuzzleResult(i, steps, False, True, 16, 16, ticks, steps, 1000))
    keep(
        build,
        artifact.build_id,
        {
            "on": "/dev/ttyACM0",
            "n": n,
            "offset": 0,
            "matched": n,
            "bit_exact": True,
            "cell": 1.0,
            "exact": 1.0,
            "mean_steps": float(steps),
            "steps": n * steps,
            "ticks": n * ticks,
            "stack_used": 1000,
            "stack_bytes": 4096,
            "instructions_per_step": None,
            "seconds_per_step": None,
            **told,
        },
        path,
    )
    return path
