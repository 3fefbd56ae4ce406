"""What every kind of puzzle gives to training and export, and one split in the reference code's dataset format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

PAD = 0  # a padded cell of the labels counts neither in the loss nor in any accuracy


class Puzzles(NamedTuple):
    """N examples: inputs and labels are tokens uint8 [N, seq_len], ids the puzzle identifiers int32 [N]."""

    inputs: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    def take(self, count: int) -> Puzzles:
        return Puzzles(*(a[:count] for a in self))


class Source(Protocol):
    """Where training examples come from."""

    def draw(self, count: int, rng: np.random.Generator) -> Puzzles: ...


class Group(NamedTuple):
    """Some of the measured puzzles: `label` goes into metrics.json, `rows` is a mask [N]."""

    label: dict
    rows: np.ndarray


def write_split(
    folder: Path, puzzles: Puzzles, vocab_size: int, identifiers: int = 1,
    puzzle_starts: list[int] | None = None, group_starts: list[int] | None = None,
) -> None:  # fmt: skip
    """One split in the reference format.

    `puzzle_starts` [puzzles + 1] cuts the examples into puzzles, `group_starts` [groups + 1] the puzzles into groups;
    without them every example is a puzzle, every puzzle a group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count, seq_len = puzzles.inputs.shape
    puzzle_starts = list(range(count + 1)) if puzzle_starts is None else puzzle_starts
    group_starts = list(range(len(puzzle_starts))) if group_starts is None else group_starts
    np.save(folder / "all__inputs.npy", puzzles.inputs.astype(np.uint8))
    np.save(folder / "all__labels.npy", puzzles.labels.astype(np.uint8))
    np.save(folder / "all__puzzle_identifiers.npy", puzzles.ids[puzzle_starts[:-1]].astype(np.int32))
    np.save(folder / "all__puzzle_indices.npy", np.array(puzzle_starts, np.int32))
    np.save(folder / "all__group_indices.npy", np.array(group_starts, np.int32))
    meta = {
        "pad_id": PAD,
        "ignore_label_id": PAD,
        "blank_identifier_id": 0,
        "vocab_size": vocab_size,
        "seq_len": seq_len,
        "num_puzzle_identifiers": identifiers,
        "total_groups": len(group_starts) - 1,
        "mean_puzzle_examples": count / (len(puzzle_starts) - 1),
        "total_puzzles": len(puzzle_starts) - 1,
        "sets": ["all"],
    }
    (folder / "dataset.json").write_text(json.dumps(meta) + "\n")
