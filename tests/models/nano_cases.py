"""nano-trm models that its code has run: their hyper-parameters, and weights that anyone can make again.

`record_nano_trm.py` gave these weights to the code and recorded what it computed in `tests/data/nano_trm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

RECORDED = Path(__file__).parents[1] / "data" / "nano_trm"
PUZZLES = 3
COMMON = {
    "hidden_size": 16, "num_heads": 2, "num_layers": 2, "H_cycles": 2, "L_cycles": 2, "N_supervision": 16, "ffn_expansion": 4,
    "learning_rate": 1e-4, "vocab_size": 7, "num_puzzles": 5, "seq_len": 9, "max_grid_size": 3, "pad_value": 0,
}  # fmt: skip
CASES: dict[str, dict] = {
    "mlp": {**COMMON, "N_supervision_val": 4, "use_mlp_t": True, "pos_emb_type": None, "puzzle_emb_dim": 0,
            "puzzle_emb_len": 0},
    "rope": {**COMMON, "N_supervision_val": 3, "pos_emb_type": "1d", "puzzle_emb_dim": 20, "puzzle_emb_len": 3, "L_cycles": 3},
    "grid": {**COMMON, "N_supervision_val": 3, "pos_emb_type": "2d", "puzzle_emb_dim": 16, "puzzle_emb_len": 2,
             "rope_theta": 1000},
    "grid-alone": {**COMMON, "N_supervision_val": 3, "pos_emb_type": "2d", "puzzle_emb_dim": 0, "puzzle_emb_len": 0,
                   "num_heads": 4, "ffn_expansion": 2},
}  # fmt: skip
FILE_CASE = {**CASES["rope"], "num_layers": 1, "puzzle_emb_dim": 16, "puzzle_emb_len": 1, "batch_size": PUZZLES}
SCALES = {"puzzle_emb.weights": 0.3, "z_H_init": 1.0, "z_L_init": 1.0, "q_head.bias": 1.0}  # else 1 / sqrt(columns)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Tensors by nano-trm's names: the same numbers everywhere, each one that binary32 has."""
    rng, found = np.random.RandomState(0), {}
    for name in sorted(shapes):
        scale = SCALES.get(name, shapes[name][-1] ** -0.5)
        found[name] = torch.from_numpy((rng.standard_normal(shapes[name]) * scale).astype(np.float32))
    return {name: found[name] for name in shapes}


def puzzles(case: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [PUZZLES, seq_len] and puzzle identifiers [PUZZLES]."""
    rng = np.random.RandomState(1)
    shape = (PUZZLES, case["seq_len"])
    return rng.randint(0, case["vocab_size"], shape).astype(np.int32), rng.randint(0, 5, PUZZLES).astype(np.int32)
