"""Square puzzles on the terminal: givens dimmed, cells that changed highlighted."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from recurc.alphabet import Alphabet
from recurc.words import side_of

DIGITS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BOXES = {4: (2, 2), 6: (2, 3), 8: (2, 4), 9: (3, 3), 12: (3, 4), 16: (4, 4)}  # side -> rows, columns of a box


def is_sudoku(seq_len: int, vocab: int) -> bool:
    """Whether tokens are a sudoku's: 0 padding, 1 blank, then the digits."""
    side = side_of(seq_len)
    return side is not None and vocab == side + 2


def _symbols(vocab: int, sudoku: bool, symbols: str = "") -> list[str]:
    """What each token is drawn as, all equally wide: its symbol, one character, or the number where there are too many."""
    if symbols:
        drawn = Alphabet(symbols).drawn(vocab)
        wide = max(map(cell_len, drawn))
        return [text + " " * (wide - cell_len(text)) for text in drawn]
    if sudoku:
        return [" ", "·", *DIGITS[: vocab - 2]]
    if vocab <= 1 + len(DIGITS):
        return ["0", *DIGITS[: vocab - 1]]
    return [f"{token:{len(str(vocab - 1))}}" for token in range(vocab)]


def one_word(tokens: np.ndarray, vocab: int, symbols: str = "") -> str | None:
    """Tokens as one word of the task's symbols, or a sudoku's cells, as `recurc run --tokens` takes them; None for others."""
    if symbols and (word := Alphabet(symbols).word(tokens)) is not None:
        return word
    if not is_sudoku(len(tokens), vocab):
        return None
    return "".join("." if t < 2 else DIGITS[t - 2] for t in tokens.tolist())


def grid_lines(
    tokens: np.ndarray, given: np.ndarray, previous: np.ndarray | None, vocab: int, color: bool, symbols: str = ""
) -> list[Text]:
    """A grid as lines of text.

    Args:
        tokens: [side * side] to draw.
        given: mask of the cells that the puzzle gives.
        previous: the tokens before, to highlight what changed; None for nothing.
        color: style the cells; without it changed cells carry a star.
        symbols: characters of tokens 1, 2, ..., where they are known.
    """
    side = side_of(len(tokens))
    assert side is not None
    sudoku = is_sudoku(len(tokens), vocab)
    box_rows, box_columns = _BOXES.get(side, (side, side)) if sudoku else (side, side)
    drawn = _symbols(vocab, sudoku, symbols)
    rule = "┼─".join("─" * ((cell_len(drawn[0]) + 1) * box_columns) for _ in range(side // box_columns))
    lines: list[Text] = []
    for r in range(side):
        if r and r % box_rows == 0:
            lines.append(Text(rule, style="dim"))
        line = Text()
        for c in range(side):
            if c and c % box_columns == 0:
                line.append("│ ", style="dim")
            i = r * side + c
            changed = previous is not None and tokens[i] != previous[i]
            style = "bold green" if changed else "dim" if given[i] else ""
            line.append(drawn[int(tokens[i])], style=style if color else "")
            line.append("*" if changed and not color else " ")
        lines.append(line)
    return lines


def sequence_lines(
    tokens: np.ndarray, previous: np.ndarray | None, vocab: int, color: bool, width: int, symbols: str = ""
) -> list[Text]:
    """Tokens of no square, as their symbols or as numbers, in as many lines as they need; what changed since `previous` is
    marked as in a grid."""
    drawn = _symbols(vocab, False, symbols) if symbols else [f"{token:{len(str(vocab - 1))}}" for token in range(vocab)]
    wide, lines = cell_len(drawn[0]), [Text()]
    for i, token in enumerate(tokens):
        changed = previous is not None and token != previous[i]
        if lines[-1].cell_len + wide + 1 > width:
            lines.append(Text())
        lines[-1].append(drawn[int(token)], style="bold green" if changed and color else "")
        lines[-1].append("*" if changed and not color else " ")
    return lines


def side_by_side(blocks: list[list[Text]], width: int, gap: int = 4) -> list[Text]:
    """Blocks of lines in rows of as many as fit `width` columns."""
    if not blocks:
        return []
    wide = max(line.cell_len for block in blocks for line in block)
    per_row = max(1, (width + gap) // (wide + gap))
    out: list[Text] = []
    for start in range(0, len(blocks), per_row):
        row = blocks[start : start + per_row]
        for i in range(max(map(len, row))):
            line = Text()
            for block in row:
                part = block[i].copy() if i < len(block) else Text()
                part.pad_right(wide + gap - part.cell_len)
                line.append_text(part)
            line.rstrip()
            out.append(line)
        out.append(Text())
    return out
