"""A search of tune over models that are made up."""

from __future__ import annotations

from contextlib import contextmanager

from recurc.study.pricing import Prices
from recurc.study.tune import Search
from recurc.study.units import Threads
from recurc.targets.boards import load_board
from tests.randmodels import sudoku4
from tests.study.bench import split, workbench

CONFIG = sudoku4().config


@contextmanager
def quiet(what, total):
    yield lambda n: None


def search(aim, board="mps2-an500", n=64, minimize="time", **options):
    some = split("test").take(n)
    bench = workbench(1, full=True, **options)
    with Threads(1) as threads:
        yield Search(
            bench,
            Prices(CONFIG, load_board(board) if isinstance(board, str) else board),
            aim,
            minimize,
            some.take(n // 2),
            some.take(None, n // 2),
            threads,
            quiet,
        )
