"""Accuracy of a model on held-out puzzles, after every supervision step and with early exit."""

from __future__ import annotations

import numpy as np
import torch

from .model import ModelConfig, Reasoner, make_model
from .puzzles import PAD, Group

STEPS_SHOWN = (1, 2, 4, 8, 16)


def make_eval_model(cfg: ModelConfig, state: dict[str, torch.Tensor], dtype: str) -> Reasoner:
    """A copy in the wanted compute type; `float32` is what a compiled model is compared with."""
    fields = {**cfg.__dict__, "forward_dtype": dtype}
    with torch.random.fork_rng(devices=[]):  # construction draws random weights: leave training's RNG alone
        model = make_model(ModelConfig(**fields))
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return model.eval()


@torch.no_grad()
def predict(model: Reasoner, inputs: np.ndarray, ids: np.ndarray, steps: int, batch: int = 64, progress=None):
    """Runs `steps` supervision steps on every puzzle (tokens [N, seq_len], identifiers [N]).

    Returns tokens (N, steps, seq_len) uint8 and what the halting head says, q (N, steps): above zero = done.
    """
    tokens, q_all = [], []
    for start in range(0, len(inputs), batch):
        x = torch.from_numpy(inputs[start : start + batch].astype(np.int64))
        rows = model.puzzle_embedding(torch.from_numpy(ids[start : start + batch].astype(np.int64)))
        z_h, z_l = model.initial(len(x))
        row_tokens, row_q = [], []
        for _ in range(steps):
            z_h, z_l, logits, q = model(z_h, z_l, x, rows)
            row_tokens.append(logits.argmax(-1).to(torch.uint8))
            row_q.append(model.halting(q))
        tokens.append(torch.stack(row_tokens, 1).numpy())
        q_all.append(torch.stack(row_q, 1).numpy())
        if progress is not None:
            progress(min(start + batch, len(inputs)), len(inputs))
    return np.concatenate(tokens), np.concatenate(q_all)


def score(tokens: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (N, steps, seq_len) against labels (N, seq_len): cells (N, steps) = share of right cells
    (givens included, padded cells not, as in the original metric), exact (N, steps) bool.
    """
    valid = (labels != PAD)[:, None]
    right = ((tokens == labels[:, None]) & valid).sum(-1)
    return right / valid.sum(-1), right == valid.sum(-1)


def per_step(
    model: Reasoner, inputs: np.ndarray, labels: np.ndarray, ids: np.ndarray, steps: int, batch: int = 64, progress=None
):
    """`predict`, then `score`: (cells, exact, q), each (N, steps)."""
    tokens, q = predict(model, inputs, ids, steps, batch, progress)
    return *score(tokens, labels), q


def early_exit(exact: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Stop at the first step with q > 0: (exact accuracy, mean steps)."""
    stop = np.where((q > 0).any(1), (q > 0).argmax(1), q.shape[1] - 1)
    return float(exact[np.arange(len(exact)), stop].mean()), float((stop + 1).mean())


def summary(cells: np.ndarray, exact: np.ndarray, q: np.ndarray, groups: list[Group]) -> dict:
    """Figures of the model card; all shares 0..1. Each of `groups` (the empty ones left out) becomes a bucket."""
    steps = sorted({*(s for s in STEPS_SHOWN if s < cells.shape[1]), cells.shape[1]})
    exit_exact, exit_steps = early_exit(exact, q)
    buckets = []
    for label, rows in groups:
        if rows.any():
            ex, st = early_exit(exact[rows], q[rows])
            buckets.append(
                {
                    **label,
                    "n": int(rows.sum()),
                    "exact": {str(s): float(exact[rows, s - 1].mean()) for s in steps},
                    "cell": float(cells[rows, -1].mean()),
                    "early_exit_exact": ex,
                    "early_exit_steps": st,
                }
            )
    return {
        "n": len(cells),
        "steps": cells.shape[1],
        "exact": {str(s): float(exact[:, s - 1].mean()) for s in steps},
        "cell": {str(s): float(cells[:, s - 1].mean()) for s in steps},
        "halt_head_accuracy": float(((q[:, -1] >= 0) == exact[:, -1]).mean()),
        "early_exit_exact": exit_exact,
        "early_exit_steps": exit_steps,
        "buckets": buckets,
    }
