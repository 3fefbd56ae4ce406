"""A pytest plugin (`-p tests.cpus.reordered`): torch and NumPy sum the products of a matrix product in another order.

Whatever a test says about floating point has to hold for it, too, as for a processor that nobody here has. The terms are
shuffled (the same way for the same number of them), so results differ in their last bits from those of any processor.
RECURC_ORDER=N takes another shuffle.
"""

from __future__ import annotations

import functools
import os

import torch
import torch.nn.functional as F

SEED = int(os.environ.get("RECURC_ORDER", "1"))
_linear, _matmul, _attention = F.linear, torch.Tensor.matmul, F.scaled_dot_product_attention


@functools.cache
def order(terms: int) -> torch.Tensor:
    return torch.randperm(terms, generator=torch.Generator().manual_seed(SEED * 7919 + terms))


def linear(x: torch.Tensor, w: torch.Tensor, bias=None) -> torch.Tensor:
    if not x.is_floating_point():
        return _linear(x, w, bias)
    p = order(x.shape[-1])
    return _linear(x[..., p], w[..., p], bias)


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if not a.is_floating_point():
        return _matmul(a, b)
    p = order(a.shape[-1])
    return _matmul(a[..., p], b[p] if b.ndim == 1 else b[..., p, :])


def attention(q, k, v, *args, **kwargs) -> torch.Tensor:
    """Keys and values in another order give the same result but for its rounding; so do the features of a head."""
    if args or kwargs:
        return _attention(q, k, v, *args, **kwargs)
    rows, features = order(k.shape[-2]), order(q.shape[-1])
    return _attention(q[..., features], k[..., rows, :][..., features], v[..., rows, :])


def pytest_configure(config) -> None:
    """Where xdist runs them, every worker is configured by itself."""
    F.linear, F.scaled_dot_product_attention = linear, attention
    torch.matmul = torch.Tensor.matmul = torch.Tensor.__matmul__ = matmul


def pytest_report_header(config) -> str:
    return f"matrix products summed in shuffled order {SEED}"
