"""A copy of a model that computes the same function, bit for bit, but whose weights are hard to quantize by tensor.

A SwiGLU is `down @ (silu(gate @ x) * (up @ x))`: a row of `up` times a power of two and the same column of `down` divided by
it change no product. So any accuracy that the copy loses in a precision is lost by its arithmetic alone: an exact control
for methods that claim to cope with outlier channels, and for the gate that should warn of them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np

from recurc.errors import InputError, UsageError
from recurc.models.reasoner import Reasoner

SHARE = 0.03
FACTOR = 8.0
_UP, _DOWN = ".gate_up_proj.weight", ".down_proj.weight"


def outlier_copy(reasoner: Reasoner, share: float = SHARE, factor: float = FACTOR, seed: int = 0) -> Reasoner:
    """The same function with `share` of the channels of every SwiGLU (both mixers, all levels) scaled by `factor`.

    Args:
        share: of each SwiGLU's inner channels, 0..1; rounded to whole channels, at least one unless it is 0.
        factor: a power of two, so that nothing is rounded: rows of `up` times it, columns of `down` divided by it.
        seed: of the choice of channels.

    Returns:
        A reasoner with the same configuration and source; its sha256 differs, so results are never mixed up.

    Raises:
        UsageError: share outside 0..1, factor not a power of two.
        InputError: a weight is so small or large that the factor does not fit fp32.
    """
    if not 0 <= share <= 1:
        raise UsageError(
            f"share {share:g} is no share",
            where="outlier_copy",
            why="it is a part of all channels",
            next="Give a number from 0 to 1",
        )
    if not (math.isfinite(factor) and factor > 0 and math.frexp(factor)[0] == 0.5):
        raise UsageError(
            f"factor {factor:g} is not a power of two",
            where="outlier_copy",
            why="any other factor rounds weights, and the copy would be another function",
            next="Give 2, 4, 8, ...",
        )
    rng = np.random.default_rng(seed)
    tensors = dict(reasoner.tensors)
    for name in reasoner.tensors:
        if not name.endswith(_UP):
            continue
        down_name = name.removesuffix(_UP) + _DOWN
        up, down = tensors[name].copy(), tensors[down_name].copy()
        width = down.shape[1]
        count = max(1, round(share * width)) if share else 0
        chosen = rng.permutation(width)[:count]
        up[width + chosen] = _times(name, up[width + chosen], factor)  # rows 0 .. width - 1 are the gate's
        down[:, chosen] = _times(down_name, down[:, chosen], 1 / factor)
        tensors[name], tensors[down_name] = up, down
    told = f"outlier copy: {100 * share:g} % of the SwiGLU channels x {factor:g}, seed {seed}; the same function"
    digest = hashlib.sha256(f"{reasoner.sha256} {told}".encode()).hexdigest()
    return replace(reasoner, tensors=tensors, sha256=digest, notes=(*reasoner.notes, told))


def _times(name: str, values: np.ndarray, factor: float) -> np.ndarray:
    """values * factor, without rounding.

    Raises:
        InputError: a product overflows, or loses bits because it is subnormal.
    """
    with np.errstate(over="ignore"):
        scaled = values * np.float32(factor)
        exact = np.array_equal(scaled * np.float32(1 / factor), values)
    if not exact:
        raise InputError(
            f"a weight times {factor:g} leaves the range of fp32",
            where=name,
            why="the copy would be another function",
            next="Choose a factor nearer to 1",
        )
    return scaled
