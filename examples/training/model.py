"""The trainable TRM (Tiny Recursive Model) and HRM (Hierarchical Reasoning Model): the original codes' forward passes.

Plain torch. Parameter names equal the original's inner model, so a `state_dict()` of these classes *is* the
checkpoint (see `export.py`). Shapes: B batch, S = seq_len + P positions (P puzzle rows first),
D = hidden_size, V = vocabulary.

Weights stay fp32 and are cast to `forward_dtype` where they are used; every matrix product then
runs in bf16, which is several times faster on CPUs that have AVX512-BF16.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# `arch.name` as the code that trains both writes it (the TRM repository, which has a copy of HRM).
ARCH_NAMES = {
    "trm": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
    "hrm": "recursive_reasoning.hrm@HierarchicalReasoningModel_ACTV1",
}


@dataclass(frozen=True)
class ModelConfig:
    """The original's config fields (minus `batch_size` and the ignored ones), and `family`: "trm" or "hrm"."""

    seq_len: int
    vocab_size: int
    hidden_size: int
    H_cycles: int = 2
    L_cycles: int = 3
    L_layers: int = 2
    expansion: float = 4.0
    num_heads: int = 4
    pos_encodings: str = "none"  # "rope" | "learned" | "none"
    mlp_t: bool = True
    puzzle_emb_ndim: int = 0
    puzzle_emb_len: int = 0
    num_puzzle_identifiers: int = 1
    halt_max_steps: int = 16
    halt_exploration_prob: float = 0.1
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    forward_dtype: str = "bfloat16"
    H_layers: int = 0  # HRM: layers of the module that updates z_H; TRM has one module for both states
    family: str = "trm"

    @property
    def puzzle_rows(self) -> int:
        return self.puzzle_emb_len or math.ceil(self.puzzle_emb_ndim / self.hidden_size)

    def __post_init__(self) -> None:
        if self.puzzle_emb_ndim == 0 and self.puzzle_emb_len:
            raise ValueError("puzzle_emb_ndim = 0 needs puzzle_emb_len = 0")
        if self.hidden_size % self.num_heads:
            raise ValueError("hidden_size must be a multiple of num_heads")
        if self.family not in ARCH_NAMES:
            raise ValueError(f"family must be one of {', '.join(ARCH_NAMES)}")
        if (self.family == "hrm") != (self.H_layers > 0):
            raise ValueError('family = "hrm" needs H_layers, and only that family has them')
        if self.family == "hrm" and self.puzzle_emb_len:
            raise ValueError("an HRM has as many puzzle rows as puzzle_emb_ndim needs: leave puzzle_emb_len out")

    def as_flat_dict(self) -> dict:
        """The content of config.json, by the original's names."""
        flat = {"arch_name": ARCH_NAMES[self.family], **asdict(self)}
        del flat["family"]  # arch_name says it
        if self.family == "hrm":
            del flat["puzzle_emb_len"]  # no field of the original's HRM
            return flat
        return {**flat, "no_ACT_continue": True}


def trunc_normal_(tensor: Tensor, std: float) -> Tensor:
    """Normal truncated at two sigma, rescaled so that `std` is the true standard deviation."""
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0).mul_(std / 0.8796256610342398)


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """RMS norm over the last axis, no weight, computed in fp32 and cast back."""
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


class Linear(nn.Module):
    """(out, in) weight, cast at use; optional bias."""

    def __init__(self, n_in: int, n_out: int, bias: bool = False):
        super().__init__()
        self.weight = nn.Parameter(trunc_normal_(torch.empty(n_out, n_in), n_in**-0.5))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class Embedding(nn.Module):
    """A table of (rows, D); read whole or by index."""

    def __init__(self, rows: int, dim: int, std: float):
        super().__init__()
        self.embedding_weight = nn.Parameter(trunc_normal_(torch.empty(rows, dim), std))

    def forward(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        return F.embedding(index, self.embedding_weight.to(dtype))


class PuzzleEmbedding(nn.Module):
    """One row of `puzzle_emb_ndim` numbers per puzzle identifier, starting at zero.

    The original trains it with a sign-SGD of its own because its table may be huge. So do recipes with
    `puzzle_emb_lr` (see `optim.PuzzleRows`); a single row is an ordinary parameter of the ordinary optimizer.
    """

    def __init__(self, rows: int, dim: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(rows, dim))


class SwiGLU(nn.Module):
    def __init__(self, dim: int, expansion: float):
        super().__init__()
        inter = -(-round(expansion * dim * 2 / 3) // 256) * 256  # rounded up to a multiple of 256
        self.gate_up_proj = Linear(dim, inter * 2)
        self.down_proj = Linear(inter, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class Attention(nn.Module):
    """Full (not causal, not masked) multi-head attention with a fused qkv projection."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv_proj = Linear(dim, 3 * dim)
        self.o_proj = Linear(dim, dim)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        b, s, d = x.shape
        qkv = self.qkv_proj(x).view(b, s, 3 * self.heads, d // self.heads)
        q, k, v = qkv.split(self.heads, dim=2)
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.o_proj(out.transpose(1, 2).reshape(b, s, d))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, half-split layout; x (B, S, heads, hd), cos/sin (S, hd) fp32."""
    y = x.float()
    half = y.shape[-1] // 2
    turned = torch.cat((-y[..., half:], y[..., :half]), dim=-1)
    return (y * cos[:, None] + turned * sin[:, None]).to(x.dtype)


class Block(nn.Module):
    """Post-norm block; mixes positions by attention or by an MLP over the position axis."""

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.eps = cfg.rms_norm_eps
        positions = cfg.seq_len + cfg.puzzle_rows
        if cfg.mlp_t:
            self.mlp_t = SwiGLU(positions, cfg.expansion)
        else:
            self.self_attn = Attention(cfg.hidden_size, cfg.num_heads)
        self.mlp = SwiGLU(cfg.hidden_size, cfg.expansion)
        self.mixes_by_mlp = cfg.mlp_t

    def forward(self, h: Tensor, rope) -> Tensor:
        if self.mixes_by_mlp:
            t = h.transpose(1, 2).contiguous()  # (B, D, S): this norm runs over the positions
            h = rms_norm(t + self.mlp_t(t), self.eps).transpose(1, 2).contiguous()
        else:
            h = rms_norm(h + self.self_attn(h, rope), self.eps)
        return rms_norm(h + self.mlp(h), self.eps)


class Level(nn.Module):
    def __init__(self, cfg: ModelConfig, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(Block(cfg) for _ in range(layers))

    def forward(self, h: Tensor, rope) -> Tensor:
        for layer in self.layers:
            h = layer(h, rope)
        return h


class Reasoner(nn.Module):
    """What both families share: tables, heads, and the two states z_H and z_L of the latent carry."""

    halt_loss_targets = False  # whether q_continue is trained, with targets from one step ahead

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.cfg = cfg
        self.dtype = getattr(torch, cfg.forward_dtype)
        d, p = cfg.hidden_size, cfg.puzzle_rows
        # Buffers, never trained: all sequences start from the same two random vectors.
        self.register_buffer("H_init", trunc_normal_(torch.empty(d), 1.0).to(self.dtype))
        self.register_buffer("L_init", trunc_normal_(torch.empty(d), 1.0).to(self.dtype))
        self.embed_tokens = Embedding(cfg.vocab_size, d, d**-0.5)
        self.lm_head = Linear(d, cfg.vocab_size)
        self.q_head = Linear(d, 2, bias=True)
        with torch.no_grad():  # "do not halt" at first; the halting head learns when to say yes
            self.q_head.weight.zero_()
            self.q_head.bias.fill_(-5.0)
        if cfg.puzzle_emb_ndim:
            self.puzzle_emb = PuzzleEmbedding(cfg.num_puzzle_identifiers, cfg.puzzle_emb_ndim)
        self.rope = None
        if cfg.pos_encodings == "learned":
            self.embed_pos = Embedding(cfg.seq_len + p, d, d**-0.5)
        elif cfg.pos_encodings == "rope":
            hd = d // cfg.num_heads
            freq = cfg.rope_theta ** (-torch.arange(0, hd, 2, dtype=torch.float32) / hd)
            angle = torch.outer(torch.arange(cfg.seq_len + p, dtype=torch.float32), freq)
            angle = torch.cat((angle, angle), dim=-1)
            self.rope = (angle.cos(), angle.sin())
        if cfg.H_layers:
            self.H_level = Level(cfg, cfg.H_layers)
        self.L_level = Level(cfg, cfg.L_layers)

    def puzzle_embedding(self, ids: Tensor) -> Tensor | None:
        """Puzzle identifiers (B,) int64 -> their rows (B, puzzle_emb_ndim) fp32; None without an embedding."""
        return self.puzzle_emb.weights[ids] if self.cfg.puzzle_emb_ndim else None

    def embed(self, inputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """inputs (B, seq_len) int64, puzzle rows (B, puzzle_emb_ndim) -> X (B, S, D); constant over the whole inference.

        Without `rows` every puzzle has identifier 0.
        """
        cfg = self.cfg
        emb = self.embed_tokens(inputs, self.dtype)
        if cfg.puzzle_emb_ndim:
            row = (self.puzzle_emb.weights[:1] if rows is None else rows).to(self.dtype)
            row = F.pad(row, (0, cfg.puzzle_rows * cfg.hidden_size - cfg.puzzle_emb_ndim))
            row = row.view(-1, cfg.puzzle_rows, cfg.hidden_size).expand(len(inputs), -1, -1)
            emb = torch.cat((row, emb), dim=1)
        if cfg.pos_encodings == "learned":
            emb = 0.707106781 * (emb + self.embed_pos.embedding_weight.to(self.dtype))
        return math.sqrt(cfg.hidden_size) * emb

    def heads(self, z_h: Tensor) -> tuple[Tensor, Tensor]:
        """z_H -> logits (B, seq_len, V) and q (B, 2), both fp32."""
        return self.lm_head(z_h[:, self.cfg.puzzle_rows :]).float(), self.q_head(z_h[:, 0]).float()

    def initial(self, batch: int) -> tuple[Tensor, Tensor]:
        shape = (batch, self.cfg.seq_len + self.cfg.puzzle_rows, self.cfg.hidden_size)
        return self.H_init.expand(shape).to(self.dtype), self.L_init.expand(shape).to(self.dtype)

    def forward(self, z_h: Tensor, z_l: Tensor, inputs: Tensor, rows: Tensor | None = None):
        """One supervision step: (z_H, z_L, inputs, puzzle rows) -> (z_H, z_L, logits, q).

        The returned carry still has the graph of what `recur` records.
        """
        z_h, z_l = self.recur(z_h, z_l, self.embed(inputs, rows))
        logits, q = self.heads(z_h)
        return z_h, z_l, logits, q

    def recur(self, z_h: Tensor, z_l: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The cycles of one supervision step: (z_H, z_L, X) -> (z_H, z_L)."""
        raise NotImplementedError

    def halting(self, q: Tensor) -> Tensor:
        """Halting head's outputs (..., 2) -> a number that is above zero where the model says that it is done."""
        raise NotImplementedError


class TRM(Reasoner):
    """One shared block stack applied H_cycles x (L_cycles + 1) times. Halts when q_halt > 0; q_continue stays untrained."""

    def cycle(self, z_h: Tensor, z_l: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """One H cycle: L_cycles updates of z_L, then one of z_H."""
        for _ in range(self.cfg.L_cycles):
            z_l = self.L_level(z_l + (z_h + x), self.rope)
        return self.L_level(z_h + z_l, self.rope), z_l

    def recur(self, z_h: Tensor, z_l: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients flow through the last H cycle only."""
        with torch.no_grad():
            for _ in range(self.cfg.H_cycles - 1):
                z_h, z_l = self.cycle(z_h, z_l, x)
        return self.cycle(z_h, z_l, x)

    def halting(self, q: Tensor) -> Tensor:
        return q[..., 0]


class HRM(Reasoner):
    """Two block stacks: L_level updates z_L, H_level updates z_H. Halts when q_halt > q_continue; both are trained."""

    halt_loss_targets = True

    def recur(self, z_h: Tensor, z_l: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients flow through the last update of each state only."""
        last = self.cfg.H_cycles * self.cfg.L_cycles - 1
        with torch.no_grad():
            for i in range(last):
                z_l = self.L_level(z_l + (z_h + x), self.rope)
                if (i + 1) % self.cfg.L_cycles == 0:
                    z_h = self.H_level(z_h + z_l, self.rope)
        z_l = self.L_level(z_l + (z_h + x), self.rope)
        return self.H_level(z_h + z_l, self.rope), z_l

    def halting(self, q: Tensor) -> Tensor:
        return q[..., 0] - q[..., 1]


FAMILIES: dict[str, type[Reasoner]] = {"trm": TRM, "hrm": HRM}


def make_model(cfg: ModelConfig) -> Reasoner:
    """A model of the configuration's family with random weights."""
    return FAMILIES[cfg.family](cfg)
