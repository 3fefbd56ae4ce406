"""What a model costs by its shapes alone: multiply-adds and weights (batch 1; one MAC = one multiply and one add)."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner, ReasonerConfig


@dataclass(frozen=True)
class Cost:
    """MACs of one call of each block and of L_level, of one supervision step with its heads, and of a puzzle at full depth."""

    macs_by_block: dict[str, int]
    macs_per_call: int
    macs_per_step: int
    macs_per_puzzle: int
    calls_per_step: int


def cost(config: ReasonerConfig) -> Cost:
    """The model's cost at its trained depth."""
    program = lower(config)
    step = program.macs_per_step
    calls = program.macs_per_call
    return Cost(calls, calls["L_level"], step, step * program.steps, program.calls_per_step)


@dataclass(frozen=True)
class LinearWeights:
    """All linear layers together: number of weights and of output channels, and each layer's shape [N, K], apart for heads."""

    weights: int
    channels: int
    blocks: tuple[tuple[int, int], ...]
    heads: tuple[tuple[int, int], ...]


def linear_weights(reasoner: Reasoner) -> LinearWeights:
    """Count the weights of all linear layers, blocks and heads."""
    shapes = tuple(reasoner.tensors[name].shape for name in reasoner.linear_names())
    return LinearWeights(sum(n * k for n, k in shapes), sum(n for n, _ in shapes), shapes[:-2], shapes[-2:])
