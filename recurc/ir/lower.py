"""Reasoner configuration -> Program."""

from __future__ import annotations

from typing import Optional

from recurc.errors import InputError
from recurc.ir.program import (
    CARRIES,
    STORAGES,
    Attention,
    Block,
    ChannelMix,
    LinearRef,
    Loop,
    Op,
    Program,
    Table,
    TokenMix,
    Update,
)
from recurc.models.reasoner import ReasonerConfig

IMAGE_TABLE_BYTES = 64 * 1024  # larger puzzle tables are streamed, unless asked otherwise
MAX_VOCAB = 256  # a token is one byte on the wire and in memory


def lower(
    config: ReasonerConfig, *, steps: Optional[int] = None, h_cycles: Optional[int] = None,
    l_cycles: Optional[int] = None, carry: str = "fp32", puzzle_table: str = "image",
    scratch: Optional[int] = None,
) -> Program:
    """Lower a configuration, optionally with another depth than the trained one.

    Args:
        carry: how z_H and z_L are stored, one of CARRIES.
        puzzle_table: where the puzzle embeddings are, one of STORAGES, or "auto": in the image up to IMAGE_TABLE_BYTES,
            else streamed as fp32 rows. Without meaning for models that have none.
        scratch: most bytes of working memory for tiles. More means fewer passes over the weights, the same bits.

    Raises:
        InputError: the vocabulary does not fit one byte, or the heads do not divide the width.
    """
    c = config
    if c.vocab_size > MAX_VOCAB:
        raise InputError(
            f"a vocabulary of {c.vocab_size} tokens is not supported", where="vocab_size",
            why=f"the runtime keeps a token in one byte, so at most {MAX_VOCAB}",
            next="recursive reasoners on grids use 6 to 12; check that this is the model you mean",
        )
    if c.mixer == "attention" and (c.hidden_size % c.num_heads or (c.head_dim % 2 and c.pos_encodings == "rope")):
        raise InputError(
            f"{c.num_heads} heads do not divide hidden size {c.hidden_size} into even parts", where="num_heads",
            why="each head takes hidden_size / num_heads features", next="check num_heads in the configuration",
        )
    if puzzle_table == "auto":
        size = 4 * c.num_puzzle_identifiers * c.puzzle_emb_ndim
        puzzle_table = "image" if size <= IMAGE_TABLE_BYTES else "fp32"
    if carry not in CARRIES or puzzle_table not in STORAGES:
        raise ValueError(f"carry {carry!r}, puzzle table {puzzle_table!r}")
    n_steps, n_h, n_l = steps or c.halt_max_steps, h_cycles or c.H_cycles, l_cycles or c.L_cycles
    low = Update("z_L", ("z_H", "X"), "L_level")
    high = Update("z_H", ("z_L",), c.h_level)
    schedule = Loop("steps", n_steps, (Loop("h_cycles", n_h, (Loop("l_cycles", n_l, (low,)), high)),))
    return Program(
        config=c, tables=_tables(c, puzzle_table), blocks=tuple(_block(c, name, layers) for name, layers in c.levels),
        schedule=schedule,
        lm_head=LinearRef("lm_head.weight", c.hidden_size, c.vocab_size),
        q_head=LinearRef("q_head.weight", c.hidden_size, 2),
        steps=n_steps, h_cycles=n_h, l_cycles=n_l, carry=carry, scratch=scratch,
    )


def _tables(c: ReasonerConfig, puzzle_storage: str) -> dict[str, Table]:
    tables = {"tokens": Table("tokens", c.vocab_size, c.hidden_size)}
    if c.puzzle_emb_ndim:
        tables["puzzles"] = Table("puzzles", c.num_puzzle_identifiers, c.puzzle_emb_ndim, puzzle_storage)
    if c.pos_encodings == "learned":
        tables["positions"] = Table("positions", c.rows, c.hidden_size)
    return tables


def _block(c: ReasonerConfig, level: str, layers: int) -> Block:
    ops: list[Op] = []
    for i in range(layers):
        prefix = f"{level}.layers.{i}"
        if c.mixer == "mlp_t":
            ops.append(TokenMix(
                LinearRef(f"{prefix}.mlp_t.gate_up_proj.weight", c.rows, 2 * c.inter_t, parts=2),
                LinearRef(f"{prefix}.mlp_t.down_proj.weight", c.inter_t, c.rows),
            ))
        else:
            d = c.hidden_size
            ops.append(Attention(
                LinearRef(f"{prefix}.self_attn.qkv_proj.weight", d, 3 * d, parts=3 * c.num_heads),
                LinearRef(f"{prefix}.self_attn.o_proj.weight", d, d),
                heads=c.num_heads, head_dim=c.head_dim, rope=c.pos_encodings == "rope",
            ))
        ops.append(ChannelMix(
            LinearRef(f"{prefix}.mlp.gate_up_proj.weight", c.hidden_size, 2 * c.inter, parts=2),
            LinearRef(f"{prefix}.mlp.down_proj.weight", c.inter, c.hidden_size),
        ))
    return Block(level, tuple(ops))
