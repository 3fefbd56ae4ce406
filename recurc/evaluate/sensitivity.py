"""Which layers deserve more bits: what each buys in fidelity, what it costs in bytes, and the best choice for a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

GRAIN = 64  # sections of an image start at multiples of it, so sizes are counted in these

# Layers that are stored in the higher precision (the others in the lower one) -> phi, image bytes.
Measure = Callable[[Sequence[str]], float]
Size = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class LayerGain:
    """One layer alone in the higher precision: phi of the model then, and what the image grows by, in bytes."""

    name: str
    fidelity: float
    bytes: int


@dataclass(frozen=True)
class Sensitivity:
    """phi with all layers in the lower precision, phi with all in the higher, image bytes of both; each layer's gain."""

    low: float
    high: float
    low_bytes: int
    high_bytes: int
    layers: tuple[LayerGain, ...]

    def gain(self, layer: LayerGain) -> float:
        """What of 1 - phi a layer takes away when it alone is raised."""
        return layer.fidelity - self.low


def layer_gains(names: Sequence[str], measure: Measure, size: Size) -> Sensitivity:
    """Measure every layer alone; the one that buys most comes first."""
    low, low_bytes = measure(()), size(())
    gains = [LayerGain(name, measure((name,)), size((name,)) - low_bytes) for name in names]
    gains.sort(key=lambda g: -g.fidelity)
    return Sensitivity(low, measure(tuple(names)), low_bytes, size(tuple(names)), tuple(gains))


def choose_layers(found: Sensitivity, budget: int) -> tuple[str, ...]:
    """Layers to raise so that the image stays within `budget` bytes and the gains, taken to add up, are largest.

    Gains of single layers do add up nearly: errors of different layers are hardly correlated. What the choice really has is
    to be measured. Layers that gain nothing stay as they are. Empty when even the lower precision is over the budget.
    """
    room = (budget - found.low_bytes) // GRAIN
    useful = [g for g in found.layers if found.gain(g) > 0]
    if room < 0 or not useful:
        return ()
    room = min(room, sum(-(-g.bytes // GRAIN) for g in useful))
    best = np.zeros(room + 1)
    taken = np.zeros((len(useful), room + 1), dtype=bool)
    for i, layer in enumerate(useful):
        cost = max(-(-layer.bytes // GRAIN), 0)
        with_it = np.full(room + 1, -np.inf)
        with_it[cost:] = best[: max(room + 1 - cost, 0)] + found.gain(layer)
        taken[i] = with_it > best
        best = np.where(taken[i], with_it, best)
    chosen, left = [], room
    for i in range(len(useful) - 1, -1, -1):
        if taken[i, left]:
            chosen.append(useful[i].name)
            left -= max(-(-useful[i].bytes // GRAIN), 0)
    order = {g.name: n for n, g in enumerate(found.layers)}
    return tuple(sorted(chosen, key=order.__getitem__))
