"""Start a wide TRM-MLP from a trained narrow one (Net2Net widening).

Every channel and every hidden unit of the narrow model is copied; a weight is shared out among the
copies of its input. Noise that cancels over those copies is added: the function stays the same,
but the copies get different gradients and grow apart, so the new width is used.

One thing is not preserved: extra puzzle rows take part in the norm over positions. A short training
mends that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .model import ModelConfig, make_model


def _copies(big: int, small: int) -> Tensor:
    """(big,) which narrow unit each wide unit copies."""
    if big % small:
        raise ValueError(f"cannot grow {small} to {big}: not a multiple")
    return torch.arange(big) % small


def _widen(weight: Tensor, rows: Tensor, cols: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """(out, in) narrow -> wide. `rows`, `cols` name the narrow unit of each wide one, -1 = none.

    Unconnected columns (-1) start at zero. Others get noise of standard deviation about `std`
    whose sum over the copies of one narrow column is zero.
    """
    wide = torch.zeros(len(rows), len(cols))
    for unit in cols.unique().tolist():
        if unit < 0:
            continue
        where = (cols == unit).nonzero().squeeze(1)
        share = weight[rows, unit][:, None] / len(where)
        noise = torch.randn(len(rows), len(where), generator=generator) * std
        wide[:, where] = share + noise - noise.mean(1, keepdim=True)
    return wide


def grow(narrow: ModelConfig, state: dict[str, Tensor], wide: ModelConfig, seed: int = 0) -> dict[str, Tensor]:
    """The narrow model's state dict -> one for `wide` (same task, cycles and layers, MLP mixer)."""
    same = ("family", "seq_len", "vocab_size", "L_layers", "mlp_t", "pos_encodings", "H_cycles", "L_cycles")
    if any(getattr(narrow, k) != getattr(wide, k) for k in same) or wide.family != "trm" or not wide.mlp_t:
        raise ValueError(f"can grow only a TRM-MLP with the same {', '.join(same)}")
    if wide.pos_encodings != "none":
        raise ValueError("cannot grow a model with position encodings")
    g = torch.Generator().manual_seed(seed)
    d = _copies(wide.hidden_size, narrow.hidden_size)
    # Positions: puzzle row 0 -> 0, cells -> cells. Extra puzzle rows are written like row 0, read by nobody.
    extra = wide.puzzle_rows - narrow.puzzle_rows
    old = torch.arange(narrow.seq_len + narrow.puzzle_rows)
    first, cells = old[: narrow.puzzle_rows], old[narrow.puzzle_rows :]
    read = torch.cat((first, torch.full((extra,), -1), cells))
    written = torch.cat((first, torch.zeros(extra, dtype=torch.int64), cells))

    target = make_model(wide).state_dict()
    out: dict[str, Tensor] = {}
    for key, like in target.items():
        small = state[key].float()
        std = like.shape[-1] ** -0.5  # the scale of a fresh weight
        if key in ("H_init", "L_init"):
            out[key] = small[d].to(like.dtype)
        elif key == "q_head.bias":
            out[key] = small.clone()
        elif key in ("embed_tokens.embedding_weight", "puzzle_emb.weights"):
            # The forward pass multiplies by sqrt(hidden_size).
            out[key] = small[:, d] * (narrow.hidden_size / wide.hidden_size) ** 0.5
        elif key in ("lm_head.weight", "q_head.weight"):
            noise = std if key == "lm_head.weight" else 0.0
            out[key] = _widen(small, torch.arange(len(small)), d, noise, g)
        else:
            units_in, units_out = (read, written) if ".mlp_t." in key else (d, d)
            if "gate_up" in key:  # gate rows first, then up rows
                half = _copies(len(like) // 2, len(small) // 2)
                rows, cols = torch.cat((half, half + len(small) // 2)), units_in
            else:
                rows, cols = units_out, _copies(like.shape[1], small.shape[1])
            out[key] = _widen(small, rows, cols, std, g)
    for key, like in target.items():
        assert out[key].shape == like.shape, key
    return out
