"""The compressions that `study` measures, as models in the checkpoint's place: pruned, distilled, with linear attention, QAT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Optional

import numpy as np
import torch

from recurc.dataset import Dataset
from recurc.models.layers import model_tensors
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.quant.weights import precision_named
from recurc.study.learning import Learner, Recipe, identity, learn

PRUNED = 0.25
DISTILL = Recipe(200, 3e-4)
RETRAIN = Recipe(200, 3e-4)
QAT_SHORT, QAT_LONG = Recipe(100, 1e-5), Recipe(600, 1e-4)
Progress = Optional[Callable[[int], None]]


@dataclass(frozen=True)
class Altered(Reasoner):
    """A model whose attention is not softmax: `attention` is "linear"."""

    attention: str = "softmax"


def pruned(reasoner: Reasoner, share: float = PRUNED) -> Reasoner:
    """Every linear layer's `share` of rows with the least L2 norm set to zero, as the study's released code does."""
    tensors = dict(reasoner.tensors)
    for name in reasoner.linear_names():
        w = np.array(tensors[name], dtype=np.float32)
        count = round(share * len(w))
        w[np.argsort(np.square(w.astype(np.float64)).sum(axis=1), kind="stable")[:count]] = 0
        tensors[name] = w
    return replace(reasoner, tensors=tensors, sha256=identity(reasoner.sha256, "pruned", share))


def student_config(config: ReasonerConfig) -> ReasonerConfig:
    """Half the width and heads, one layer, one high-level cycle: about 13 % of the published model's parameters."""
    width = config.hidden_size // 2
    heads = max(1, config.num_heads // 2)
    ndim = config.puzzle_emb_ndim // 2
    return replace(config, hidden_size=width, num_heads=heads, L_layers=1, H_layers=min(config.H_layers, 1), H_cycles=1,
                   puzzle_emb_ndim=ndim, puzzle_emb_len=config.puzzle_rows)


def student(reasoner: Reasoner, seed: int = 0) -> Reasoner:
    """A student with random weights (truncated-normal, as the original initialises) and the teacher's kind of everything."""
    c, rng, tensors = student_config(reasoner.config), np.random.default_rng(seed), {}
    for name, shape in model_tensors(c).items():
        scale = 1.0 if len(shape) == 1 else shape[-1] ** -0.5
        tensors[name] = (np.clip(rng.standard_normal(shape), -2, 2) * scale).astype(np.float32)
    if c.puzzle_emb_ndim:  # puzzle embeddings are data of the puzzles, not of the block
        rows = np.asarray(reasoner.tensors["puzzle_emb.weights"])[:, :c.puzzle_emb_ndim]
        tensors["puzzle_emb.weights"] = np.ascontiguousarray(rows, dtype=np.float32)
    tensors["q_head.weight"], tensors["q_head.bias"] = np.zeros((2, c.hidden_size), np.float32), np.full(2, -5, np.float32)
    return Reasoner(c, tensors, reasoner.source, identity(reasoner.sha256, "student", seed))


def distilled(reasoner: Reasoner, data: Dataset, recipe: Recipe = DISTILL, progress: Progress = None) -> Reasoner:
    """A student trained on the teacher's softened logits and the labels."""
    pupil, teacher = Learner(student(reasoner)), Learner(reasoner)
    learn(pupil, data, recipe, teacher, progress)
    return pupil.trained(f"distilled {recipe}")


def linear_attention(reasoner: Reasoner) -> Altered:
    """The same weights with linear attention (feature map elu + 1 on q and k), as they are."""
    return Altered(reasoner.config, reasoner.tensors, reasoner.source, identity(reasoner.sha256, "linear attention"),
                   reasoner.notes, "linear")


def retrained(altered: Altered, data: Dataset, recipe: Recipe = RETRAIN, progress: Progress = None) -> Reasoner:
    """Linear attention after some training on the labels."""
    model = Learner(altered, attention=altered.attention)
    learn(model, data, recipe, progress=progress)
    return model.trained(f"retrained {recipe}")


def quantization_aware(reasoner: Reasoner, data: Dataset, precision: str, recipe: Recipe,
                       progress: Progress = None) -> Reasoner:
    """The model trained with the precision's own rounding of weights and int8 rows of activations in the recursion.

    Gradients pass the rounding straight through; the loss is cross-entropy on tokens. Scales are found anew at each update.
    """
    scheme = precision_named(precision)

    def rounding(name: str, w: torch.Tensor) -> torch.Tensor:
        if not name.endswith(".weight") or "embed" in name:
            return w
        return torch.from_numpy(scheme.quantize(w.numpy(), None, scheme.methods[-1]).dequantized())

    model = Learner(reasoner, rounding, "int8-row")
    learn(model, data, recipe, progress=progress)
    return model.trained(f"qat {precision} {recipe}")
