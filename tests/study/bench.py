"""A small workbench on the trained 4x4 model that the tests carry."""

from __future__ import annotations

from functools import lru_cache

from recurc.dataset import Dataset, load_dataset
from recurc.study.workbench import Workbench
from tests.randmodels import DATA, sudoku4

FOLDER = DATA / "data"


@lru_cache(maxsize=2)
def split(name: str) -> Dataset:
    return load_dataset(FOLDER, name)


def workbench(n: int = 24, **options) -> Workbench:
    return Workbench(sudoku4(), split("test").take(n), split("train"), puzzles=16, **options)
