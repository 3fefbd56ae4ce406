"""The shapes that are measured: configurations of the published models."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.models.hrm import HALT_RULE
from recurc.models.reasoner import ReasonerConfig


@dataclass(frozen=True)
class Subject:
    """A shape, what to call it, and the boards its firmware is planned for."""

    key: str
    title: str
    config: ReasonerConfig
    boards: tuple[str, ...]

    def block(self) -> dict[str, int]:
        """The block's dimensions, as the peers' generators take them."""
        c = self.config
        return {
            "rows": c.rows,
            "hidden": c.hidden_size,
            "inner": c.inter,
            "inner_t": c.inter_t if c.mixer == "mlp_t" else 0,
            "heads": c.num_heads,
            "layers": c.L_layers,
            "h_cycles": c.H_cycles,
            "l_cycles": c.L_cycles,
        }


# Measured beside the peers.
SUBJECTS = (
    Subject(
        "sudoku",
        "TRM-MLP, 9x9 sudoku",
        ReasonerConfig(
            "trm",
            "mlp_t",
            seq_len=81,
            vocab_size=11,
            num_puzzle_identifiers=1,
            hidden_size=512,
            expansion=4,
            num_heads=8,
            L_layers=2,
            H_cycles=3,
            L_cycles=6,
            halt_max_steps=16,
            pos_encodings="none",
            puzzle_emb_ndim=512,
            puzzle_emb_len=16,
        ),
        ("mcu-4mb-m7", "stm32h7"),
    ),
    Subject(
        "maze",
        "TRM-attention, 30x30 maze (ARC has the same shape)",
        ReasonerConfig(
            "trm",
            "attention",
            seq_len=900,
            vocab_size=6,
            num_puzzle_identifiers=1,
            hidden_size=512,
            expansion=4,
            num_heads=8,
            L_layers=2,
            H_cycles=3,
            L_cycles=4,
            halt_max_steps=16,
            pos_encodings="rope",
            puzzle_emb_ndim=512,
            puzzle_emb_len=16,
        ),
        ("mcu-4mb", "soc-8mb"),
    ),
)


def _hrm(seq_len: int, vocab_size: int) -> ReasonerConfig:
    return ReasonerConfig(
        "hrm",
        "attention",
        seq_len=seq_len,
        vocab_size=vocab_size,
        num_puzzle_identifiers=1,
        hidden_size=512,
        expansion=4,
        num_heads=8,
        L_layers=4,
        H_layers=4,
        H_cycles=2,
        L_cycles=2,
        halt_max_steps=16,
        pos_encodings="rope",
        puzzle_emb_ndim=512,
        puzzle_emb_len=0,
        halt_rule=HALT_RULE,
    )


# Planned only: no peer has been given two blocks.
PLANNED = (
    Subject("hrm-sudoku", "HRM, 9x9 sudoku", _hrm(81, 11), ("stm32h7", "portenta-h7")),
    Subject("hrm-maze", "HRM, 30x30 maze (ARC has the same shape)", _hrm(900, 6), ("stm32h7", "portenta-h7")),
)
