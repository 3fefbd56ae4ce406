"""Inputs of a model: tokens and puzzle identifiers, held against its configuration."""

from __future__ import annotations

import numpy as np

from recurc.dataset import whole_numbers
from recurc.errors import InputError
from recurc.models.reasoner import ReasonerConfig


def check_inputs(
    config: ReasonerConfig, inputs: np.ndarray, puzzle_ids: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [N, seq_len] and puzzle identifiers [N] (zeros when left out), as whole numbers.

    Raises:
        InputError: no inputs, inputs of another shape, numbers that are not whole, tokens outside the vocabulary, or
            identifiers that the model has no embedding for.
    """
    inputs = whole_numbers(inputs, "tokens", "inputs")
    if inputs.ndim != 2 or inputs.shape[1] != config.seq_len or not len(inputs):
        raise InputError(
            "inputs have the wrong shape",
            where=f"shape {inputs.shape}",
            why=f"the model takes [N, {config.seq_len}] tokens",
            next="check the dataset",
        )
    if inputs.min() < 0 or inputs.max() >= config.vocab_size:
        raise InputError(
            "a token is outside the vocabulary",
            where=f"values {inputs.min()}..{inputs.max()}",
            why=f"the model's vocabulary has {config.vocab_size} tokens",
            next="check the dataset",
        )
    ids = np.zeros(len(inputs), dtype=np.int64)
    if puzzle_ids is not None:
        ids = whole_numbers(puzzle_ids, "puzzle identifiers", "puzzle_ids")
    puzzles = config.num_puzzle_identifiers if config.puzzle_emb_ndim else 1
    if ids.shape != (len(inputs),) or ids.min() < 0 or ids.max() >= puzzles:
        raise InputError(
            "the puzzle identifiers do not fit",
            where=f"shape {ids.shape}",
            why=f"there is one for each of {len(inputs)} inputs, from 0 to {puzzles - 1}",
            next="check the dataset; leave them out where the model has none",
        )
    return inputs, ids
