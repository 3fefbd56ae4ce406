"""Loss, optimizer and weight averaging of the original recipe."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .puzzles import PAD


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the valid cells of -log stablemax(logits)[label]; logits (B, n, V), labels (B, n) -> (B,).

    Stablemax replaces exp by x + 1 (x >= 0) or 1 / (1 - x): it grows linearly, so the loss cannot be
    lowered forever by scaling the logits up. In float64, as in the original. Labels that are PAD do not count.
    """
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x + 1e-30), x + 1)
    log_prob = torch.log(s / s.sum(-1, keepdim=True))
    picked = log_prob.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    valid = labels != PAD
    return -torch.where(valid, picked, 0).sum(-1) / valid.sum(-1).clamp(min=1)


def act_loss(
    logits: Tensor, q: Tensor, labels: Tensor, target_continue: Tensor | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Sum over the batch of the cell loss + 1/2 the halting loss ("is the puzzle exact now?").

    HRM also learns what going on is worth: `target_continue` (B,), 0..1, adds 1/2 of that loss (see `continue_target`).
    """
    with torch.no_grad():
        valid = labels != PAD
        correct = (logits.argmax(-1) == labels) & valid
        share = correct.sum(-1) / valid.sum(-1).clamp(min=1)
        exact = correct.sum(-1) == valid.sum(-1)
    cell_loss = stablemax_cross_entropy(logits, labels).sum()
    halt_loss = F.binary_cross_entropy_with_logits(q[:, 0], exact.to(q.dtype), reduction="sum")
    continue_loss = torch.zeros(())
    if target_continue is not None:
        continue_loss = F.binary_cross_entropy_with_logits(q[:, 1], target_continue, reduction="sum")
    figures = {
        "loss": cell_loss.item() / len(labels),
        "halt_loss": halt_loss.item() / len(labels),
        "cell": share.mean().item(),
        "exact": exact.float().mean().item(),
    }
    return cell_loss + 0.5 * (halt_loss + continue_loss), figures


def continue_target(next_q: Tensor, last: Tensor) -> Tensor:
    """HRM's target of q_continue (B,): the better of halting and going on at the next step, 0..1.

    next_q (B, 2): the halting head's outputs one step further; last (B,) bool: no further step will follow that one.
    """
    halt, go_on = next_q[:, 0], next_q[:, 1]
    return torch.sigmoid(torch.where(last, halt, torch.maximum(halt, go_on)))


class AdamATan2(torch.optim.Optimizer):
    """Adam with atan2(m, sqrt(v)) in place of m / (sqrt(v) + eps); decoupled weight decay.

    Needs no epsilon and is invariant to the scale of the gradient.
    """

    def __init__(self, params, lr: float, betas=(0.9, 0.95), weight_decay: float = 0.1):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            lr, (b1, b2) = group["lr"], group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["step"] += 1
                state["m"].lerp_(p.grad, 1 - b1)
                state["v"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                m = state["m"] / (1 - b1 ** state["step"])
                v = state["v"] / (1 - b2 ** state["step"])
                p.mul_(1 - lr * group["weight_decay"])
                p.add_(torch.atan2(m, v.sqrt_()), alpha=-lr)


class PuzzleRows:
    """Sign-SGD on the rows of the puzzle embedding that a batch used, with decoupled weight decay.

    As the original: a row is seen so rarely that Adam's moments would be stale; the sign is what Adam comes to then.
    The table is left out of the ordinary optimizer and of the average.
    """

    def __init__(self, table: nn.Parameter, weight_decay: float):
        self.table, self.weight_decay = table.requires_grad_(False), weight_decay

    def take(self, ids: Tensor) -> Tensor:
        """A copy of the rows of identifiers (B,), (B, ndim), that collects gradients."""
        return self.table[ids].requires_grad_()

    @torch.no_grad()
    def step(self, ids: Tensor, rows: Tensor, lr: float) -> None:
        """`rows` as `take` gave them, after backward; gradients of places with the same identifier add up."""
        unique, place = ids.unique(return_inverse=True)
        grad = torch.zeros(len(unique), rows.shape[1]).index_add_(0, place, rows.grad)
        self.table[unique] = self.table[unique] * (1 - lr * self.weight_decay) - lr * grad.sign()


class EMA:
    """Exponential moving average of the parameters; the average is what is evaluated and exported."""

    def __init__(self, model: nn.Module, rate: float):
        self.rate = rate
        self.shadow = {k: p.detach().clone() for k, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        # A short memory at first, so early snapshots are not dominated by the random start.
        rate = min(self.rate, (1 + step) / (10 + step))
        for k, p in model.named_parameters():
            if p.requires_grad:
                self.shadow[k].lerp_(p.detach(), 1 - rate)

    def state_dict_of(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state dict with averaged parameters (what is not trained by gradient descent: unchanged)."""
        return {k: self.shadow.get(k, v).detach().clone() for k, v in model.state_dict().items()}
