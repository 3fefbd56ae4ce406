"""Runs HRM's original code and records what it computes, for `test_hrm.py`.

    python tests/models/record_hrm.py CHECKOUT

CHECKOUT is a clone of sapientinc/HRM, or of SamsungSAILMontreal/TinyRecursiveModels, which has a copy of HRM; each records its
own cases. The code runs unmodified in float32 on the CPU; what it imports and this computer does not have (CUDA attention,
trackers) is replaced: attention by its definition. Needs pydantic, and einops for the copy. Of the HRM repository there is
also a checkpoint, written by its own functions.
"""

from __future__ import annotations

import json
import sys
from contextlib import chdir
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock, patch

import numpy as np
import torch

from tests.models.hrm_cases import CASES, IDENTIFIERS, ORIGINAL, PUZZLES, RECORDED, SEQ, VOCAB, Case, puzzles, weights

MISSING = ("wandb", "coolname", "hydra", "omegaconf", "adam_atan2", "tqdm", "argdantic", "numba")
FILE_CASE = Case(ORIGINAL, {"hidden_size": 8, "puzzle_emb_ndim": 8, "H_layers": 1, "L_layers": 2, "pos_encodings": "learned"})
SIZES = {"batch_size": PUZZLES, "seq_len": SEQ, "vocab_size": VOCAB, "num_puzzle_identifiers": IDENTIFIERS, "causal": False}


def flash_attn_func(q, k, v, causal):
    """softmax(q k^T / sqrt(head_dim)) v on [B, S, heads, head_dim], which is what the CUDA kernel computes."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return out.transpose(1, 2).contiguous()


def import_original(checkout: Path) -> ModuleType:
    """The checkout's `pretrain` module; everything else of it is imported through that."""
    attention = ModuleType("flash_attn")
    attention.flash_attn_func = flash_attn_func
    sys.modules["flash_attn"] = attention
    sys.path.insert(0, str(checkout))
    with patch.dict(sys.modules, {name: MagicMock() for name in MISSING}):
        import pretrain
    return pretrain


def make(pretrain: ModuleType, arch: dict, dtype: str) -> torch.nn.Module:
    """The model with its loss head, as `create_model` makes it."""
    extra = {k: v for k, v in arch.items() if k not in ("name", "loss", "forward_dtype")}
    model = pretrain.load_model_class(arch["name"])({**extra, **SIZES, "forward_dtype": dtype})
    return pretrain.load_model_class(arch["loss"]["name"])(model, loss_type=arch["loss"]["loss_type"])


def stripped(state: dict) -> dict:
    return {k.removeprefix("_orig_mod.").removeprefix("model.inner."): v for k, v in state.items()}


def run(head: torch.nn.Module) -> dict[str, np.ndarray]:
    """All supervision steps as `evaluate` runs them: logits, q and the carry after each, [steps, N, ...]."""
    inputs, ids = puzzles()
    tokens = torch.from_numpy(inputs)
    batch = {"inputs": tokens, "labels": tokens, "puzzle_identifiers": torch.from_numpy(ids)}
    kept: dict[str, list] = {"logits": [], "q": [], "z_H": [], "z_L": []}
    keys = ("logits", "q_halt_logits", "q_continue_logits")
    with torch.inference_mode():
        carry, done = head.initial_carry(batch), False
        while not done:
            carry, _, _, out, done = head(return_keys=keys, carry=carry, batch=batch)
            kept["logits"].append(out["logits"].numpy())
            kept["q"].append(torch.stack((out["q_halt_logits"], out["q_continue_logits"]), -1).numpy())
            kept["z_H"].append(carry.inner_carry.z_H.numpy())
            kept["z_L"].append(carry.inner_carry.z_L.numpy())
    return {"logits": np.stack(kept["logits"]), "q": np.stack(kept["q"]), "z_H": kept["z_H"][-1], "z_L": kept["z_L"][-1]}


def record(pretrain: ModuleType, name: str, case: Case) -> None:
    """The case's outputs and what its state dict looks like."""
    as_trained = torch.compile(make(pretrain, case.arch, "bfloat16")).state_dict()
    entries = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in as_trained.items()]
    head = make(pretrain, case.arch, "float32").eval()
    head.model.inner.load_state_dict(weights({k: tuple(v.shape) for k, v in stripped(as_trained).items()}))
    np.savez_compressed(RECORDED / f"{name}.npz", **run(head))
    (RECORDED / f"{name}.json").write_text(json.dumps(entries) + "\n")
    print(name, f"{len(entries)} tensors")


def write_file(pretrain: ModuleType) -> None:
    """A checkpoint folder by the repository's own functions, and its outputs."""
    arch = FILE_CASE.arch
    torch.manual_seed(0)
    head = make(pretrain, arch, "bfloat16")
    with torch.no_grad():  # zero in a fresh model: as if it had been trained
        head.model.inner.q_head.weight.normal_()
        head.model.inner.puzzle_emb.weights.normal_()
    config = pretrain.PretrainConfig(
        arch=arch, data_path="data/sudoku", global_batch_size=PUZZLES, epochs=100, lr=1e-4, lr_min_ratio=1.0,
        lr_warmup_steps=2000, weight_decay=0.1, beta1=0.9, beta2=0.95, puzzle_emb_lr=1e-2, puzzle_emb_weight_decay=0.1,
        checkpoint_path="checkpoint",
        project_name="Sudoku ACT-torch", run_name="HierarchicalReasoningModel_ACTV1 small-fixture",
    )  # fmt: skip
    pretrain.shutil = MagicMock()  # the code itself is not copied
    with chdir(RECORDED):
        pretrain.save_code_and_config(config)
        pretrain.save_train_state(config, SimpleNamespace(model=torch.compile(head), step=20))
    exact = make(pretrain, arch, "float32").eval()
    exact.load_state_dict(head.state_dict())
    np.savez_compressed(RECORDED / "checkpoint.npz", **run(exact))


def main(checkout: Path) -> None:
    pretrain = import_original(checkout)
    RECORDED.mkdir(exist_ok=True)
    original = (checkout / "models" / "hrm" / "hrm_act_v1.py").exists()
    for name, case in CASES.items():
        if (case.name == ORIGINAL) == original:
            record(pretrain, name, case)
    if original:
        write_file(pretrain)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
