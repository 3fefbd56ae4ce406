"""What a model costs by its shapes alone: multiply-adds and bytes (batch 1; one MAC = one multiply and one add)."""

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
    """All linear layers together: number of weights, of output channels, and bytes by precision with their scales.

    int8 carries an fp32 scale a channel; int4 packs two weights a byte (odd rows are padded by half a byte) and carries
    an fp32 scale and a zero point byte a channel. The image's own alignment comes on top.
    """

    weights: int
    channels: int
    fp32: int
    int8: int
    int4: int


def linear_weights(reasoner: Reasoner) -> LinearWeights:
    """Count the weights of all linear layers, blocks and heads."""
    shapes = [reasoner.tensors[name].shape for name in reasoner.linear_names()]
    weights = sum(rows * columns for rows, columns in shapes)
    channels = sum(rows for rows, _ in shapes)
    packed = sum(rows * ((columns + 1) // 2) for rows, columns in shapes)
    return LinearWeights(weights, channels, 4 * weights, weights + 4 * channels, packed + 5 * channels)
