"""Runs nano-trm and records what it computes, for `test_nano_trm.py`.

    python -m tests.models.record_nano_trm CHECKOUT

CHECKOUT is a clone of olivkoch/nano-trm, whose source runs unmodified on the CPU. Needs lightning, einops and scikit-learn.
Everything is computed in float64, as in `record_original.py`; one checkpoint is written by Lightning itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from tests.models.nano_cases import CASES, FILE_CASE, PUZZLES, RECORDED, puzzles, weights
from tests.models.record_original import DoubleTorch


def import_nano(checkout: Path) -> SimpleNamespace:
    """Its modules, which see float64 for float32."""
    sys.path.insert(0, str(checkout))
    from src.nn.callbacks import ema
    from src.nn.models import trm
    from src.nn.modules import sparse_embeddings, trm_block

    for module in (trm, trm_block, sparse_embeddings):
        module.torch = DoubleTorch("torch")
    return SimpleNamespace(Module=trm.TRMModule, EMACallback=ema.EMACallback)


def run(module: torch.nn.Module, steps: int, inputs: np.ndarray, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Logits and q after each step [steps, N, ...], z_H and z_L after the last one, as its own evaluation turns the carry."""
    batch = {"input": torch.from_numpy(inputs), "puzzle_identifiers": torch.from_numpy(ids)}
    kept: dict[str, list] = {"logits": [], "q": []}
    with torch.inference_mode():
        carry = module.initial_carry(batch)
        for _ in range(steps):
            carry, out = module(carry, batch)
            kept["logits"].append(out["logits"].numpy())
            kept["q"].append(out["q_halt_logits"].numpy())
    found = {k: np.stack(v) for k, v in kept.items()}
    found |= {"z_H": carry.inner_carry.z_H.numpy(), "z_L": carry.inner_carry.z_L.numpy()}
    assert bool(carry.halted.all()) and all(v.dtype == np.float64 for v in found.values())
    return found


def write_file(nano: SimpleNamespace, path: Path) -> None:
    """A checkpoint by Lightning's own trainer: live weights, and other averaged ones in the callback's state."""
    import lightning

    torch.manual_seed(0)
    module = nano.Module(**FILE_CASE, forward_dtype=torch.bfloat16).float()
    averaged = nano.EMACallback(decay=0.9)
    averaged.on_fit_start(None, module)
    with torch.no_grad():
        for value in averaged.shadow.values():
            value.add_(torch.randn_like(value), alpha=0.2)
        module.puzzle_emb.weights.normal_()
    trainer = lightning.Trainer(accelerator="cpu", callbacks=[averaged], logger=False, enable_checkpointing=False,
                                enable_progress_bar=False)  # fmt: skip
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)


def main(checkout: Path) -> None:
    nano = import_nano(checkout)
    RECORDED.mkdir(exist_ok=True)
    names = {}
    for name, case in CASES.items():
        module = nano.Module(**case, batch_size=PUZZLES, forward_dtype=torch.float64).double().eval()
        state = module.state_dict()
        names[name] = [[k, list(v.shape)] for k, v in state.items()]
        module.load_state_dict(weights({k: tuple(v.shape) for k, v in state.items()}))
        np.savez_compressed(RECORDED / f"{name}.npz", **run(module, case["N_supervision_val"], *puzzles(case)))
    (RECORDED / "names.json").write_text(json.dumps(names, indent=1) + "\n")
    path = RECORDED / "last.ckpt"
    write_file(nano, path)
    saved = torch.load(path, weights_only=False)
    module = nano.Module(**{**FILE_CASE, "forward_dtype": torch.float64}).double().eval()
    (shadow,) = (c["shadow"] for c in saved["callbacks"].values() if "shadow" in c)
    module.load_state_dict(saved["state_dict"] | shadow)
    np.savez_compressed(RECORDED / "last.npz", **run(module, FILE_CASE["N_supervision_val"], *puzzles(FILE_CASE)))
    print({f.name: f.stat().st_size for f in sorted(RECORDED.iterdir())}, {k: type(v).__name__ for k, v in saved.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
