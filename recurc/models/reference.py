"""The forward pass in torch, operation by operation as the original TRM and HRM code computes it.

This is the model that quantized arithmetic is compared with. In fp32 it must equal the original's outputs to fp32
rounding, which differs between processors (they sum in different orders); in fp64 it shows to many more digits that the
operations are the same (Tiny Recursive Model, `models/recursive_reasoning/trm.py` and `models/layers.py`; HRM,
`models/hrm/hrm_act_v1.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Optional

import numpy as np
import torch
import torch.nn.functional as F

from recurc.models.reasoner import Reasoner, ReasonerConfig

Observer = Callable[[str, torch.Tensor], None]


@dataclass
class StepResult:
    """State after one supervision step: z_H, z_L [N, S, D], logits [N, seq, vocab], q [N, 2] (halt, continue)."""

    step: int
    z_H: torch.Tensor
    z_L: torch.Tensor
    logits: torch.Tensor
    q: torch.Tensor


def rms_norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Weight-free RMS normalisation over the last axis."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def rope_tables(config: ReasonerConfig, dtype: torch.dtype = torch.float32) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin tables [S, head_dim / 2], computed in `dtype` (the original repeats each for both halves of a head)."""
    half = torch.arange(0, config.head_dim, 2, dtype=dtype)
    inv_freq = 1.0 / (config.rope_theta ** (half / config.head_dim))
    freqs = torch.outer(torch.arange(config.rows, dtype=dtype), inv_freq)
    return freqs.cos().numpy(), freqs.sin().numpy()


class Reference:
    """The model on the CPU, in fp32 unless told otherwise.

    Args:
        reasoner: a loaded model.
        observer: called with (tensor name, input [..., K]) at each linear layer, for calibration.
        dtype: what everything is computed in, the rotation tables too: torch.float32 or torch.float64.
    """

    def __init__(
        self, reasoner: Reasoner, observer: Optional[Observer] = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.config = reasoner.config
        self.observer = observer
        self.dtype = dtype
        self.w = {
            name: torch.from_numpy(np.array(t, dtype=np.float32)).to(dtype)
            for name, t in reasoner.tensors.items()
            if name != "puzzle_emb.weights"
        }
        self.puzzle_table = reasoner.tensors.get("puzzle_emb.weights")
        if self.config.pos_encodings == "rope" and self.config.mixer == "attention":
            cos, sin = (torch.from_numpy(t) for t in rope_tables(self.config, dtype))
            self.cos, self.sin = (torch.cat((t, t), dim=-1)[:, None, :] for t in (cos, sin))

    # -- layers -------------------------------------------------------------------------------------------------

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if self.observer is not None:
            self.observer(name, x)
        return F.linear(x, self.w[name])

    def _swiglu(self, prefix: str, x: torch.Tensor) -> torch.Tensor:
        gate, up = self._linear(f"{prefix}.gate_up_proj.weight", x).chunk(2, dim=-1)
        return self._linear(f"{prefix}.down_proj.weight", F.silu(gate) * up)

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        rotated = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return x * self.cos + rotated * self.sin

    def _attention(self, prefix: str, h: torch.Tensor) -> torch.Tensor:
        c = self.config
        n, s, _ = h.shape
        qkv = self._linear(f"{prefix}.qkv_proj.weight", h).view(n, s, 3 * c.num_heads, c.head_dim)
        q, k, v = qkv.split(c.num_heads, dim=2)
        if c.pos_encodings == "rope":
            q, k = self._rotate(q), self._rotate(k)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = self._mix(q, k, v)
        return self._linear(f"{prefix}.o_proj.weight", out.transpose(1, 2).reshape(n, s, -1))

    def _mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """What attention gives for q, k, v [N, heads, S, head_dim]."""
        return F.scaled_dot_product_attention(q, k, v)

    def _stored(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows as they read back from the carry's memory."""
        return rows

    def net(self, level: str, h: torch.Tensor) -> torch.Tensor:
        """One block call: [N, S, D] -> [N, S, D]."""
        eps = self.config.rms_norm_eps
        for i in range(dict(self.config.levels)[level]):
            prefix = f"{level}.layers.{i}"
            if self.config.mixer == "mlp_t":
                t = h.transpose(1, 2)
                h = self._stored(rms_norm(t + self._swiglu(f"{prefix}.mlp_t", t), eps)).transpose(1, 2)
            else:
                h = self._stored(rms_norm(h + self._attention(f"{prefix}.self_attn", h), eps))
            h = self._stored(rms_norm(h + self._swiglu(f"{prefix}.mlp", h), eps))
        return h

    # -- model --------------------------------------------------------------------------------------------------

    def embed(self, tokens: torch.Tensor, puzzle_ids: torch.Tensor) -> torch.Tensor:
        """X [N, S, D] of tokens [N, seq] and puzzle identifiers [N]."""
        c = self.config
        x = self.w["embed_tokens.embedding_weight"][tokens]
        if c.puzzle_emb_ndim > 0:
            rows = torch.from_numpy(np.array(self.puzzle_table[puzzle_ids.numpy()], dtype=np.float32)).to(self.dtype)
            rows = F.pad(rows, (0, c.puzzle_rows * c.hidden_size - rows.shape[-1]))
            x = torch.cat((rows.view(-1, c.puzzle_rows, c.hidden_size), x), dim=1)
        if c.pos_encodings == "learned":
            x = 0.707106781 * (x + self.w["embed_pos.embedding_weight"])
        return c.embed_scale * x

    @torch.no_grad()
    def steps(
        self, inputs: np.ndarray, puzzle_ids: Optional[np.ndarray] = None, steps: Optional[int] = None,
        h_cycles: Optional[int] = None, l_cycles: Optional[int] = None,
    ) -> Iterator[StepResult]:
        """Run the supervision steps on a batch, yielding the state after each.

        Args:
            inputs: tokens [N, seq_len].
            puzzle_ids: [N]; zeros when left out.
            steps, h_cycles, l_cycles: override the trained depth.
        """
        c = self.config
        tokens = torch.from_numpy(np.asarray(inputs, dtype=np.int64))
        ids = np.zeros(len(tokens), dtype=np.int64) if puzzle_ids is None else np.asarray(puzzle_ids, dtype=np.int64)
        x = self.embed(tokens, torch.from_numpy(ids))
        z_H = self.w["H_init"].expand_as(x)
        z_L = self.w["L_init"].expand_as(x)
        for step in range(1, (steps or c.halt_max_steps) + 1):
            for _ in range(h_cycles or c.H_cycles):
                for _ in range(l_cycles or c.L_cycles):
                    z_L = self.net("L_level", z_L + (z_H + x))
                z_H = self.net(c.h_level, z_H + z_L)
            logits = self._linear("lm_head.weight", z_H)[:, c.puzzle_rows:]
            q = self._linear("q_head.weight", z_H[:, 0]) + self.w["q_head.bias"]
            yield StepResult(step, z_H, z_L, logits, q)
