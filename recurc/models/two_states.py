"""What TRM and HRM share: two states, z_H and z_L, in nested cycles, and blocks of a mixer over tokens and a SwiGLU."""

from __future__ import annotations

import math

from recurc.errors import InputError
from recurc.models.reasoner import ReasonerConfig
from recurc.ops.attention.op import Attention
from recurc.ops.base import LinearRef, Op, RmsNorm
from recurc.ops.channel_mix.op import ChannelMix
from recurc.ops.token_mix.op import TokenMix
from recurc.recursion import INPUT, ROTARY_KINDS, Block, Depth, Heads, Loop, Recursion, State, Table, Update, Vector


def two_states(config: ReasonerConfig, depth: Depth, high: str) -> Recursion:
    """A step is H cycles of { L cycles of z_L += z_H + X, L_level; z_H += z_L, then block `high` }; the heads read z_H.

    Raises:
        InputError: the heads of attention do not divide the width.
    """
    c = config
    low_turn = Loop("l_cycles", depth.l_cycles, (Update("z_L", ("z_H", INPUT), "L_level"),))
    turn = Loop("h_cycles", depth.h_cycles, (low_turn, Update("z_H", ("z_L",), high)))
    heads = Heads("z_H", LinearRef("lm_head.weight", c.hidden_size, c.vocab_size), LinearRef("q_head.weight", c.hidden_size, 2),
                  Vector("q_bias", "q_head.bias", 2))  # fmt: skip
    starts = (("z_H", "H_init"), ("z_L", "L_init"))
    return Recursion(
        states=tuple(State(name, Vector(start, start, c.hidden_size)) for name, start in starts),
        tables=tables(c), blocks=tuple(block(c, name, layers) for name, layers in c.levels),
        schedule=Loop("steps", depth.steps, (turn,)), heads=heads,
    )  # fmt: skip


def table_factor(config: ReasonerConfig) -> float:
    """What embeddings are multiplied by before they are stored, so that X is a sum of rows."""
    return config.embed_scale * (0.707106781 if config.pos_encodings == "learned" else 1.0)


def tables(c: ReasonerConfig) -> dict[str, Table]:
    """The embeddings, times their scale (and 1/sqrt(2) with learned positions)."""
    factor = table_factor(c)
    found = {"tokens": Table("tokens", c.vocab_size, c.hidden_size, tensor="embed_tokens.embedding_weight", factor=factor)}
    if c.puzzle_emb_ndim:
        found["puzzles"] = Table("puzzles", c.num_puzzle_identifiers, c.puzzle_emb_ndim, tensor="puzzle_emb.weights",
                                 factor=factor)  # fmt: skip
    if c.pos_encodings == "learned":
        found["positions"] = Table("positions", c.rows, c.hidden_size, tensor="embed_pos.embedding_weight", factor=factor)
    return found


def block(c: ReasonerConfig, level: str, layers: int) -> Block:
    """`layers` times a mixer over the sequence and a SwiGLU over the features, each normed after its residual."""
    norm, mixer = RmsNorm(c.rms_norm_eps), token_mix if c.mixer == "mlp_t" else attention
    ops: list[Op] = []
    for i in range(layers):
        prefix = f"{level}.layers.{i}"
        ops.append(mixer(c, prefix, norm))
        gate_up = LinearRef(f"{prefix}.mlp.gate_up_proj.weight", c.hidden_size, 2 * c.inter, parts=2)
        ops.append(ChannelMix(gate_up, LinearRef(f"{prefix}.mlp.down_proj.weight", c.inter, c.hidden_size), norm))
    return Block(level, tuple(ops))


def token_mix(c: ReasonerConfig, prefix: str, norm: RmsNorm) -> TokenMix:
    """A SwiGLU over the sequence, by the original's names."""
    gate_up = LinearRef(f"{prefix}.mlp_t.gate_up_proj.weight", c.rows, 2 * c.inter_t, parts=2)
    return TokenMix(gate_up, LinearRef(f"{prefix}.mlp_t.down_proj.weight", c.inter_t, c.rows), norm)


def attention(c: ReasonerConfig, prefix: str, norm: RmsNorm) -> Attention:
    """Self-attention, by the original's names.

    Raises:
        InputError: the heads do not divide the width, or not into even parts where they are turned (four on a grid); the cells
            are no square where they turn on one.
    """
    d, parts = c.hidden_size, ROTARY_KINDS.get(c.pos_encodings, 1)
    if d % (c.num_heads * parts):
        raise InputError(
            f"{c.num_heads} heads do not divide hidden size {d} into {'even parts' if parts == 2 else f'parts of {parts}'}",
            where="num_heads", why="each head takes hidden_size / num_heads features",
            next="check num_heads in the configuration",
        )  # fmt: skip
    grid = math.isqrt(c.seq_len) if c.pos_encodings == "rope2d-nano" else 0
    if grid and grid**2 != c.seq_len:
        raise InputError("the cells are no square", where="seq_len",
                         why=f"positions on a grid are of a square of cells, and the sequence has {c.seq_len}",
                         next="Correct seq_len or the positions in the configuration")  # fmt: skip
    return Attention(
        LinearRef(f"{prefix}.self_attn.qkv_proj.weight", d, 3 * d, parts=3 * c.num_heads),
        LinearRef(f"{prefix}.self_attn.o_proj.weight", d, d), c.num_heads, c.head_dim, norm,
        rope=c.turns, theta=c.rope_theta, grid=grid,
    )  # fmt: skip
