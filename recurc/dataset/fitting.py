"""Whether a dataset is one of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from recurc.arguments import argument
from recurc.dataset.directory import dataset_names
from recurc.dataset.split import Dataset
from recurc.errors import InputError
from recurc.puzzlenames import check_names, names_in


class ModelShape(Protocol):
    """What `check_compatible` needs of a model's configuration."""

    @property
    def seq_len(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def num_puzzle_identifiers(self) -> int: ...
    @property
    def puzzle_emb_ndim(self) -> int: ...


def check_compatible(dataset: Dataset, config: ModelShape, checkpoint: str | Path | None = None) -> None:
    """Check that a dataset's sequence length, vocabulary and puzzle identifiers are the model's.

    Args:
        checkpoint: its file, where it is known: names of identifiers beside it are those of its puzzle embeddings.

    Raises:
        InputError: they are not; all differences are named.
    """
    wrong = []
    if dataset.seq_len != config.seq_len:
        wrong.append(f"sequences of {dataset.seq_len} tokens where the model takes {config.seq_len}")
    if dataset.vocab_size != config.vocab_size:
        wrong.append(f"a vocabulary of {dataset.vocab_size} where the model's is {config.vocab_size}")
    if config.puzzle_emb_ndim > 0 and dataset.num_puzzle_identifiers != config.num_puzzle_identifiers:
        # A dataset rebuilt with more or fewer puzzles numbers them otherwise: each would get another one's embedding.
        wrong.append(
            f"{dataset.num_puzzle_identifiers:,} puzzle identifiers where the model has "
            f"{config.num_puzzle_identifiers:,} embeddings"
        )
    if not wrong and config.puzzle_emb_ndim > 0 and checkpoint is not None and not dataset.in_memory:
        check_names(
            [*names_in(Path(checkpoint).parent), *dataset_names(dataset.path)[:1]],
            "the dataset names its puzzles otherwise than the checkpoint",
            f"Pass the dataset that the checkpoint was trained on with {argument('data', 'DIR')}",
        )
    if wrong:
        raise InputError(
            "the dataset is not of this model",
            where=f"{dataset.path}/{dataset.split}",
            why="it has " + " and ".join(wrong),
            next=f"Pass the dataset that the checkpoint was trained on with {argument('data', 'DIR')}",
        )
