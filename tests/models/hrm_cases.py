"""HRM models that the original code has run: their configurations, and weights that anyone can make again.

`record_original.py` gave these weights to the original code (both repositories) and recorded what it computed in
`tests/data/hrm_original`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

RECORDED = Path(__file__).parents[1] / "data" / "hrm_original"
ORIGINAL = "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1"
COPY = "recursive_reasoning.hrm@HierarchicalReasoningModel_ACTV1"
SEQ, VOCAB, IDENTIFIERS, PUZZLES = 9, 7, 5, 3
SCALES = {"puzzle_emb.weights": 0.3, "H_init": 1.0, "L_init": 1.0, "q_head.bias": 1.0}  # else 1 / sqrt(columns)


@dataclass(frozen=True)
class Case:
    """The `arch` part of an all_config.yaml: fields as the repository that `name` belongs to writes them."""

    name: str
    changes: Mapping[str, object]

    @property
    def arch(self) -> dict:
        fields = {
            "name": self.name, "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
            "H_cycles": 2, "L_cycles": 2, "H_layers": 4, "L_layers": 4, "hidden_size": 16, "num_heads": 2, "expansion": 4,
            "puzzle_emb_ndim": 16, "pos_encodings": "rope", "halt_exploration_prob": 0.1, "halt_max_steps": 4,
        }  # fmt: skip
        if self.name == COPY:
            fields |= {"forward_dtype": "bfloat16", "mlp_t": False}
        return {**fields, **self.changes}


CASES = {
    "rope": Case(ORIGINAL, {}),
    "learned": Case(
        ORIGINAL,
        {"pos_encodings": "learned", "puzzle_emb_ndim": 40, "H_layers": 2, "L_layers": 3, "H_cycles": 1, "L_cycles": 3},
    ),
    "no-embedding": Case(ORIGINAL, {"puzzle_emb_ndim": 0, "num_heads": 4, "H_layers": 1, "L_layers": 2, "H_cycles": 3}),
    "copy-rope": Case(COPY, {"hidden_size": 24, "puzzle_emb_ndim": 24, "L_cycles": 1}),
    "copy-no-positions": Case(COPY, {"pos_encodings": "none", "puzzle_emb_ndim": 20, "H_layers": 2, "L_layers": 1}),
    "copy-mlp-t": Case(COPY, {"mlp_t": True, "H_layers": 1, "L_layers": 2}),
    "copy-mlp-t-learned": Case(COPY, {"mlp_t": True, "pos_encodings": "learned", "H_layers": 2, "L_layers": 1}),
}
# Written to a file by the original code itself, with random weights of its own.
CHECKPOINT_CASE = Case(
    ORIGINAL, {"hidden_size": 8, "puzzle_emb_ndim": 8, "H_layers": 1, "L_layers": 2, "pos_encodings": "learned"}
)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Tensors for names without prefix: the same numbers everywhere, H_init and L_init in bfloat16 as the original has them."""
    rng, found = np.random.RandomState(0), {}
    for name in sorted(shapes):
        scale = SCALES.get(name, shapes[name][-1] ** -0.5)
        values = torch.from_numpy((rng.standard_normal(shapes[name]) * scale).astype(np.float32))
        found[name] = values.to(torch.bfloat16) if name in ("H_init", "L_init") else values
    return {name: found[name] for name in shapes}


def puzzles() -> tuple[np.ndarray, np.ndarray]:
    """Tokens [PUZZLES, SEQ] and puzzle identifiers [PUZZLES]."""
    rng = np.random.RandomState(1)
    return rng.randint(0, VOCAB, (PUZZLES, SEQ)).astype(np.int32), rng.randint(0, IDENTIFIERS, PUZZLES).astype(np.int32)
