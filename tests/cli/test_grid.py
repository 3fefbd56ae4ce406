"""Puzzles drawn on the terminal: every token can be told from the others, whatever the vocabulary."""

import numpy as np
import pytest

from recurc.cli.common.grid import grid_lines


@pytest.mark.parametrize(
    "vocab, tokens, lines",
    [
        (4, [0, 1, 2, 3], ["  · ", "1 2 "]),  # a sudoku's: padding, blank, digits
        (36, [0, 1, 34, 35], ["0 1 ", "Y Z "]),
        (131, [0, 9, 99, 130], ["  0   9 ", " 99 130 "]),
    ],
)
def test_every_token_has_its_own_symbol(vocab, tokens, lines):
    drawn = grid_lines(np.array(tokens), np.zeros(4, bool), None, vocab, color=False)
    assert [str(line) for line in drawn] == lines
    wide = {line.cell_len for line in grid_lines(np.arange(16) * (vocab // 16), np.zeros(16, bool), None, vocab, False)}
    assert len(wide) == 1
