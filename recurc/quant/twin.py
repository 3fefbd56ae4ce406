"""The whole model in NumPy with the device's arithmetic, op by op as the generated C computes it.

Slow, plain, and independent of the C code: tests hold the two against each other bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurc.errors import InputError
from recurc.ir.program import Block, LinearRef, Loop, Op, Update
from recurc.noise import START, Noise
from recurc.ops import part
from recurc.quant import arith
from recurc.quant.arith import F32
from recurc.quant.model import QuantizedModel
from recurc.recursion import INPUT


@dataclass(frozen=True)
class OpTwin:
    """An op's part `twin`: apply(twin, op, z [N, S, D]) -> z after the op, residual and norm included, before it is stored."""

    apply: Callable[[Twin, Any, np.ndarray], np.ndarray]


def _refused(why: str) -> InputError:
    return InputError("the model refused", where="step", why=why, next="Check the input; if it is an image, build again")


class Twin:
    """Runs a QuantizedModel on a batch.

    After `begin`, `step` runs one supervision step; the program's states, by their names (z_H, z_L), are float32 [N, S, D],
    logits [N, seq, vocab], q [N, 2], tokens uint8 [N, seq].
    """

    def __init__(self, model: QuantizedModel) -> None:
        self.model = model
        self.blocks: dict[str, Block] = {b.name: b for b in model.program.blocks}
        self.constants = model.constants()  # name -> float32 [rows, n]
        self.states: dict[str, np.ndarray] = {}
        self.trace: Callable[[str, np.ndarray], None] | None = None

    def __getattr__(self, name: str) -> np.ndarray:
        if name in self.__dict__.get("states", ()):
            return self.states[name]
        raise AttributeError(f"no state {name!r}; states are there after `begin`")

    # -- state ---------------------------------------------------------------------------------------------------

    def begin(self, inputs: np.ndarray, puzzle_ids: np.ndarray | None = None) -> None:
        """Load puzzles, tokens [N, seq], and set the carry to its initial value."""
        c = self.model.config
        inputs = np.asarray(inputs)
        x = self.model.tables["tokens"][inputs]
        ids = np.zeros(len(inputs), dtype=np.int64) if puzzle_ids is None else puzzle_ids
        if c.puzzle_rows:
            head = np.zeros((len(inputs), c.puzzle_rows * c.hidden_size), dtype=F32)
            if c.puzzle_emb_ndim:
                head[:, : c.puzzle_emb_ndim] = self.model.puzzle_rows(ids)
            x = np.concatenate((head.reshape(len(inputs), c.puzzle_rows, c.hidden_size), x), axis=1)
        if "positions" in self.model.tables:
            x = x + self.model.tables["positions"]
        self.X = x.astype(F32)
        for state in self.model.program.states:
            start = self.model.vectors[state.start.name]
            self.states[state.name] = self.stored(np.broadcast_to(start, x.shape).astype(F32))
        self.steps_run = 0

    def add_noise(self, noise: Noise, run: int) -> None:
        """Add what a run has before its next step, if it has any then."""
        if noise.due(run, self.steps_run):
            for number, state in enumerate(self.model.program.states):
                if noise.at == START or state.name == self.model.program.answer.name:
                    noisy = noise.added(self.states[state.name], run, self.steps_run, number)
                    self.states[state.name] = self.stored(noisy)

    def step(self) -> None:
        """One supervision step, then the heads.

        Raises:
            InputError: as many as were compiled have been run, or the step left something that is not a finite number.
        """
        if self.steps_run >= self.model.program.steps:
            raise _refused("all compiled supervision steps have been run")
        with np.errstate(over="ignore", invalid="ignore"):
            self._step()
        if not all(np.isfinite(x).all() for x in (*self.states.values(), self.logits, self.q)):
            raise _refused("a value is not a finite number")
        self.steps_run += 1

    def _step(self) -> None:
        self._run(self.model.program.schedule.body)
        program, c = self.model.program, self.model.config
        z = self.states[program.answer.name]
        self.logits = self.linear(program.lm_head, z[:, c.puzzle_rows :])
        self.q = self.linear(program.q_head, z[:, 0]) + self.model.vectors[program.heads.q_bias.name]
        self.tokens = self.logits.argmax(axis=-1).astype(np.uint8)

    def _run(self, body: tuple[Loop | Update, ...]) -> None:
        for item in body:
            if isinstance(item, Loop):
                for _ in range(item.count):
                    self._run(item.body)
            else:
                self._update(item)

    def _update(self, update: Update) -> None:
        added, *more = (self.X if name == INPUT else self.states[name] for name in update.sources)
        for source in more:
            added = added + source
        z = self.states[update.state] + added
        for op in self.blocks[update.block].ops:
            z = self.op(op, z)
            if op.by_channel:  # an int8 carry has a scale a channel after it
                z = self.stored(z.transpose(0, 2, 1)).transpose(0, 2, 1)
            else:
                z = self.stored(z)
            if self.trace:
                self.trace(op.kind, z)
        self.states[update.state] = z

    def stored(self, rows: np.ndarray) -> np.ndarray:
        """What is left of float32 rows [..., n] once the carry has stored them."""
        return arith.stored_rows(rows, self.model.program.carry)

    # -- ops -----------------------------------------------------------------------------------------------------

    def op(self, op: Op, z: np.ndarray) -> np.ndarray:
        """Apply one op to the carry tensor z [N, S, D]. Raises OpError where the op has no part `twin`."""
        return part(op, "twin", OpTwin).apply(self, op, z)

    def linear(self, ref: LinearRef, x: np.ndarray) -> np.ndarray:
        """y = W x with the stored weights; rows of x [..., K] are quantized first unless the weights are fp32."""
        w = self.model.weights[ref.name]
        if not w.form.integer:
            return arith.linear_f32(x, w.dequantized())
        return arith.linear_int(arith.quantize_rows(x), w.integers, w.scale, w.zero)
