"""The compressions that `study` measures, as models in the checkpoint's place: pruned, distilled, with linear attention, QAT.

Some follow from the weights alone, others are trained (`Schooling`); what was trained is kept by content in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from recurc.dataset import Dataset
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.models.shapes import model_tensors
from recurc.quant.weights import precision_named
from recurc.study.learning import Learner, Recipe, identity, learn
from recurc.study.store import Store, content, digest, files_version

PRUNED = 0.25
_CODE = ("models", "quant", "study/fake.py", "study/learning.py", "study/compressions.py")
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Altered(Reasoner):
    """A model whose attention is not softmax: `attention` is "linear"."""

    attention: str = "softmax"


def pruned(reasoner: Reasoner, share: float = PRUNED) -> Reasoner:
    """Every linear layer's `share` of rows with the least L2 norm set to zero, in place, as the study's released code does."""
    tensors = dict(reasoner.tensors)
    for name in reasoner.linear_names():
        w = np.array(tensors[name], dtype=np.float32)
        count = round(share * len(w))
        w[np.argsort(np.square(w.astype(np.float64)).sum(axis=1), kind="stable")[:count]] = 0
        tensors[name] = w
    return replace(reasoner, tensors=tensors, sha256=identity(reasoner.sha256, "pruned", share))


def linear_attention(reasoner: Reasoner) -> Altered:
    """The same weights with linear attention (feature map elu + 1 on q and k), as they are."""
    return Altered(
        reasoner.config,
        reasoner.tensors,
        reasoner.source,
        identity(reasoner.sha256, "linear attention"),
        reasoner.notes,
        "linear",
    )


def student_config(config: ReasonerConfig) -> ReasonerConfig:
    """Half the width and heads, one layer, one high-level cycle: about 13 % of the published models' parameters."""
    return replace(
        config,
        hidden_size=config.hidden_size // 2,
        num_heads=max(1, config.num_heads // 2),
        L_layers=1,
        H_layers=min(config.H_layers, 1),
        H_cycles=1,
        puzzle_emb_ndim=config.puzzle_emb_ndim // 2,
        puzzle_emb_len=config.puzzle_rows,
    )


def student(reasoner: Reasoner, seed: int = 0) -> Reasoner:
    """A student with random weights (truncated normal, as the original initialises) and the teacher's kind of everything."""
    c, rng, tensors = student_config(reasoner.config), np.random.default_rng(seed), {}
    for name, shape in model_tensors(c).items():
        if name == "puzzle_emb.weights":  # embeddings are data of the puzzles, not of the block: the first half of each
            tensors[name] = np.ascontiguousarray(reasoner.tensors[name][:, : shape[1]], dtype=np.float32)
        else:
            scale = 1.0 if len(shape) == 1 else shape[-1] ** -0.5
            tensors[name] = (np.clip(rng.standard_normal(shape), -2, 2) * scale).astype(np.float32)
    tensors["q_head.weight"], tensors["q_head.bias"] = np.zeros((2, c.hidden_size), np.float32), np.full(2, -5, np.float32)
    return Reasoner(c, tensors, reasoner.source, identity(reasoner.sha256, "student", seed))


# -- trained ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schooling:
    """How a model is trained: `begin` makes the pupil of a checkpoint, `what` tells it from others; `distils`: the checkpoint
    is its teacher."""

    what: str
    recipe: Recipe
    begin: Callable[[Reasoner], Learner]
    distils: bool = False

    def for_updates(self, updates: int) -> Schooling:
        """The same with another number of updates."""
        return replace(self, recipe=replace(self.recipe, updates=updates))


def distillation(recipe: Recipe) -> Schooling:
    """A student trained on the teacher's softened logits and the labels."""
    return Schooling("distilled", recipe, lambda reasoner: Learner(student(reasoner)), distils=True)


def with_linear_attention(recipe: Recipe) -> Schooling:
    """Linear attention, trained on the labels."""
    return Schooling("linear attention", recipe, lambda reasoner: Learner(linear_attention(reasoner), attention="linear"))


def fine_tuning(recipe: Recipe) -> Schooling:
    """The checkpoint itself, trained on in fp32: what the published study's code does under the name of QAT."""
    return Schooling("fine-tuned", recipe, Learner)


def quantization_aware(precision: str, recipe: Recipe) -> Schooling:
    """Trained with the precision's own rounding of weights (without data) and int8 rows of activations in the recursion.

    Gradients pass the rounding straight through; scales are found anew at each update.
    """
    scheme = precision_named(precision)

    def rounding(name: str, w: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(scheme.quantize(w.numpy(), None, scheme.methods[-1]).dequantized())

    return Schooling(f"qat {precision}", recipe, lambda reasoner: Learner(reasoner, rounding, "int8-row"))


def _of_shapes(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, np.ndarray]:
    if {name: array.shape for name, array in arrays.items()} != dict(shapes):
        raise ValueError("arrays of another model")
    return arrays


def schooled(
    reasoner: Reasoner, data: Dataset, how: Schooling, store: Store | None = None, progress: Progress = lambda n: None
) -> tuple[Reasoner, list[float]]:
    """(the trained model, the loss of each update); taken from the store when the same was trained before.

    Args:
        data: puzzles that it learns from.
        progress: called with 1 after each update.
    """
    pupil = how.begin(reasoner)
    key = digest(
        "schooled",
        files_version(_CODE, Path(__file__).resolve().parents[1]),
        content(reasoner),
        how.what,
        how.recipe,
        data.inputs,
        data.labels,
        data.puzzle_ids,
        data.ignore_label_id,
    )
    shapes = {"losses": (how.recipe.updates,), **{f"w|{name}": tuple(pupil.w[name].shape) for name in pupil.learned}}
    kept = store.read(key, lambda arrays: _of_shapes(arrays, shapes)) if store else None
    if kept is None:
        losses = learn(pupil, data, how.recipe, Learner(reasoner) if how.distils else None, progress)
        if store:
            weights = {f"w|{name}": pupil.w[name].detach().numpy() for name in pupil.learned}
            store.put(key, {"losses": np.array(losses), **weights})
    else:
        losses = [float(x) for x in kept["losses"]]
        for name in pupil.learned:
            pupil.w[name] = torch.from_numpy(kept[f"w|{name}"])
        progress(len(losses))
    return pupil.trained(key), losses
