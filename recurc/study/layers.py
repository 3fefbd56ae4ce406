"""Which layers are behind a low phi: measured, one layer at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recurc.models.reasoner import Reasoner
from recurc.quant.fidelity import carry_fidelity
from recurc.study.fake import FakeModel


def layers_alone(
    reasoner: Reasoner,
    weights: Mapping[str, np.ndarray],
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    expected: np.ndarray,
    h_cycles: int,
    l_cycles: int,
) -> list[tuple[str, float]]:
    """phi after one supervision step when only one layer's weights are rounded, the worst first.

    Args:
        weights: layer's name -> float32 [N, K] as they read back.
        inputs: tokens [n, seq]; puzzle_ids [n].
        expected: z_H of the fp32 model after that step, [n, S, D].
    """
    found = []
    for name, w in weights.items():
        model = FakeModel(reasoner, {name: w}, "fp32")
        state = next(iter(model.steps(inputs, puzzle_ids, 1, h_cycles, l_cycles)))
        found.append((name, float(carry_fidelity(state.z_H.numpy(), expected).mean())))
    return sorted(found, key=lambda item: item[1])
