"""What a model costs by its shapes alone: multiply-adds and bytes (batch 1; one MAC = one multiply and one add)."""

from __future__ import annotations

from dataclasses import dataclass

from recurc.models.layers import level_tensors
from recurc.models.reasoner import Reasoner, ReasonerConfig


def level_macs(config: ReasonerConfig, level: str) -> int:
    """MACs of one call of a block: linear layers over all S rows (token mixing: all D channels), QK^T and PV."""
    layers = dict(config.levels)[level]
    total = 0
    for name, (rows, columns) in level_tensors(level, layers, config).items():
        total += rows * columns * (config.hidden_size if ".mlp_t." in name else config.rows)
    if config.mixer == "attention":
        total += layers * 2 * config.rows * config.rows * config.hidden_size
    return total


def head_macs(config: ReasonerConfig) -> int:
    """MACs of both heads after a supervision step: `lm_head` over the cells, `q_head` over row 0."""
    return (config.seq_len * config.vocab_size + 2) * config.hidden_size


@dataclass(frozen=True)
class Cost:
    """MACs of one (low-level) block call, of one supervision step with its heads, and of a puzzle at full depth."""

    macs_per_call: int
    macs_per_step: int
    macs_per_puzzle: int
    calls_per_step: int


def cost(config: ReasonerConfig) -> Cost:
    """The model's cost at its trained depth."""
    low, high = level_macs(config, "L_level"), level_macs(config, config.h_level)
    step = config.H_cycles * (config.L_cycles * low + high) + head_macs(config)
    return Cost(low, step, step * config.halt_max_steps, config.calls_per_step)


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
