"""What every part of recurc knows of a model: its configuration and its named tensors.

Names of fields follow the original code's configuration (Tiny Recursive Model, `models/recursive_reasoning/trm.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recurc.recursion import ROTARY_KINDS, Depth


def swiglu_width(expansion: float, n: int) -> int:
    """Inner width of a SwiGLU over vectors of length `n`: 2/3 expansion, rounded up to a multiple of 256."""
    return -(-round(expansion * n * 2 / 3) // 256) * 256


HALT_RULES = ("q_halt>0", "q_halt>q_continue")  # as rc.h numbers them


@dataclass(frozen=True)
class ReasonerConfig:
    """Architecture and trained depth of a recursive reasoner.

    Lengths are counts: `seq_len` cells, `puzzle_rows` embedding rows put before them, `hidden_size` features a row.
    `mixer` is "mlp_t" (MLP over the sequence axis) or "attention"; `pos_encodings` is "rope",
    "rope2d-nano" (by row and column of a square of cells, as nano-trm turns them), "learned" or "none".
    """

    family: str
    mixer: str
    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    hidden_size: int
    expansion: float
    num_heads: int
    L_layers: int
    H_cycles: int
    L_cycles: int
    halt_max_steps: int
    pos_encodings: str
    puzzle_emb_ndim: int
    puzzle_emb_len: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    H_layers: int = 0  # blocks' depth of HRM's second module; 0 where the family has only one
    forward_dtype: str = "bfloat16"
    halt_rule: str = "q_halt>0"  # TRM's q_continue is an untrained constant; HRM compares the two

    @property
    def trained(self) -> Depth:
        """The depth that it was trained with."""
        return Depth(self.halt_max_steps, self.H_cycles, self.L_cycles)

    @property
    def puzzle_rows(self) -> int:
        """P: rows put before the cells for the puzzle embedding."""
        if self.puzzle_emb_len:
            return self.puzzle_emb_len
        return -(-self.puzzle_emb_ndim // self.hidden_size)

    @property
    def rows(self) -> int:
        """S = seq_len + P: rows of the carry."""
        return self.seq_len + self.puzzle_rows

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def turns(self) -> bool:
        """Whether attention turns q and k by their positions."""
        return self.pos_encodings in ROTARY_KINDS

    @property
    def inter(self) -> int:
        """Width of the channel-mixing SwiGLU."""
        return swiglu_width(self.expansion, self.hidden_size)

    @property
    def inter_t(self) -> int:
        """Width of the token-mixing SwiGLU (mixer "mlp_t" only)."""
        return swiglu_width(self.expansion, self.rows)

    @property
    def embed_scale(self) -> float:
        """What embedding rows are multiplied by."""
        return math.sqrt(self.hidden_size)

    @property
    def levels(self) -> tuple[tuple[str, int], ...]:
        """(module name, layers) of each distinct block: one for TRM, two for HRM."""
        low = ("L_level", self.L_layers)
        return (low, ("H_level", self.H_layers)) if self.H_layers else (low,)

    @property
    def h_level(self) -> str:
        """Module that updates z_H: TRM shares the low-level one."""
        return "H_level" if self.H_layers else "L_level"


@dataclass(frozen=True)
class Reasoner:
    """A loaded model: configuration, tensors by the original code's names (without prefix), and where it came from.

    All tensors are float32 C-contiguous arrays but `puzzle_emb.weights`, which may be a read-only memory map.
    """

    config: ReasonerConfig
    tensors: Mapping[str, np.ndarray]
    source: str
    sha256: str
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        c = self.config
        return (
            f"Reasoner({c.family} {c.mixer}, {self.parameters:,} parameters, {c.seq_len} cells of {c.vocab_size} tokens, "
            f"{c.halt_max_steps} steps, from {self.source!r})"
        )

    @property
    def parameters(self) -> int:
        """Trained parameters as the original counts nn.Parameters: without H_init, L_init and the puzzle embedding."""
        skip = {"H_init", "L_init", "puzzle_emb.weights"}
        return sum(int(t.size) for name, t in self.tensors.items() if name not in skip)

    def linear_names(self) -> list[str]:
        """Names of the weights of all linear layers, blocks first, heads last."""
        blocks = [n for n in self.tensors if "_level.layers." in n]
        return sorted(blocks) + ["lm_head.weight", "q_head.weight"]
