"""How far two correct computations of one model may differ, because each rounds in its own way.

No fixed tolerance can say it. Processors sum the terms of a product in different orders, so fp32 results differ in their
last bits; a recursive model feeds its own output back and amplifies that by a factor that depends on its weights: on the
models of these tests, fp32 is off by anything from 1e-6 to 6e-4. So the amplification is measured, in fp64, which makes it
the same number on every processor:

1. `Noisy` runs the model in fp64 and disturbs the result of every operation by a random part of that operation's rounding
   bound. A product of K terms gets sqrt(K) u sum|x w| (Higham and Mary, "A new approach to probabilistic rounding error
   analysis", 2019: the bound of every order of summation, but with a probability that falls as exp(-lambda^2 / 2) when
   multiplied by lambda); a norm, a softmax or a SwiGLU's gate gets a few u of its result. u is the unit roundoff.
2. `Rounding` takes the largest deviation from the undisturbed run over DRAWS runs, tensor by tensor and step by step, adds
   one unit of the tensor's largest element (it is rounded when it is stored), and multiplies that by SAFETY.

Deviations are proportional to u as long as they are small against the values themselves, so a run with fp32's u gives the
tolerance in fp64 too: 2^-29 of it. What a comparison in fp64 tells (a wrong operation differs by far more than 1e-9) and
what fp32 may do to it are two different questions: tests ask the first with `dtype=torch.float64`, and the second where
fp32 itself is what is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch
import torch.nn.functional as F

from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference, StepResult
from recurc.recursion import Depth

UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
DRAWS = 4
SAFETY = 2.0
TENSORS = tuple(f.name for f in fields(StepResult) if f.name != "step")


class Noisy(Reference):
    """The fp64 reference with fp32's rounding, at random, after each operation.

    Args:
        seed: of the disturbances.
    """

    def __init__(self, reasoner: Reasoner, seed: int) -> None:
        super().__init__(reasoner, dtype=torch.float64)
        self._generator = torch.Generator().manual_seed(seed)

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        unit = UNIT[torch.float32]
        return torch.empty_like(like, dtype=torch.float32).uniform_(-unit, unit, generator=self._generator)

    def _off(self, x: torch.Tensor, units: float) -> torch.Tensor:
        """x, each element off by up to that many units of its own size."""
        return x + self._noise(x) * units * x.abs()

    def _summed(self, exact: torch.Tensor, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """x [..., K] @ w [..., N, K]^T, off by up to the bound of a sum of K terms (|x| |w| is no less than sum |x w|)."""
        sizes = x.norm(dim=-1, keepdim=True) * w.norm(dim=-1)[..., None, :]
        return exact + self._noise(exact) * x.shape[-1] ** 0.5 * sizes

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self._summed(F.linear(x, self.w[name]), x, self.w[name])

    def silu_mul(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return self._off(super().silu_mul(gate, up), 8)

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        angles = torch.arange(x.shape[-3])[:, None, None]  # an fp32 angle is off by units of itself, cos and sin by as much
        rotated = super().rotate(x, cos, sin)
        return rotated + self._noise(x) * (4 + 4 * angles) * x.abs().amax(dim=-1, keepdim=True)

    def mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = self._summed(q @ k.transpose(-1, -2), q, k) * self.config.head_dim**-0.5
        shares = self._off(torch.softmax(scores, dim=-1), 8 + k.shape[-2] ** 0.5)
        return self._summed(shares @ v, shares, v.transpose(-1, -2))

    def stored(self, rows: torch.Tensor) -> torch.Tensor:
        return self._off(rows, 4 + rows.shape[-1] ** 0.5)  # what leaves a norm

    def embed(self, tokens: torch.Tensor, puzzle_ids: torch.Tensor) -> torch.Tensor:
        return self._off(super().embed(tokens, puzzle_ids), 4)


def _arrays(states: list[StepResult]) -> dict[str, np.ndarray]:
    return {name: np.stack([getattr(s, name).numpy() for s in states]) for name in TENSORS}


def outcome_and_tolerance(reasoner: Reasoner, run: Callable[[Reference], torch.Tensor]) -> tuple[np.ndarray, float]:
    """What `run` gets out of the model in fp64, float64, and how far its elements may be from that in fp32.

    Args:
        run: any computation on a Reference in float64 (one block call, a layer).
    """
    with torch.no_grad():
        exact = run(Reference(reasoner, dtype=torch.float64)).numpy()
        off = max(float(np.abs(run(Noisy(reasoner, seed)).numpy() - exact).max()) for seed in range(DRAWS))
    return exact, SAFETY * (off + UNIT[torch.float32] * float(np.abs(exact).max()))


def _largest(of: np.ndarray) -> np.ndarray:
    """The largest magnitude after each step: [steps, ...] -> [steps]."""
    return np.abs(of).reshape(len(of), -1).max(axis=1)


class Rounding:
    """A model's run in fp64, and how far runs in fp32 and fp64 may be from it.

    Args:
        reasoner, inputs, ids, depth: as `Reference.steps` takes them.

    Attributes:
        exact: z_H, z_L [steps, N, S, D], logits [steps, N, seq, vocab] and q [steps, N, 2] float64.
        spread: for each of them the largest deviation in fp32, after each step [steps].
    """

    def __init__(
        self, reasoner: Reasoner, inputs: np.ndarray, ids: np.ndarray | None = None, depth: Depth | int | None = None
    ) -> None:
        run = (inputs, ids, depth)
        self.exact = _arrays(list(Reference(reasoner, dtype=torch.float64).steps(*run)))
        unit = UNIT[torch.float32]
        noisy = [_arrays(list(Noisy(reasoner, seed).steps(*run))) for seed in range(DRAWS)]
        self.spread = {
            name: np.max([_largest(n[name] - exact) for n in noisy], axis=0) + unit * _largest(exact)
            for name, exact in self.exact.items()
        }

    def tolerance(self, name: str, step: int, dtype: torch.dtype = torch.float32) -> float:
        """Largest difference of a tensor's elements from fp64 after a step (from 1, or -1: the last) in a `dtype`."""
        at = step - 1 if step > 0 else step
        return SAFETY * float(self.spread[name][at]) * UNIT[dtype] / UNIT[torch.float32]

    def check(
        self, name: str, step: int, got: np.ndarray, dtype: torch.dtype = torch.float32, expected: np.ndarray | None = None
    ) -> None:
        """Hold a tensor after a step against `expected`, float64 (this run's own in fp64 when left out)."""
        if expected is None:
            expected = self.exact[name][step - 1 if step > 0 else step]
        np.testing.assert_allclose(
            np.asarray(got, dtype=np.float64),
            expected,
            rtol=0,
            atol=self.tolerance(name, step, dtype),
            err_msg=f"{name} after step {step} in {dtype}",
        )
