"""Carry-trajectory fidelity phi: how far the quantized carry points the way the full-precision one does.

phi is the mean over inputs and positions of cos(z_H quantized, z_H fp32) after a stated number of supervision steps
("What Survives When You Compress a Recursive Reasoner for the Edge?", eq. 4). It needs no labels.
"""

from __future__ import annotations

import numpy as np

from recurc.types import F64Array


def cosine_rows(z: np.ndarray, reference: np.ndarray) -> F64Array:
    """Cosine along the last axis, float64. Rows that are zero in both count as 1, in one only as 0."""
    a: F64Array
    b: F64Array
    a, b = z.astype(np.float64), reference.astype(np.float64)
    dot, na, nb = (a * b).sum(-1), (a * a).sum(-1), (b * b).sum(-1)
    norm = np.sqrt(na * nb)
    same_zero: F64Array = ((na == 0) & (nb == 0)).astype(np.float64)
    np.divide(dot, norm, out=same_zero, where=norm > 0)
    return same_zero


def carry_fidelity(z: np.ndarray, reference: np.ndarray) -> F64Array:
    """phi of each input: z, reference [N, S, D] -> float64 [N], the mean over positions."""
    return np.asarray(cosine_rows(z, reference).mean(axis=-1))


def mean_and_error(phi: np.ndarray) -> tuple[float, float | None]:
    """Mean of phi over inputs [N], and its standard error; None of a single input."""
    n = len(phi)
    return float(np.mean(phi)), float(np.std(phi, ddof=1) / np.sqrt(n)) if n > 1 else None
