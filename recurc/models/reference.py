"""The forward pass in torch, operation by operation as the original TRM and HRM code computes it.

This is the model that quantized arithmetic is compared with. In fp32 it must equal the original's outputs to fp32
rounding, which differs between processors (they sum in different orders); in fp64 it shows to many more digits that the
operations are the same (Tiny Recursive Model, `models/recursive_reasoning/trm.py` and `models/layers.py`; HRM,
`models/hrm/hrm_act_v1.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from recurc.models import recursion_of
from recurc.models.reasoner import Reasoner
from recurc.noise import START, Stir
from recurc.ops import part
from recurc.recursion import INPUT, Depth, Loop, Update

Observer = Callable[[str, torch.Tensor], None]


@dataclass
class StepResult:
    """State after one supervision step: z_H, z_L [N, S, D], logits [N, seq, vocab], q [N, 2] (halt, continue)."""

    step: int
    z_H: torch.Tensor
    z_L: torch.Tensor
    logits: torch.Tensor
    q: torch.Tensor


def rms_norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Weight-free RMS normalisation over the last axis."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


@dataclass(frozen=True)
class OpReference:
    """An op's part `reference`: apply(reference, op, h [N, S, D]) -> h after the op, residual and norm included, as the carry
    stores it (`Reference.stored`)."""

    apply: Callable[[Reference, Any, torch.Tensor], torch.Tensor]


class Reference:
    """The model on the CPU, in fp32 unless told otherwise.

    Args:
        reasoner: a loaded model.
        observer: called with (tensor name, input [..., K]) at each linear layer, for calibration.
        dtype: what everything is computed in, the rotation tables too: torch.float32 or torch.float64.
    """

    def __init__(self, reasoner: Reasoner, observer: Observer | None = None, dtype: torch.dtype = torch.float32) -> None:
        self.config = reasoner.config
        self.observer = observer
        self.dtype = dtype
        self.w = {
            name: torch.from_numpy(np.array(t, dtype=np.float32)).to(dtype)
            for name, t in reasoner.tensors.items()
            if name != "puzzle_emb.weights"
        }
        self.puzzle_table = reasoner.tensors.get("puzzle_emb.weights")
        self.blocks = {block.name: block for block in recursion_of(self.config).blocks}
        self.kept: dict[object, tuple[torch.Tensor, ...]] = {}  # what ops compute once, under keys of theirs

    # -- what ops are made of: a subclass may compute it otherwise -------------------------------------------------

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """A linear layer by its tensor's name."""
        if self.observer is not None:
            self.observer(name, x)
        return F.linear(x, self.w[name])

    def silu_mul(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """The middle of a SwiGLU."""
        return F.silu(gate) * up

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Rotary embedding of x [N, S, heads, head_dim]."""
        half = x.shape[-1] // 2
        rotated = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return x * cos + rotated * sin

    def mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """What attention gives for q, k, v [N, heads, S, head_dim]."""
        return F.scaled_dot_product_attention(q, k, v)

    def stored(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows as they read back from the carry's memory."""
        return rows

    def net(self, block: str, h: torch.Tensor) -> torch.Tensor:
        """One block call: [N, S, D] -> [N, S, D]."""
        for op in self.blocks[block].ops:
            h = part(op, "reference", OpReference).apply(self, op, h)
        return h

    # -- model --------------------------------------------------------------------------------------------------

    def embed(self, tokens: torch.Tensor, puzzle_ids: torch.Tensor) -> torch.Tensor:
        """X [N, S, D] of tokens [N, seq] and puzzle identifiers [N]."""
        c = self.config
        x = self.w["embed_tokens.embedding_weight"][tokens]
        if c.puzzle_emb_ndim > 0:
            assert self.puzzle_table is not None
            rows = torch.from_numpy(np.array(self.puzzle_table[puzzle_ids.numpy()], dtype=np.float32)).to(self.dtype)
            rows = F.pad(rows, (0, c.puzzle_rows * c.hidden_size - rows.shape[-1]))
            x = torch.cat((rows.view(-1, c.puzzle_rows, c.hidden_size), x), dim=1)
        if c.pos_encodings == "learned":
            x = 0.707106781 * (x + self.w["embed_pos.embedding_weight"])
        return c.embed_scale * x

    @torch.no_grad()
    def steps(
        self,
        inputs: np.ndarray,
        puzzle_ids: np.ndarray | None = None,
        depth: Depth | int | None = None,
        stir: Stir | None = None,
    ) -> Iterator[StepResult]:
        """Run the supervision steps on a batch, yielding the state after each.

        Args:
            inputs: tokens [N, seq_len].
            puzzle_ids: [N]; zeros when left out.
            depth: how often the model turns; a number: so many supervision steps, in cycles as trained.
            stir: noise that the carry has on the way.
        """
        c = self.config
        tokens = torch.from_numpy(np.asarray(inputs, dtype=np.int64))
        ids = np.zeros(len(tokens), dtype=np.int64) if puzzle_ids is None else np.asarray(puzzle_ids, dtype=np.int64)
        x = self.embed(tokens, torch.from_numpy(ids))
        if not isinstance(depth, Depth):
            depth = c.trained.but(steps=depth)
        made = recursion_of(c, depth)
        states = {INPUT: x, **{state.name: self.w[state.start.tensor].expand_as(x) for state in made.states}}
        for step in range(1, depth.steps + 1):
            if stir is not None and stir[0].due(stir[1], step - 1):
                names = [state.name for state in made.states]
                states |= _noisy(states, names, made.heads.state, stir, step - 1)
            self._run(made.schedule.body, states)
            z, heads = states[made.heads.state], made.heads
            logits = self.linear(heads.lm_head.name, z)[:, c.puzzle_rows :]
            q = self.linear(heads.q_head.name, z[:, 0]) + self.w[heads.q_bias.tensor]
            yield StepResult(step, states["z_H"], states["z_L"], logits, q)

    def _run(self, body: tuple[Loop | Update, ...], states: dict[str, torch.Tensor]) -> None:
        for item in body:
            if isinstance(item, Loop):
                for _ in range(item.count):
                    self._run(item.body, states)
                continue
            added, *more = (states[name] for name in item.sources)
            for source in more:
                added = added + source
            states[item.state] = self.net(item.block, states[item.state] + added)


def _noisy(
    states: Mapping[str, torch.Tensor], names: Sequence[str], answer: str, stir: Stir, step: int
) -> dict[str, torch.Tensor]:
    """Those of the states that have noise before a step, with it."""
    noise, run = stir
    found = {}
    for number, name in enumerate(names):
        if noise.at == START or name == answer:
            z = states[name]
            noisy = noise.added(np.asarray(z.to(torch.float32).numpy()), run, step, number)
            found[name] = torch.from_numpy(noisy).to(z.dtype)
    return found
