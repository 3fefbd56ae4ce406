"""Deep-supervision training with a halting head, resumable at any moment.

Every optimizer step is one supervision step of every sequence in the batch: the carry of the last
step goes in (detached), the loss of this step comes out. A sequence that halts gives its place to a
new puzzle, so the batch holds puzzles at different depths.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import evaluate
from .model import make_model
from .optim import EMA, AdamATan2, PuzzleRows, act_loss, continue_target
from .puzzles import Puzzles, Source
from .recipe import Recipe

SAVE_EVERY_S = 45.0  # a kill loses less than a minute
LOG_EVERY_S = 10.0


def pools(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> tuple[Source, Any]:
    """Where training puzzles are drawn from, and what `test_set` takes the held-out ones from."""
    return recipe.task.sources(folder, say)


def test_set(recipe: Recipe, held_out: Any) -> Puzzles:
    """The held-out puzzles that are evaluated and shipped; always the same for a recipe."""
    return recipe.task.test_set(held_out, recipe.export.test_slice)


class Trainer:
    """Holds everything that a state file holds. `run` trains until the budget is used or `stop`."""

    def __init__(
        self,
        recipe: Recipe,
        run_dir: Path,
        train_pool: Source,
        say: Callable[[str], None] = print,
        start: dict[str, torch.Tensor] | None = None,
    ):
        """`start`: weights to begin with in place of random ones."""
        self.recipe, self.run_dir, self.pool, self.say = recipe, run_dir, train_pool, say
        cfg, opt = recipe.model, recipe.train
        torch.manual_seed(opt.seed)
        self.rng = np.random.default_rng([opt.seed, 2])
        self.model = make_model(cfg).train()
        if start is not None:
            self.model.load_state_dict(start)
        self.rows = None
        if opt.puzzle_emb_lr and cfg.puzzle_emb_ndim:
            self.rows = PuzzleRows(self.model.puzzle_emb.weights, opt.puzzle_emb_weight_decay)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = AdamATan2(trained, opt.lr, weight_decay=opt.weight_decay)
        self.ema = EMA(self.model, opt.ema)
        self.step, self.elapsed, self.samples = 0, 0.0, 0
        self.history: list[dict] = []  # one entry per log period
        self.evals: list[dict] = []
        z_h, z_l = self.model.initial(opt.batch)
        empty = torch.zeros(opt.batch, cfg.seq_len, dtype=torch.int64)
        self.carry = {
            "z_h": z_h.clone(),
            "z_l": z_l.clone(),
            "steps": torch.zeros(opt.batch, dtype=torch.int64),
            "halted": torch.ones(opt.batch, dtype=torch.bool),  # every place is free at first
            "inputs": empty,
            "labels": empty.clone(),
            "ids": torch.zeros(opt.batch, dtype=torch.int64),
        }
        self.stop = False
        self._sums: dict[str, float] = {}
        self._forward = torch.compile(self.model) if opt.compile else self.model

    # ------------------------------------------------------------------------------ state file
    @property
    def state_path(self) -> Path:
        return self.run_dir / "state.pt"

    def save(self) -> None:
        """Atomic: a kill during the write leaves the previous state file."""
        state = {
            "recipe": self.recipe.text,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.shadow,
            "carry": self.carry,
            "counters": (self.step, self.elapsed, self.samples),
            "history": self.history,
            "evals": self.evals,
            "sums": self._sums,
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": self.rng.bit_generator.state,
        }
        part = self.state_path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.state_path)

    def load(self) -> bool:
        """Continue from the state file, if there is one."""
        if not self.state_path.exists():
            return False
        state = torch.load(self.state_path, weights_only=True)
        if state["recipe"] != self.recipe.text:
            self.say("note: the recipe file changed since the state was saved; going on with the new one")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.shadow = state["ema"]
        self.carry = state["carry"]
        self.step, self.elapsed, self.samples = state["counters"]
        self.history, self.evals, self._sums = state["history"], state["evals"], state["sums"]
        torch.set_rng_state(state["torch_rng"])
        self.rng.bit_generator.state = state["numpy_rng"]
        return True

    # ------------------------------------------------------------------------------- one step
    def progress(self) -> float:
        """0..1 of the budget."""
        t = self.recipe.train
        return min(1.0, self.step / t.steps if t.steps else self.elapsed / (60 * t.minutes))

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine over the budget (time or steps)."""
        t = self.recipe.train
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress()))
        return t.lr * min(1.0, (self.step + 1) / t.warmup) * (t.lr_min_ratio + (1 - t.lr_min_ratio) * cosine)

    def _refill(self) -> None:
        """Gives the places of halted sequences to new puzzles."""
        c = self.carry
        free = c["halted"].nonzero().squeeze(1)
        if len(free) == 0:
            return
        new = self.pool.draw(len(free), self.rng)
        for key, value in zip(("inputs", "labels", "ids"), new, strict=True):
            c[key][free] = torch.from_numpy(value).long()
        c["z_h"][free], c["z_l"][free] = self.model.initial(len(free))
        c["steps"][free] = 0
        if self.step == 0:
            # All places start together; without this they would halt together for hundreds of steps, and
            # the weights would follow the depth of the moment (seen: an averaged model that solves nothing).
            c["steps"] = torch.randint(0, self.recipe.model.halt_max_steps, c["steps"].shape)

    def train_step(self) -> dict[str, float]:
        c, cfg = self.carry, self.recipe.model
        self._refill()
        rows = None if self.rows is None else self.rows.take(c["ids"])
        z_h, z_l, logits, q = self._forward(c["z_h"], c["z_l"], c["inputs"], rows)
        steps = c["steps"] + 1
        target = None
        if self.model.halt_loss_targets:
            with torch.no_grad():
                next_q = self._forward(z_h.detach(), z_l.detach(), c["inputs"], rows)[3]
            target = continue_target(next_q, steps >= cfg.halt_max_steps)
        loss, figures = act_loss(logits, q, c["labels"], target)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        (loss / len(c["steps"])).backward()
        self.optimizer.step()
        if rows is not None:
            lr = self.recipe.train.puzzle_emb_lr * self.learning_rate() / self.recipe.train.lr
            self.rows.step(c["ids"], rows, lr)
        self.step += 1
        self.samples += len(c["steps"])
        self.ema.update(self.model, self.step)

        c["z_h"], c["z_l"] = z_h.detach(), z_l.detach()
        c["steps"] = steps
        halted = (steps >= cfg.halt_max_steps) | (self.model.halting(q.detach()) > 0)
        # Exploration: some sequences may not halt before a random depth.
        explore = torch.rand(len(halted)) < cfg.halt_exploration_prob
        at_least = torch.randint(2, cfg.halt_max_steps + 1, halted.shape) * explore
        c["halted"] = halted & (steps >= at_least)
        if c["halted"].any():
            figures["depth"] = steps[c["halted"]].float().mean().item()
        return figures

    # ---------------------------------------------------------------------------------- loop
    def run(self, test: Puzzles | None, on_log=None, on_eval=None) -> None:
        """Trains to the end of the budget; saves, evaluates and logs on the way."""
        previous = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        start, before = time.monotonic(), self.elapsed
        last_save = last_log = last_eval = start
        try:
            while not self.stop and self.progress() < 1.0:
                self._add(self.train_step())
                now = time.monotonic()
                self.elapsed = before + now - start
                if now - last_log >= LOG_EVERY_S or self.step == 1:
                    last_log = now
                    self._log(on_log)
                if test is not None and now - last_eval >= 60 * self.recipe.eval.every_minutes:
                    self.evaluate(test, on_eval)
                    last_eval = time.monotonic()
                    self.elapsed = before + last_eval - start
                if time.monotonic() - last_save >= SAVE_EVERY_S:
                    self.save()
                    last_save = time.monotonic()
            if test is not None and self.progress() >= 1.0:
                self.evaluate(test, on_eval)
            self.save()
        finally:
            for s, handler in previous.items():
                signal.signal(s, handler)

    def _ask_to_stop(self, *_) -> None:
        self.stop = True  # the loop ends after this step and saves

    def _add(self, figures: dict[str, float]) -> None:
        for k, v in figures.items():
            self._sums[k] = self._sums.get(k, 0.0) + v
            self._sums["n_" + k] = self._sums.get("n_" + k, 0.0) + 1

    def _log(self, on_log) -> None:
        row = {k: v / self._sums["n_" + k] for k, v in self._sums.items() if not k.startswith("n_")}
        row.update(step=self.step, minutes=self.elapsed / 60, samples=self.samples, lr=self.learning_rate())
        self._sums = {}
        self.history.append(row)
        if on_log is not None:
            on_log(row)

    def evaluate(self, test: Puzzles, on_eval=None) -> None:
        """The averaged weights on the first held-out puzzles (only to watch: nothing is chosen by it)."""
        e = self.recipe.eval
        test = test.take(e.puzzles)
        state = self.ema.state_dict_of(self.model)
        model = evaluate.make_eval_model(self.recipe.model, state, self.recipe.model.forward_dtype)
        row = evaluate.summary(*evaluate.per_step(model, *test, e.steps), [])
        row.update(step=self.step, minutes=self.elapsed / 60, about=self.recipe.task.about_test(test))
        self.evals.append(row)
        if on_eval is not None:
            on_eval(row)


def with_budget(recipe: Recipe, minutes: float | None) -> Recipe:
    """The recipe with another wall-clock budget."""
    if minutes is None:
        return recipe
    return replace(recipe, train=replace(recipe.train, minutes=minutes, steps=0))
