"""Tolerances let through every order of summation, and nothing that is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from recurc.models.checkpoint import load
from recurc.models.reference import Reference
from tests.models.hrm_cases import CASES, puzzles
from tests.models.recorded import recorded_state, written
from tests.models.tolerances import TENSORS, Rounding

CHOSEN = ["rope", "learned", "copy-no-positions", "copy-mlp-t", "copy-mlp-t-learned"]


@pytest.fixture(scope="module")
def roundings(tmp_path_factory):
    """name -> (model, its rounding), made when first asked for."""
    kept = {}

    def find(name: str):
        if name not in kept:
            reasoner = load(written(tmp_path_factory.mktemp(name), CASES[name].arch, recorded_state(name)))
            kept[name] = (reasoner, Rounding(reasoner, *puzzles()))
        return kept[name]

    return find


def outside(rounding: Rounding, model: Reference, dtype: torch.dtype = torch.float32) -> list[str]:
    """Tensors that are not within the tolerance."""
    found = []
    for state in model.steps(*puzzles()):
        for name in TENSORS:
            try:
                rounding.check(name, state.step, getattr(state, name), dtype)
            except AssertionError:
                found.append(f"{name} after step {state.step}")
    return found


class Reordered(Reference):
    """fp32 with the sums of every linear layer and norm in another order.

    Args:
        order: "reversed", "pairs" (a tree), "one by one", "blocks" (partial sums of 8 terms, as tiles make them) or
            "shuffled".
    """

    def __init__(self, reasoner, order: str) -> None:
        super().__init__(reasoner)
        self.order = order

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        w = self.w[name]
        k = w.shape[1]
        if self.order == "reversed":
            return F.linear(x.flip(-1), w.flip(-1))
        if self.order == "shuffled":
            where = torch.randperm(k, generator=torch.Generator().manual_seed(k))
            return F.linear(x[..., where], w[:, where])
        size = {"one by one": 1, "blocks": 8, "pairs": 1}[self.order]
        parts = [F.linear(x[..., i : i + size], w[:, i : i + size]) for i in range(0, k, size)]
        while self.order == "pairs" and len(parts) > 1:
            odd = parts[len(parts) - len(parts) % 2 :]
            parts = [a + b for a, b in zip(parts[::2], parts[1::2])] + odd
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class Coarse(Reference):
    """fp32 sums of products of operands with fewer bits, as TF32 (10 bits) and bfloat16 (7 bits) units have them."""

    bits = 10

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self._rounded(x), self._rounded(self.w[name]))

    def _rounded(self, x: torch.Tensor) -> torch.Tensor:
        fraction, exponent = torch.frexp(x)
        return torch.ldexp((fraction * 2 ** (self.bits + 1)).round() * 2.0 ** -(self.bits + 1), exponent)


@pytest.mark.parametrize("order", ["reversed", "pairs", "one by one", "blocks", "shuffled"])
@pytest.mark.parametrize("name", CHOSEN)
def test_any_order_of_sums_is_within_the_tolerance(name, order, roundings):
    reasoner, rounding = roundings(name)
    assert not outside(rounding, Reordered(reasoner, order))


@pytest.mark.parametrize("name", CHOSEN)
def test_products_of_fewer_bits_are_not(name, roundings):
    reasoner, rounding = roundings(name)
    assert outside(rounding, Coarse(reasoner))


@pytest.mark.parametrize("name", CHOSEN)
def test_in_fp64_a_slight_mistake_is_not(name, roundings, monkeypatch):
    """One weight's last fp32 bit, or an epsilon that is off by a millionth of itself."""
    reasoner, rounding = roundings(name)
    model = Reference(reasoner, dtype=torch.float64)
    assert not outside(rounding, model, torch.float64)
    model.w["L_level.layers.0.mlp.down_proj.weight"][0, 0] *= 1 + 2.0**-23
    assert outside(rounding, model, torch.float64)
    slight = Reference(replace(reasoner, config=replace(reasoner.config, rms_norm_eps=1.000001e-5)), dtype=torch.float64)
    assert outside(rounding, slight, torch.float64)


def test_fp64_is_nowhere_fp32(roundings):
    """A single step through fp32 would bring its errors back, and with them the processor."""
    reasoner, rounding = roundings("rope")

    class Once(Reference):
        def stored(self, rows: torch.Tensor) -> torch.Tensor:
            return rows.float().double()

    assert outside(rounding, Once(reasoner, dtype=torch.float64), torch.float64)
