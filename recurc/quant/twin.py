"""The whole model in NumPy with the device's arithmetic, op by op as the generated C computes it.

Slow, plain, and independent of the C code: tests hold the two against each other bit for bit.
"""

from __future__ import annotations

from typing import Callable, Optional

import numpy as np

from recurc.errors import InputError
from recurc.ir.program import Attention, Block, ChannelMix, LinearRef, Loop, Op, TokenMix, Update
from recurc.quant import arith
from recurc.quant.arith import F32
from recurc.quant.model import QuantizedModel


def _refused(why: str) -> InputError:
    return InputError("the model refused", where="step", why=why, next="Check the input; if it is an image, build again")


def _or_nan(rows: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Rows [..., n] of probabilities, NaN where scores are not `finite` [...]."""
    return np.where(finite[..., None], rows, F32("nan"))


class Twin:
    """Runs a QuantizedModel on a batch.

    After `begin`, `step` runs one supervision step; z_H, z_L are float32 [N, S, D], logits [N, seq, vocab], q [N, 2],
    tokens uint8 [N, seq].
    """

    def __init__(self, model: QuantizedModel) -> None:
        self.model = model
        self.blocks: dict[str, Block] = {b.name: b for b in model.program.blocks}
        rope = model.rope_vectors()
        if rope:
            self.cos, self.sin = rope["rope.cos"], rope["rope.sin"]
        self.trace: Optional[Callable[[str, np.ndarray], None]] = None

    # -- state ---------------------------------------------------------------------------------------------------

    def begin(self, inputs: np.ndarray, puzzle_ids: Optional[np.ndarray] = None) -> None:
        """Load puzzles, tokens [N, seq], and set the carry to its initial value."""
        c = self.model.config
        inputs = np.asarray(inputs)
        x = self.model.tables["tokens"][inputs]
        ids = np.zeros(len(inputs), dtype=np.int64) if puzzle_ids is None else puzzle_ids
        if c.puzzle_rows:
            head = np.zeros((len(inputs), c.puzzle_rows * c.hidden_size), dtype=F32)
            if c.puzzle_emb_ndim:
                head[:, :c.puzzle_emb_ndim] = self.model.puzzle_rows(ids)
            x = np.concatenate((head.reshape(len(inputs), c.puzzle_rows, c.hidden_size), x), axis=1)
        if "positions" in self.model.tables:
            x = x + self.model.tables["positions"]
        self.X = x.astype(F32)
        self.z_H = self.stored(np.broadcast_to(self.model.vectors["H_init"], x.shape).astype(F32))
        self.z_L = self.stored(np.broadcast_to(self.model.vectors["L_init"], x.shape).astype(F32))
        self.steps_run = 0

    def step(self) -> None:
        """One supervision step, then the heads.

        Raises:
            InputError: as many as were compiled have been run, or the step left something that is not a finite number.
        """
        if self.steps_run >= self.model.program.steps:
            raise _refused("all compiled supervision steps have been run")
        with np.errstate(over="ignore", invalid="ignore"):
            self._step()
        if not all(np.isfinite(x).all() for x in (self.z_H, self.z_L, self.logits, self.q)):
            raise _refused("a value is not a finite number")
        self.steps_run += 1

    def _step(self) -> None:
        self._run(self.model.program.schedule.body)
        program, c = self.model.program, self.model.config
        self.logits = self.linear(program.lm_head, self.z_H[:, c.puzzle_rows:])
        self.q = self.linear(program.q_head, self.z_H[:, 0]) + self.model.vectors["q_bias"]
        self.tokens = self.logits.argmax(axis=-1).astype(np.uint8)

    def _run(self, body: tuple) -> None:
        for item in body:
            if isinstance(item, Loop):
                for _ in range(item.count):
                    self._run(item.body)
            else:
                self._update(item)

    def _update(self, update: Update) -> None:
        sources = [getattr(self, name) for name in update.sources]
        added = sources[0] if len(sources) == 1 else sources[0] + sources[1]
        z = getattr(self, update.state) + added
        for op in self.blocks[update.block].ops:
            z = self.op(op, z)
            if isinstance(op, TokenMix):  # works on channels, so an int8 carry has a scale a channel after it
                z = self.stored(z.transpose(0, 2, 1)).transpose(0, 2, 1)
            else:
                z = self.stored(z)
            if self.trace:
                self.trace(op.kind, z)
        setattr(self, update.state, z)

    def stored(self, rows: np.ndarray) -> np.ndarray:
        """What is left of float32 rows [..., n] once the carry has stored them."""
        return arith.stored_rows(rows, self.model.program.carry)

    # -- ops -----------------------------------------------------------------------------------------------------

    def op(self, op: Op, z: np.ndarray) -> np.ndarray:
        """Apply one op to the carry tensor z [N, S, D]."""
        eps = self.model.config.rms_norm_eps
        if isinstance(op, TokenMix):
            t = np.ascontiguousarray(z.transpose(0, 2, 1))
            return arith.rms_norm(t + self._swiglu(op, t), eps).transpose(0, 2, 1)
        if isinstance(op, ChannelMix):
            return arith.rms_norm(z + self._swiglu(op, z), eps)
        return arith.rms_norm(z + self._attention(op, z), eps)

    def linear(self, ref: LinearRef, x: np.ndarray) -> np.ndarray:
        """y = W x with the stored weights; rows of x [..., K] are quantized first unless the weights are fp32."""
        w = self.model.weights[ref.name]
        if not w.form.integer:
            return arith.linear_f32(x, w.dequantized())
        return arith.linear_int(arith.quantize_rows(x), w.integers, w.scale, w.zero)

    def _swiglu(self, op: TokenMix | ChannelMix, x: np.ndarray) -> np.ndarray:
        gate, up = np.split(self.linear(op.gate_up, x), 2, axis=-1)
        return self.linear(op.down, arith.silu(gate) * up)

    def _attention(self, op: Attention, z: np.ndarray) -> np.ndarray:
        n, s, d = z.shape
        heads = self.linear(op.qkv, z).reshape(n, s, 3, op.heads, op.head_dim)
        q, k, v = (heads[:, :, i].transpose(0, 2, 1, 3) for i in range(3))  # [N, H, S, hd]
        if op.rope:
            q, k = arith.rope(q, self.cos, self.sin), arith.rope(k, self.cos, self.sin)
        quantized = self.model.weights[op.qkv.name].form.integer
        mix = self._mix_int if quantized else self._mix_f32
        out = mix(q, k, v, F32(1.0) / np.sqrt(F32(op.head_dim)))
        if quantized:  # heads are done one after the other, and wait as int8
            out = arith.stored_rows(out, "int8")
        return self.linear(op.o, out.transpose(0, 2, 1, 3).reshape(n, s, d))

    @staticmethod
    def _mix_f32(q: np.ndarray, k: np.ndarray, v: np.ndarray, rs: np.float32) -> np.ndarray:
        scores = arith.sum_mod4(q[..., :, None, :] * k[..., None, :, :]) * rs
        p = _or_nan(arith.softmax(scores), np.isfinite(scores).all(axis=-1))
        return arith.sum_mod4(p[..., :, None, :] * v.swapaxes(-1, -2)[..., None, :, :])

    @staticmethod
    def _mix_int(q: np.ndarray, k: np.ndarray, v: np.ndarray, rs: np.float32) -> np.ndarray:
        qq, kq, vq = arith.quantize_rows(q), arith.quantize_rows(k), arith.quantize_rows(v)
        acc = np.matmul(qq.q.astype(np.float64), kq.q.astype(np.float64).swapaxes(-1, -2))
        scores = acc.astype(F32) * ((qq.a * rs)[..., :, None] * kq.a[..., None, :])
        most = qq.a * rs * kq.a.max(axis=-1)[..., None] * F32(127 * 127 * q.shape[-1])  # a bound of all scores
        p = arith.quantize_rows(_or_nan(arith.softmax(scores), np.isfinite(most)) * vq.a[..., None, :])
        out = np.matmul(p.q.astype(np.float64), vq.q.astype(np.float64))
        return out.astype(F32) * p.a[..., None]
