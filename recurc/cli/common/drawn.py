"""What a model predicts, step after step, on the terminal: square puzzles as grids, everything else as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.text import Text

from recurc.cli.common.grid import grid_lines, is_sudoku, sequence_lines, side_by_side
from recurc.cli.common.output import Console
from recurc.words import side_of


def draw_steps(
    console: Console,
    given: np.ndarray,
    steps: Sequence[np.ndarray],
    vocab: int,
    labels: tuple[np.ndarray, np.ndarray] | None = None,
    said: bool = True,
    symbols: str = "",
) -> None:
    """Draw an input [seq_len] and the tokens after each step, until nothing changes any more; then say when that was.

    Args:
        labels: what is right, and the mask of the cells that count, where they are known.
        said: whether the pictures have titles, and a sentence at the end.
        symbols: characters of tokens 1, 2, ..., where they are known.
    """
    out = console.people
    color = out.is_terminal
    shown = [np.asarray(given), *map(np.asarray, steps)]
    last = max((i for i in range(1, len(shown)) if (shown[i] != shown[i - 1]).any()), default=0)
    blocks = []
    for number, tokens in enumerate(shown[: last + 1]):
        previous = shown[number - 1] if number else None
        lines = _lines(tokens, shown[0], previous, vocab, color, out.width, symbols)
        title = [Text(_title(number, tokens, previous, labels), style="bold")] if said else []
        blocks.append([*title, *lines])
    square = side_of(len(shown[0])) is not None
    for line in side_by_side(blocks, out.width) if square else [line for block in blocks for line in (*block, Text())]:
        out.print(line, soft_wrap=True, highlight=False)
    if not said:
        return
    settled = f"no change after step {last}" if last < len(steps) else "still changing at the last step"
    console.print(f"{settled} of {len(steps)}")


def _lines(
    tokens: np.ndarray, first: np.ndarray, previous: np.ndarray | None, vocab: int, color: bool, width: int, symbols: str
) -> list[Text]:
    if side_of(len(tokens)) is None:
        return sequence_lines(tokens, previous, vocab, color, width, symbols)
    # What a sudoku gives is what is not blank; other puzzles give everything and predict something else.
    given = first > 1 if is_sudoku(len(first), vocab) else np.zeros(len(first), bool)
    return grid_lines(tokens, given, previous, vocab, color, symbols)


def _title(number: int, tokens: np.ndarray, previous: np.ndarray | None, labels: tuple[np.ndarray, np.ndarray] | None) -> str:
    if previous is None:
        return "input"
    title = f"step {number}: {int((tokens != previous).sum())} changed"
    if labels is None or not labels[1].any():
        return title
    right = int((tokens == labels[0])[labels[1]].sum())
    return f"{title}, {right}/{int(labels[1].sum())}"
