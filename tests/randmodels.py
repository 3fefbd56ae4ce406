"""Random reasoners in memory, and the small trained one that the tests carry."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from recurc.models.checkpoint import load
from recurc.models.hrm import HALT_RULE
from recurc.models.reasoner import Reasoner, ReasonerConfig

DATA = Path(__file__).parent / "data" / "trm_mlp_sudoku4"


@lru_cache(maxsize=1)
def sudoku4() -> Reasoner:
    """The trained 4x4 sudoku model of tests/data (TRM-MLP, 16 cells, hidden 64)."""
    return load(DATA / "checkpoint", DATA / "data")


def random_reasoner(
    mixer: str = "attention",
    *,
    seq: int = 9,
    vocab: int = 7,
    hidden: int = 32,
    heads: int = 4,
    pos: str = "rope",
    ndim: int = 32,
    plen: int = 1,
    layers: int = 2,
    cycles: tuple[int, int] = (2, 2),
    steps: int = 4,
    puzzles: int = 3,
    expansion: float = 4,
    seed: int = 0,
    h_layers: int = 0,
) -> Reasoner:
    """A TRM of any shape with random weights; q_head row 1 is zero, as in every trained TRM. With `h_layers`: an HRM."""
    rng = np.random.default_rng(seed)
    family = {"family": "hrm", "H_layers": h_layers, "halt_rule": HALT_RULE} if h_layers else {"family": "trm"}
    c = ReasonerConfig(
        mixer=mixer, seq_len=seq, vocab_size=vocab, num_puzzle_identifiers=puzzles, hidden_size=hidden, expansion=expansion,
        num_heads=heads, L_layers=layers, H_cycles=cycles[0], L_cycles=cycles[1], halt_max_steps=steps, pos_encodings=pos,
        puzzle_emb_ndim=ndim, puzzle_emb_len=0 if h_layers else plen, **family,
    )  # fmt: skip

    def linear(n: int, k: int) -> np.ndarray:
        return rng.normal(size=(n, k)) / np.sqrt(k)

    t = {
        "H_init": rng.normal(size=hidden),
        "L_init": rng.normal(size=hidden),
        "embed_tokens.embedding_weight": linear(vocab, hidden),
        "lm_head.weight": linear(vocab, hidden),
        "q_head.weight": linear(2, hidden),
        "q_head.bias": np.array([-0.05, -5.0]),
    }
    t["q_head.weight"][1] *= bool(h_layers)
    if ndim:
        t["puzzle_emb.weights"] = rng.normal(size=(puzzles, ndim)) * 0.1
    if pos == "learned":
        t["embed_pos.embedding_weight"] = linear(c.rows, hidden)
    for p in (f"{level}.layers.{i}" for level, count in c.levels for i in range(count)):
        if mixer == "mlp_t":
            t[f"{p}.mlp_t.gate_up_proj.weight"] = linear(2 * c.inter_t, c.rows)
            t[f"{p}.mlp_t.down_proj.weight"] = linear(c.rows, c.inter_t)
        else:
            t[f"{p}.self_attn.qkv_proj.weight"] = linear(3 * hidden, hidden)
            t[f"{p}.self_attn.o_proj.weight"] = linear(hidden, hidden)
        t[f"{p}.mlp.gate_up_proj.weight"] = linear(2 * c.inter, hidden)
        t[f"{p}.mlp.down_proj.weight"] = linear(hidden, c.inter)
    return Reasoner(c, {name: np.float32(v) for name, v in t.items()}, "random", "0" * 64)


def smallest_reasoner(seq: int, vocab: int) -> Reasoner:
    """A TRM-MLP that is as small as one can be and solves nothing: for what does not depend on answers."""
    return random_reasoner(
        "mlp_t",
        seq=seq,
        vocab=vocab,
        hidden=16,
        heads=2,
        pos="none",
        layers=1,
        cycles=(1, 1),
        steps=2,
        puzzles=1,
        ndim=0,
        plen=0,
    )


def random_inputs(reasoner: Reasoner, n: int = 2, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [n, seq] and puzzle identifiers [n]."""
    c, rng = reasoner.config, np.random.default_rng(seed)
    ids = rng.integers(0, c.num_puzzle_identifiers if c.puzzle_emb_ndim else 1, n)
    return rng.integers(0, c.vocab_size, (n, c.seq_len)).astype(np.uint8), ids
