"""torch sums the terms of matrix products in another order, in every Python process that has this folder on PYTHONPATH.

What a test says about floating point has to hold for it as for a processor that nobody here has. The terms are shuffled, the
same way for the same number of them, so results differ in their last bits from those of any processor, and are the same in
all processes. RECURC_ORDER=N takes the N-th shuffle; without it nothing is changed.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import sys


def reorder(torch, seed: int) -> None:
    """Replace torch's matrix products of floats, and attention, by those of shuffled operands."""
    functional = torch.nn.functional
    plain_linear, plain_matmul = functional.linear, torch.Tensor.matmul
    plain_attention = functional.scaled_dot_product_attention

    @functools.cache
    def order(terms: int):
        return torch.randperm(terms, generator=torch.Generator().manual_seed(seed * 7919 + terms))

    def linear(x, w, bias=None):
        if not x.is_floating_point():
            return plain_linear(x, w, bias)
        p = order(x.shape[-1])
        return plain_linear(x[..., p], w[..., p], bias)

    def matmul(a, b):
        if not a.is_floating_point():
            return plain_matmul(a, b)
        p = order(a.shape[-1])
        return plain_matmul(a[..., p], b[p] if b.ndim == 1 else b[..., p, :])

    def attention(q, k, v, *args, **kwargs):
        """Keys with their values, and features of a head, in another order: the same result but for its rounding."""
        if args or kwargs:
            return plain_attention(q, k, v, *args, **kwargs)
        rows, features = order(k.shape[-2]), order(q.shape[-1])
        return plain_attention(q[..., features], k[..., rows, :][..., features], v[..., rows, :])

    functional.linear, functional.scaled_dot_product_attention = linear, attention
    torch.matmul = torch.Tensor.matmul = torch.Tensor.__matmul__ = matmul


class WhenImported(importlib.abc.MetaPathFinder):
    """Reorders torch as soon as something imports it; a process that does not pays nothing."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            plain = spec.loader.exec_module

            def exec_module(module):
                plain(module)
                reorder(module, int(os.environ["RECURC_ORDER"]))

            spec.loader.exec_module = exec_module
        return spec


if os.environ.get("RECURC_ORDER"):
    sys.meta_path.insert(0, WhenImported())
