"""Which layers are behind a low phi: what each one's rounding does to its own output, and to phi when it alone is rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from recurc.evaluate.fidelity import carry_fidelity, mean_and_error
from recurc.evaluate.runs import Kept, record
from recurc.evaluate.stepping import TorchStepper
from recurc.ir.program import Program
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.recursion import Depth
from recurc.storage.form import Weights
from recurc.types import F32Array


def layer_damage(
    program: Program, weights: Mapping[str, Weights], originals: Mapping[str, np.ndarray], moments: Mapping[str, np.ndarray]
) -> list[tuple[str, float]]:
    """Relative squared output error that storing each layer's weights causes on the calibration inputs, worst first.

    Without moments (no data) all inputs count alike.
    """
    damage = []
    for ref in program.linears:
        w = np.asarray(originals[ref.name], dtype=np.float64)
        error = weights[ref.name].dequantized().astype(np.float64) - w
        m = moments.get(ref.name)
        if m is None:
            lost, whole = (error**2).sum(), (w**2).sum()
        else:
            lost, whole = ((error @ m) * error).sum(), ((w @ m) * w).sum()
        damage.append((ref.name, float(lost / whole) if whole > 0 else 0.0))
    return sorted(damage, key=lambda item: -item[1])


def layers_alone(
    reasoner: Reasoner, weights: Mapping[str, np.ndarray], inputs: np.ndarray, puzzle_ids: np.ndarray, depth: Depth
) -> list[tuple[str, float]]:
    """phi after the last step of `depth` when only one layer's weights are rounded and all else is fp32, the worst first.

    Args:
        weights: layer's name -> float32 [N, K] as they read back.
        inputs: tokens [n, seq]; puzzle_ids [n].
    """

    def carries(weights: Mapping[str, np.ndarray]) -> F32Array:
        model = Reference(replace(reasoner, tensors={**reasoner.tensors, **weights}))
        stepper = TorchStepper(model, depth, most=len(inputs))
        run = record(stepper, inputs, puzzle_ids, depth.steps, kept=Kept((depth.steps,)))
        return np.asarray(run.z_H[-1], np.float32)

    expected = carries({})
    found = [(name, mean_and_error(carry_fidelity(carries({name: w}), expected))[0]) for name, w in weights.items()]
    return sorted(found, key=lambda item: item[1])
