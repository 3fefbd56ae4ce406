"""Writes a trained model as a folder that recurc (or anything else) reads.

=====================  ============================================================================
config.json            the model's shape, one flat object
model.safetensors      averaged (EMA) weights; keys of the original inner model, no prefix
data/{train,test}/     the reference code's dataset directory: calibration and held-out puzzles
metrics.json           everything measured; README.md is written from it
README.md, curves.png  model card, training curves
recipe.toml            how to train it again
=====================  ============================================================================
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import torch
import yaml

from . import evaluate
from .card import model_card
from .plots import plot_curves
from .puzzles import Puzzles, Source

RAW_PREFIX = "_orig_mod.model.inner."  # the original saves a torch.compile'd loss head


def checkpoint(trainer, weights: str) -> dict[str, torch.Tensor]:
    """The EMA state dict; with `weights` = bfloat16 everything but the biases is stored in 2 bytes.

    Storing bf16 loses nothing in bf16 compute: the forward pass rounds the weights the same way.
    """
    state = {}
    for key, value in trainer.ema.state_dict_of(trainer.model).items():
        narrow = weights == "bfloat16" and value.ndim > 1
        state[key] = value.to(torch.bfloat16).contiguous() if narrow else value.contiguous()
    return state


def export_raw(trainer, folder: Path) -> Path:
    """`step_N` + `all_config.yaml` exactly as the original training code leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe, cfg = trainer.recipe, trainer.recipe.model
    state = {RAW_PREFIX + k: v for k, v in checkpoint(trainer, "float32").items()}
    path = folder / f"step_{trainer.step}"
    torch.save(state, path)
    # The task's sizes come from its dataset.json; what the original leaves at its default is in no configuration of its own.
    flat = cfg.as_flat_dict()
    left_out = ("arch_name", "seq_len", "vocab_size", "num_puzzle_identifiers", "rms_norm_eps", "rope_theta")
    config = {
        "arch": {
            "name": flat["arch_name"],
            "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
            **{k: v for k, v in flat.items() if k not in left_out},
        },
        "beta1": 0.9,
        "beta2": 0.95,
        "checkpoint_path": f"checkpoints/{recipe.name}",
        "data_paths": ["data"],
        "data_paths_test": [],
        "ema": True,
        "ema_rate": recipe.train.ema,
        "evaluators": [],
        "global_batch_size": recipe.train.batch,
        "lr": recipe.train.lr,
        "lr_min_ratio": recipe.train.lr_min_ratio,
        "lr_warmup_steps": recipe.train.warmup,
        "project_name": "recurc-examples",
        "run_name": recipe.name,
        "seed": recipe.train.seed,
        "weight_decay": recipe.train.weight_decay,
    }
    if trainer.rows is not None:
        config["puzzle_emb_lr"] = recipe.train.puzzle_emb_lr
        config["puzzle_emb_weight_decay"] = recipe.train.puzzle_emb_weight_decay
    (folder / "all_config.yaml").write_text(yaml.dump(config))
    return path


def measure(trainer, state: dict, train: Puzzles, test: Puzzles, say) -> dict:
    """The model card's figures, from the weights as stored."""
    recipe = trainer.recipe
    test = test.take(recipe.export.card_puzzles)
    model = evaluate.make_eval_model(recipe.model, state, recipe.export.card_dtype)
    steps = recipe.model.halt_max_steps

    def predict(inputs: np.ndarray, ids: np.ndarray):
        return evaluate.predict(model, inputs, ids, steps, progress=lambda i, n: say(f"measuring {i}/{n}"))

    tokens, q = predict(test.inputs, test.ids)
    groups = recipe.task.groups(test, recipe.export.edges)
    figures = evaluate.summary(*evaluate.score(tokens, test.labels), q, groups)
    planned = tomllib.loads(recipe.text)["train"].get("minutes", 0.0)
    return {
        "name": recipe.name,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "optimizer_steps": trainer.step,
        "minutes": round(trainer.elapsed / 60, 1),
        "batch": recipe.train.batch,
        "minutes_option": None if recipe.train.minutes == planned else recipe.train.minutes,
        "finished": trainer.progress() >= 1.0,
        "stored_weights": recipe.export.weights,
        "compute": recipe.export.card_dtype,
        "torch_threads": torch.get_num_threads(),
        "held_out": figures,
        **recipe.task.more_figures(predict, train, test, tokens, q),
    }


def export(trainer, train_pool: Source, test: Puzzles, out: Path, say=print, raw: Path | None = None) -> None:
    """Writes the folder `out` (beside it first, then swapped in, so readers never see half of one)."""
    from safetensors.torch import save_file

    recipe = trainer.recipe
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

    state = checkpoint(trainer, recipe.export.weights)
    save_file(state, part / "model.safetensors")
    (part / "model.safetensors").chmod(0o644)  # safetensors writes 0600
    (part / "config.json").write_text(json.dumps(recipe.model.as_flat_dict(), indent=2) + "\n")
    rng = np.random.default_rng([recipe.task.seed, 3])
    train = train_pool.draw(recipe.export.train_slice, rng)
    recipe.task.write_data(part / "data", train, test)
    (part / "recipe.toml").write_text(recipe.text)

    metrics = measure(trainer, state, train, test, say)
    metrics["safetensors_bytes"] = (part / "model.safetensors").stat().st_size
    (part / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    plot_curves(trainer.history, trainer.evals, recipe.title, part / "curves.png")
    (part / "README.md").write_text(model_card(metrics, recipe))
    if raw is not None:
        say(f"wrote {export_raw(trainer, raw)}")

    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(part, out)
    shutil.rmtree(old, ignore_errors=True)
    say(f"wrote {out}")
