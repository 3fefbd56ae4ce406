"""A start for attention models on grids: each head looks at one neighbour, for instance the cell above.

At random weights a head spreads over all positions, so what a neighbour says is one part in as many, and finding the places
one row up or down is most of the training of a small model. Here the heads know the places from the start; what is done with
them is learnt. Only the initial weights differ: the forward pass is the original's, and training may change everything.

How: the token embeddings and both initial states get a common part, the same for all positions. Queries and keys read it as a
constant vector, turned by rope: a key at place j has the angles j f, a query at place i those of place i + offset, so their
product is largest at j = i + offset. The high frequencies, which tell neighbouring places apart, weigh most.
"""

from __future__ import annotations

import torch

from .model import Reasoner

PEAK = (8.0, 4.0, 3.0, 2.0, 2.0)  # what each rope frequency adds to the logit at the wanted place, the highest first
COMMON = 1.0  # the common part of every embedding and state, beside random parts of the same size
NOISE = 0.3  # of the usual random queries and keys is kept
WRITES = 0.2  # likewise of what the layers add to a state, which would drown the common part


@torch.no_grad()
def look_at(model: Reasoner, offsets: tuple[int, ...]) -> None:
    """Head h of every attention layer starts by looking `offsets[h]` places further on (negative: back).

    Raises:
        ValueError: not one offset a head, or a model without rope.
    """
    cfg = model.cfg
    if cfg.mlp_t or cfg.pos_encodings != "rope":
        raise ValueError("attention_offsets need attention with rope")
    if len(offsets) != cfg.num_heads:
        raise ValueError(f"attention_offsets: {len(offsets)} for {cfg.num_heads} heads")
    d, hd = cfg.hidden_size, cfg.hidden_size // cfg.num_heads
    model.embed_tokens.embedding_weight += COMMON * d**-0.5  # embeddings are multiplied by sqrt(d) when read
    for state in (model.H_init, model.L_init):
        state += COMMON
    half = torch.arange(0, hd, 2, dtype=torch.float32)
    used = min(len(PEAK), len(half))
    freq = cfg.rope_theta ** (-half[:used] / hd)
    size = (torch.tensor(PEAK[:used]) * hd**0.5).sqrt()  # logits are divided by sqrt(hd)
    for level in (getattr(model, name) for name in ("H_level", "L_level") if hasattr(model, name)):
        for i, layer in enumerate(level.layers):
            # A block's first layer reads a sum of two or three states, the others a normalised one.
            seen = 2.4 if i == 0 else 0.7
            read = torch.full((d,), 1 / (d * seen))  # times a row: about 1
            for writer in (layer.self_attn.o_proj, layer.mlp.down_proj):
                writer.weight *= WRITES
            weight = layer.self_attn.qkv_proj.weight
            weight[: 2 * d] *= NOISE
            for head, offset in enumerate(offsets):
                for start, angle in ((head * hd, freq * offset), (d + head * hd, torch.zeros(used))):
                    weight[start : start + used] += torch.outer(size * angle.cos(), read)
                    weight[start + hd // 2 : start + hd // 2 + used] += torch.outer(size * angle.sin(), read)
