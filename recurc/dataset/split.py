"""A split of a dataset: examples in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recurc.alphabet import Alphabet
from recurc.arguments import argument
from recurc.dataset.numbers import whole_numbers
from recurc.errors import InputError
from recurc.types import BoolArray
from recurc.words import words_for

IGNORED = -100  # a label that never counts, as in the reference code
NO_LABEL = -1  # stands for every label where the dataset has none, and names no value to be ignored


@dataclass(frozen=True)
class Dataset:
    """One split of a dataset.

    `inputs` [N, seq_len] uint8 (int32 for vocabularies over 256), `labels` [N, seq_len] int32 as stored (cells equal to
    `ignore_label_id` or -100 do not count, see `valid`; without a file of labels none does), `puzzle_ids` [N] int32.
    """

    inputs: np.ndarray
    labels: np.ndarray
    puzzle_ids: np.ndarray
    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    ignore_label_id: int | None
    path: Path
    split: str
    in_memory: bool = False  # made of arrays: `path` names no folder
    symbols: str = ""  # characters of tokens 1, 2, ... (see `recurc.alphabet`); "": not known

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def valid(self) -> np.ndarray:
        """Mask [N, seq_len] of the cells that count for accuracy."""
        counts: BoolArray = self.labels != IGNORED
        return counts if self.ignore_label_id is None else counts & (self.labels != self.ignore_label_id)

    @classmethod
    def from_arrays(
        cls,
        inputs: np.ndarray,
        labels: np.ndarray | None = None,
        puzzle_ids: np.ndarray | None = None,
        *,
        vocab_size: int | None = None,
        num_puzzle_identifiers: int | None = None,
        ignore_label_id: int | None = None,
        split: str = "test",
        symbols: str = "",
    ) -> Dataset:
        """A dataset from arrays at hand.

        Args:
            inputs: tokens [N, seq_len].
            labels: [N, seq_len]; -100 and `ignore_label_id` mark cells that do not count. None: no labels.
            puzzle_ids: [N]; zeros when left out.
            vocab_size, num_puzzle_identifiers: default to the smallest numbers that fit.
            split: what it stands for, "train" or "test".
            symbols: the characters of tokens 1, 2, ..., for drawings and answers.

        Raises:
            InputError: arrays of other shapes, or of no whole numbers, or tokens out of range.
        """
        arrays = [_flat(inputs, "inputs", 2)]
        arrays.append(np.full(arrays[0].shape, NO_LABEL) if labels is None else _flat(labels, "labels", 2))
        arrays.append(np.zeros(len(arrays[0]), int) if puzzle_ids is None else _flat(puzzle_ids, "puzzle_ids", 1))
        tokens, known, ids = arrays
        if known.shape != tokens.shape or len(ids) != len(tokens) or not tokens.size:
            raise InputError(
                "the arrays do not belong together",
                where="Dataset.from_arrays",
                why=f"inputs {tokens.shape}, labels {known.shape}, puzzle_ids {ids.shape}",
                next="Give inputs and labels [N, seq_len], and puzzle_ids [N]",
            )
        ignore = NO_LABEL if labels is None and ignore_label_id is None else ignore_label_id
        named = known[(known != IGNORED) & (known != (IGNORED if ignore is None else ignore))]
        vocab = int(max(tokens.max(), named.max(initial=0))) + 1 if vocab_size is None else vocab_size
        puzzles = int(ids.max()) + 1 if num_puzzle_identifiers is None else num_puzzle_identifiers
        if symbols:
            try:
                Alphabet(symbols)
            except ValueError as error:
                raise InputError(str(error), where=argument("symbols"), next="Name each character once") from None
        for name, values, limit in (("inputs", tokens, vocab), ("labels", named, vocab), ("puzzle_ids", ids, puzzles)):
            if values.size and (values.min() < 0 or values.max() >= limit):
                raise InputError(
                    f"{name} are out of range",
                    where="Dataset.from_arrays",
                    why=f"they go from {values.min()} to {values.max()}, where 0 to {limit - 1} are allowed",
                    next="Number tokens and puzzles from 0 on, or give larger sizes",
                )
        return cls(
            tokens.astype(np.uint8 if vocab <= 256 else np.int32),
            known.astype(np.int32),
            ids.astype(np.int32),
            tokens.shape[1],
            vocab,
            puzzles,
            ignore,
            Path("arrays"),
            split,
            in_memory=True,
            symbols=symbols,
        )

    def __repr__(self) -> str:
        labels = "" if self.valid.any() else ", no labels"
        return (
            f"Dataset({self.path}/{self.split}: {len(self):,} examples of {self.seq_len} {words_for(self.seq_len).places}, "
            f"vocabulary {self.vocab_size}{labels})"
        )

    def labelled(self) -> Dataset:
        """The examples that accuracy counts: those with at least one such cell, as the reference code does.

        Raises:
            InputError: there are none.
        """
        counts = self.valid.any(axis=1)
        if not counts.any():
            raise InputError(
                "no example has labels, so there is no accuracy", where=f"{self.path}/{self.split}",
                why="all__labels.npy is missing, or all of it is ignore_label_id",
                next="Pass a dataset with labels; without any there are `recurc verify` and `recurc tune --min-fidelity PHI`",
            )  # fmt: skip
        return self if counts.all() else self._select(np.flatnonzero(counts))

    def take(self, n: int | None, offset: int = 0) -> Dataset:
        """`n` examples from `offset` on (all that follow when n is None; fewer when the split ends)."""
        return self._select(np.arange(offset, len(self) if n is None else min(offset + n, len(self))))

    def sample(self, n: int, seed: int) -> Dataset:
        """`n` examples drawn without replacement (all of them, shuffled, when the split has fewer)."""
        return self._select(self.order(seed)[:n])

    def order(self, seed: int) -> np.ndarray:
        """Indices of all examples in the order in which `sample` draws them."""
        return np.random.default_rng(seed).permutation(len(self))

    def unlike(self, seen: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        """Those of `rows` whose input, with its puzzle, is none of the examples `seen`; indices, in their order."""
        known = {self._key(i) for i in seen}
        return np.array([i for i in rows if self._key(i) not in known], dtype=np.int64)

    def _key(self, i: int) -> tuple[int, bytes]:
        return int(self.puzzle_ids[i]), self.inputs[i].tobytes()

    def _select(self, index: np.ndarray) -> Dataset:
        return replace(self, inputs=self.inputs[index], labels=self.labels[index], puzzle_ids=self.puzzle_ids[index])


def _flat(values: np.ndarray, name: str, ndim: int) -> np.ndarray:
    """An argument of `Dataset.from_arrays` as int64. Raises InputError: other dimensions, or no whole numbers."""
    array = whole_numbers(values, name, "Dataset.from_arrays")
    if array.ndim != ndim:
        raise InputError(
            f"{name} have the wrong shape",
            where=f"shape {array.shape}",
            why=f"it takes {ndim} dimension(s)",
            next="Give inputs and labels [N, seq_len], and puzzle_ids [N]",
        )
    return array
