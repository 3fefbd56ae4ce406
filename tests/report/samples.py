"""Plans of known shapes for reports: nothing is compiled, no weights are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recurc.models.reasoner import ReasonerConfig
from recurc.report.document import report_plan
from recurc.report.planning import plan_checkpoint
from recurc.targets.boards import Board, load_board
from tests.randmodels import random_reasoner

SOURCE = {"name": "model", "checkpoint": "models/model.safetensors", "sha256": "ab" * 32}


def config(mixer: str = "mlp_t", **changes: Any) -> ReasonerConfig:
    """The 9x9 sudoku shape of the paper (5.03 M parameters), with changes."""
    small = random_reasoner("mlp_t", pos="none", seq=16, hidden=32, ndim=32, plen=1, layers=1, expansion=4.0).config
    values = {"mixer": mixer, "seq_len": 81, "vocab_size": 11, "hidden_size": 512, "num_heads": 8, "L_layers": 2,
              "puzzle_emb_ndim": 512, "puzzle_emb_len": 16, "H_cycles": 3, "L_cycles": 6, "halt_max_steps": 16,
              "num_puzzle_identifiers": 1, "pos_encodings": "rope" if mixer == "attention" else "none"}
    return replace(small, **{**values, **changes})


def sized(board: Board | str, **sizes: int) -> Board:
    """A board with other region sizes."""
    board = load_board(board) if isinstance(board, str) else board
    return replace(board, regions=tuple(replace(r, size=sizes.get(r.name, r.size)) for r in board.regions))


def document(shape: ReasonerConfig | None = None, board: Board | str = "stm32h7", precision: str = "int4",
             **options: Any) -> dict[str, Any]:
    """The report document of a plan, whether it fits or not."""
    board = load_board(board) if isinstance(board, str) else board
    planned = plan_checkpoint(shape or config(), board, precision, **options)
    return report_plan(planned.summary, board, SOURCE, precision=precision, carry=options.get("carry", "fp32"),
                       depth=planned.depth)
