"""Puzzles with what is right for them: splits in memory (`split`), the directories that hold them (`directory`), and whether
they are of a model (`fitting`)."""

from recurc.dataset.directory import (
    Metadata,
    NoSplit,
    dataset_names,
    dataset_symbols,
    examples,
    load_dataset,
    load_splits,
    read_metadata,
)
from recurc.dataset.fitting import ModelShape, check_compatible
from recurc.dataset.numbers import numbers_only, whole_numbers
from recurc.dataset.split import IGNORED, Dataset

__all__ = [
    "IGNORED",
    "Dataset",
    "Metadata",
    "ModelShape",
    "NoSplit",
    "check_compatible",
    "dataset_names",
    "dataset_symbols",
    "examples",
    "load_dataset",
    "load_splits",
    "numbers_only",
    "read_metadata",
    "whole_numbers",
]
