"""Training of a loaded model in torch, for what `study` measures: distillation, retraining, quantization-aware training.

It follows the original recipe in what matters here: deep supervision (a loss after every supervision step, the carry detached
in between) and gradients through the last high-level cycle of a step only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import FunctionCtx

from recurc.dataset import Dataset
from recurc.models.reasoner import Reasoner
from recurc.study.fake import FakeModel

IGNORED = -100
WARM_UP = 0.1
Rounding = Callable[[str, torch.Tensor], torch.Tensor]  # (layer, weights) -> weights as they read back


class StraightThrough(torch.autograd.Function):
    """The second argument forwards, its gradient to the first backwards."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def straight_through(x: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """`rounded`, whose gradient goes to x."""
    through: torch.Tensor = StraightThrough.apply(x, rounded)  # type: ignore[no-untyped-call] # torch gives it no types
    return through


class Learner(FakeModel):
    """A model whose weights learn; `rounding` and `activations` put the quantizer into the loop (straight-through).

    Args:
        rounding: of the linear layers' weights; None trains them as they are.
        activations: scheme of the layers' inputs while training.
        attention: as `FakeModel`.
    """

    def __init__(
        self, reasoner: Reasoner, rounding: Rounding | None = None, activations: str = "fp32", attention: str = "softmax"
    ) -> None:
        super().__init__(reasoner, {}, activations, attention=attention)
        self.reasoner, self.rounding = reasoner, rounding
        self.learned = [n for n in self.w if n not in ("H_init", "L_init")]
        self._linears = frozenset(reasoner.linear_names())
        self._rounded: dict[str, torch.Tensor] = {}  # of the current step: a layer's weights are rounded once for all its calls
        for name in self.learned:
            self.w[name] = self.w[name].clone().requires_grad_(True)

    def _weights(self, name: str) -> torch.Tensor:
        return self._rounded.get(name, self.w[name])

    def _round_weights(self) -> None:
        if self.rounding is not None:
            for name in self._linears:
                w = self.w[name]
                self._rounded[name] = straight_through(w, self.rounding(name, w.detach()))

    def _round(self, name: str, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            rounded = super()._round(name, x)
        return rounded if rounded is x or not x.requires_grad else straight_through(x, rounded)

    def _rounded_mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)  # products between activations stay as they are while training

    def start(self, tokens: torch.Tensor, puzzle_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The carry (z_H, z_L) [N, S, D] before the first step."""
        shape = (len(tokens), self.config.rows, self.config.hidden_size)
        return self.w["H_init"].expand(shape), self.w["L_init"].expand(shape)

    def learn_step(
        self, tokens: torch.Tensor, puzzle_ids: torch.Tensor, carry: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
        """One supervision step with gradients through its last high-level cycle: (carry detached, logits)."""
        c, (z_h, z_l) = self.config, carry
        self._round_weights()
        x = self.embed(tokens, puzzle_ids)

        def cycle(z_h: torch.Tensor, z_l: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            for _ in range(c.L_cycles):
                z_l = self.net("L_level", z_l + (z_h + x))
            return self.net(c.h_level, z_h + z_l), z_l

        with torch.no_grad():
            for _ in range(c.H_cycles - 1):
                z_h, z_l = cycle(z_h, z_l)
        z_h, z_l = cycle(z_h, z_l)
        logits = self.linear("lm_head.weight", z_h)[:, c.puzzle_rows :]
        return (z_h.detach(), z_l.detach()), logits

    def trained(self, what: str) -> Reasoner:
        """The model with what it has learned; `what` tells its identity from the original's."""
        tensors = {n: self.w[n].detach().numpy().copy() if n in self.learned else t for n, t in self.reasoner.tensors.items()}
        return replace(self.reasoner, tensors=tensors, sha256=identity(self.reasoner.sha256, what))


def identity(*words: object) -> str:
    """A stand-in for a checkpoint's sha256, for a model that was made from one."""
    return hashlib.sha256(" ".join(str(w) for w in words).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: optimizer updates (one a supervision step), learning rate, batch, supervision steps a batch.

    The rate rises for the first WARM_UP of the updates, then falls to zero along a cosine. temperature, soft: distillation's
    softmax temperature and the share of its loss, the rest is cross-entropy.
    """

    updates: int
    lr: float
    batch: int = 16
    supervision: int = 4
    weight_decay: float = 0.0
    temperature: float = 4.0
    soft: float = 0.7
    seed: int = 0

    def rate(self, update: int) -> float:
        """The learning rate of an update, counted from 0."""
        warm = max(1, round(WARM_UP * self.updates))
        if update < warm:
            return self.lr * (update + 1) / warm
        return self.lr * 0.5 * (1 + math.cos(math.pi * (update - warm) / max(1, self.updates - warm)))

    @property
    def words(self) -> str:
        return f"{self.updates} updates, learning rate {self.lr:g}, batch {self.batch}"


def batches(data: Dataset, recipe: Recipe) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Endless (tokens [B, seq], puzzle ids [B], labels [B, seq] with IGNORED where no cell counts)."""
    rng, valid = np.random.default_rng(recipe.seed), data.valid
    while True:
        pick = rng.integers(0, len(data), min(recipe.batch, len(data)))
        labels = np.where(valid[pick], data.labels[pick].astype(np.int64), IGNORED)
        yield (
            torch.from_numpy(data.inputs[pick].astype(np.int64)),
            torch.from_numpy(data.puzzle_ids[pick].astype(np.int64)),
            torch.from_numpy(labels),
        )


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the cells that count: logits [B, seq, vocab], labels [B, seq]."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def learn(
    model: Learner, data: Dataset, recipe: Recipe, teacher: Learner | None = None, progress: Callable[[int], None] | None = None
) -> list[float]:
    """Train in place with AdamW; returns the loss of each update.

    Args:
        teacher: its logits after the same supervision step, softened, take `recipe.soft` of the loss.
        progress: called with 1 after each update.
    """
    optimizer = torch.optim.AdamW(
        [model.w[n] for n in model.learned], lr=recipe.lr, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
    )
    losses: list[float] = []
    for tokens, ids, labels in batches(data, recipe):
        carry = model.start(tokens, ids)
        theirs = teacher.start(tokens, ids) if teacher else None
        for _ in range(recipe.supervision):
            carry, logits = model.learn_step(tokens, ids, carry)
            loss = cross_entropy(logits, labels)
            if teacher is not None and theirs is not None:
                with torch.no_grad():
                    theirs, target = teacher.learn_step(tokens, ids, theirs)
                heat, cells = recipe.temperature, labels.flatten() != IGNORED
                soft = (
                    F.kl_div(
                        F.log_softmax(logits.flatten(0, 1)[cells] / heat, dim=-1),
                        F.softmax(target.flatten(0, 1)[cells] / heat, dim=-1),
                        reduction="batchmean",
                    )
                    * heat**2
                )
                loss = recipe.soft * soft + (1 - recipe.soft) * loss
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(len(losses))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch gives it no types
            torch.nn.utils.clip_grad_norm_([model.w[n] for n in model.learned], 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
            if progress:
                progress(1)
            if len(losses) == recipe.updates:
                return losses
    raise AssertionError("unreachable")
