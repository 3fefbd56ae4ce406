"""Runs the original code of HRM and TRM and records what it computes, for `test_hrm.py` and `test_reference.py`.

    python -m tests.models.record_original CHECKOUT

CHECKOUT is a clone of sapientinc/HRM, or of SamsungSAILMontreal/TinyRecursiveModels, which has a copy of HRM; each records its
own cases. The source runs unmodified on the CPU; what it imports and this computer does not have (CUDA attention, trackers)
is replaced: attention by its definition. Needs pydantic, and einops for the copy. Of the HRM repository there is also a
checkpoint, written by its own functions.

All is computed in float64, so that the recordings do not hold the rounding of the processor that made them: in float32 the
order of sums differs from one to the next. The code has float32 written into it in three places (the norm, the rotation
tables, the q values); it sees a `torch` whose float32 is float64.
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
import yaml

from recurc.dataset import load_dataset
from tests.models.hrm_cases import (
    CASES,
    CHECKPOINT_CASE,
    IDENTIFIERS,
    ORIGINAL,
    PUZZLES,
    RECORDED,
    SEQ,
    VOCAB,
    Case,
    puzzles,
    weights,
)

MISSING = ("wandb", "coolname", "hydra", "omegaconf", "adam_atan2", "tqdm", "argdantic", "numba")
SIZES = {"batch_size": PUZZLES, "seq_len": SEQ, "vocab_size": VOCAB, "num_puzzle_identifiers": IDENTIFIERS, "causal": False}


SUDOKU4 = RECORDED.parent / "trm_mlp_sudoku4"


class DoubleTorch(ModuleType):
    """torch, but for its float32, which is float64."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


def flash_attn_func(q, k, v, causal):
    """softmax(q k^T / sqrt(head_dim)) v on [B, S, heads, head_dim], which is what the CUDA kernel computes."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return out.transpose(1, 2).contiguous()


def import_original(checkout: Path) -> ModuleType:
    """The checkout's `pretrain` module; everything else of it is imported through that, with float64 for float32."""
    attention = ModuleType("flash_attn")
    attention.flash_attn_func = flash_attn_func
    sys.modules["flash_attn"] = attention
    sys.path.insert(0, str(checkout))
    with patch.dict(sys.modules, {name: MagicMock() for name in MISSING}):
        import pretrain
    return pretrain


def make(pretrain: ModuleType, arch: dict, dtype: str, **sizes: int) -> torch.nn.Module:
    """The model with its loss head, as `create_model` makes it; whole in float64 where `dtype` is that."""
    extra = {k: v for k, v in arch.items() if k not in ("name", "loss", "forward_dtype")}
    cls = pretrain.load_model_class(arch["name"])
    if dtype == "float64":
        for module in (sys.modules[cls.__module__], sys.modules["models.layers"]):
            module.torch = DoubleTorch("torch")
    model = cls({**extra, **SIZES, **sizes, "forward_dtype": dtype})
    head = pretrain.load_model_class(arch["loss"]["name"])(model, loss_type=arch["loss"]["loss_type"])
    return head.double().eval() if dtype == "float64" else head


def stripped(state: dict) -> dict:
    return {k.removeprefix("_orig_mod.").removeprefix("model.inner."): v for k, v in state.items()}


def run(head: torch.nn.Module, inputs: np.ndarray, ids: np.ndarray) -> dict[str, np.ndarray]:
    """All supervision steps as `evaluate` runs them: logits, q, z_H and z_L after each, [steps, N, ...] float64."""
    tokens = torch.from_numpy(inputs.astype(np.int32))
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
    found = {k: np.stack(v) for k, v in kept.items()}
    assert all(v.dtype == np.float64 and not np.array_equal(v, v.astype(np.float32)) for v in found.values())
    return found


def save(name: str, found: dict[str, np.ndarray]) -> None:
    """An HRM case's recording: the carry of the last step only."""
    last = {k: v[-1] if k in ("z_H", "z_L") else v for k, v in found.items()}
    np.savez_compressed(RECORDED / f"{name}.npz", **last)
    print(name, {k: v.shape for k, v in last.items()})


def record(pretrain: ModuleType, name: str, case: Case) -> None:
    """The case's outputs and what its state dict looks like."""
    as_trained = torch.compile(make(pretrain, case.arch, "bfloat16")).state_dict()
    entries = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in as_trained.items()]
    head = make(pretrain, case.arch, "float64")
    head.model.inner.load_state_dict(weights({k: tuple(v.shape) for k, v in stripped(as_trained).items()}))
    save(name, run(head, *puzzles()))
    (RECORDED / f"{name}.json").write_text(json.dumps(entries) + "\n")


def write_file(pretrain: ModuleType) -> None:
    """A checkpoint folder by the repository's own functions."""
    arch = CHECKPOINT_CASE.arch
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


def loaded(head: torch.nn.Module, file: Path) -> torch.nn.Module:
    """The model with the tensors of a file that the original wrote, under their own names."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    head.model.inner.load_state_dict(stripped(state))
    return head


def record_sudoku4(pretrain: ModuleType) -> None:
    """A trained TRM on 32 puzzles: q of all steps; logits, and z_H of four puzzles, after the first and the last step."""
    arch = yaml.safe_load((SUDOKU4 / "checkpoint" / "all_config.yaml").read_text())["arch"]
    test = load_dataset(SUDOKU4 / "data", "test").take(32)
    sizes = {
        "batch_size": 32,
        "seq_len": test.seq_len,
        "vocab_size": test.vocab_size,
        "num_puzzle_identifiers": test.num_puzzle_identifiers,
    }
    head = loaded(make(pretrain, arch, "float64", **sizes), SUDOKU4 / "checkpoint" / "step_1000")
    found = run(head, test.inputs, test.puzzle_ids.astype(np.int32))
    kept = {"q": found["q"]}
    for name, step in (("first", 0), ("last", -1)):
        kept |= {f"logits_{name}": found["logits"][step], f"z_H_{name}": found["z_H"][step][:4]}
    np.savez_compressed(SUDOKU4 / "reference_outputs.npz", **kept)
    print("trm_mlp_sudoku4", {k: v.shape for k, v in kept.items()})


def main(checkout: Path) -> None:
    pretrain = import_original(checkout)
    RECORDED.mkdir(exist_ok=True)
    original = (checkout / "models" / "hrm" / "hrm_act_v1.py").exists()
    for name, case in CASES.items():
        if (case.name == ORIGINAL) == original:
            record(pretrain, name, case)
    if original:
        if not (RECORDED / "checkpoint").exists():
            write_file(pretrain)
        head = make(pretrain, CHECKPOINT_CASE.arch, "float64")
        save("checkpoint", run(loaded(head, RECORDED / "checkpoint" / "step_20"), *puzzles()))
    else:
        record_sudoku4(pretrain)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
