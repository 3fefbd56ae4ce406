"""Random TRM checkpoints in the original code's own file format."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
import yaml

PREFIX = "_orig_mod.model.inner."
ARCH_NAME = "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"


def arch(**changes) -> dict:
    """The `arch` part of all_config.yaml of a small attention model, with changes (None removes a field)."""
    fields = {
        "name": ARCH_NAME,
        "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
        "H_cycles": 2,
        "L_cycles": 2,
        "H_layers": 0,
        "L_layers": 2,
        "hidden_size": 32,
        "num_heads": 4,
        "expansion": 4,
        "puzzle_emb_ndim": 32,
        "pos_encodings": "rope",
        "forward_dtype": "bfloat16",
        "mlp_t": False,
        "puzzle_emb_len": 3,
        "no_ACT_continue": True,
        "halt_exploration_prob": 0.1,
        "halt_max_steps": 4,
    }
    fields.update(changes)
    return {k: v for k, v in fields.items() if v is not None}


def width(expansion: float, n: int) -> int:
    """Inner width of a SwiGLU, as `models/shapes.py` has it."""
    return math.ceil(round(expansion * n * 2 / 3) / 256) * 256


def state_dict(a: dict, seq_len: int = 9, vocab: int = 7, identifiers: int = 5, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors of the original's names (no prefix) and shapes, H_init and L_init in bfloat16."""
    g = torch.Generator().manual_seed(seed)
    d, ndim = a["hidden_size"], a["puzzle_emb_ndim"]
    p = a.get("puzzle_emb_len", 16) or math.ceil(ndim / d)
    s = seq_len + p

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * shape[-1] ** -0.5

    sd = {
        "H_init": torch.randn(d, generator=g).to(torch.bfloat16),
        "L_init": torch.randn(d, generator=g).to(torch.bfloat16),
        "embed_tokens.embedding_weight": normal(vocab, d),
        "lm_head.weight": normal(vocab, d),
        "q_head.weight": normal(2, d),
        "q_head.bias": torch.tensor([-4.0, -5.0]),
    }
    sd["q_head.weight"][1] = 0.0
    if ndim:
        sd["puzzle_emb.weights"] = normal(identifiers, ndim)
    if a.get("pos_encodings") == "learned":
        sd["embed_pos.embedding_weight"] = normal(s, d)
    inner, inner_t = width(a["expansion"], d), width(a["expansion"], s)
    for i in range(a["L_layers"]):
        layer = f"L_level.layers.{i}"
        if a["mlp_t"]:
            sd[f"{layer}.mlp_t.gate_up_proj.weight"] = normal(2 * inner_t, s)
            sd[f"{layer}.mlp_t.down_proj.weight"] = normal(s, inner_t)
        else:
            sd[f"{layer}.self_attn.qkv_proj.weight"] = normal(3 * d, d)
            sd[f"{layer}.self_attn.o_proj.weight"] = normal(d, d)
        sd[f"{layer}.mlp.gate_up_proj.weight"] = normal(2 * inner, d)
        sd[f"{layer}.mlp.down_proj.weight"] = normal(d, inner)
    return sd


def write_dataset(
    folder: Path, seq_len: int = 9, vocab: int = 7, identifiers: int = 5, n: int = 6, seed: int = 0, dtype=np.uint8
) -> Path:
    """A dataset directory with random tokens: one example a puzzle but the first puzzle, which has two."""
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        out = folder / split
        out.mkdir(parents=True, exist_ok=True)
        puzzles = n - 1
        np.save(out / "all__inputs.npy", rng.integers(0, vocab, (n, seq_len)).astype(dtype))
        np.save(out / "all__labels.npy", rng.integers(0, vocab, (n, seq_len)).astype(dtype))
        np.save(out / "all__puzzle_identifiers.npy", (np.arange(puzzles) % identifiers).astype(np.int32))
        np.save(out / "all__puzzle_indices.npy", np.array([0, *range(2, n + 1)], dtype=np.int32))
        np.save(out / "all__group_indices.npy", np.arange(puzzles + 1, dtype=np.int32))
        meta = {"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": vocab, "seq_len": seq_len}
        meta |= {"num_puzzle_identifiers": identifiers, "total_groups": puzzles, "mean_puzzle_examples": 1.2}
        (out / "dataset.json").write_text(json.dumps(meta | {"total_puzzles": puzzles, "sets": ["all"]}))
    (folder / "identifiers.json").write_text('["<blank>"]')
    return folder


def write_checkpoint(
    folder: Path, a: dict, sd: dict, *, name: str = "step_1000", prefix: str = PREFIX, config: bool = True, **save
) -> Path:
    """A checkpoint folder as `pretrain.py` leaves it. Returns the weights file."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({prefix + k: v for k, v in sd.items()}, folder / name, **save)
    if config:
        document = {"arch": a, "data_paths": ["data"], "data_paths_test": [], "ema": True, "seed": 0}
        (folder / "all_config.yaml").write_text(yaml.dump(document))
    return folder / name


def write_model(folder: Path, a: dict, *, seq_len: int = 9, seed: int = 0, dataset: bool = True, **options) -> Path:
    """A random model and, beside it, its dataset (`data`). Returns the weights file."""
    sd = state_dict(a, seq_len=seq_len, seed=seed)
    if dataset:
        write_dataset(folder / "data", seq_len=seq_len, seed=seed)
    return write_checkpoint(folder, a, sd, **options)


def own_weights(folder: Path) -> None:
    """The weights of a converted checkpoint are changed on purpose: its configuration names them no more."""
    config = json.loads((folder / "config.json").read_text())
    del config["weights_sha256"]
    (folder / "config.json").write_text(json.dumps(config))
