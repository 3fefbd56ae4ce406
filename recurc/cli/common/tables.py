"""Tables as lines of text that fit a width: headings wrap first, then columns go by importance, then text wraps at spaces.

A number is never wrapped or cut. A word that has no room in any way is broken; nothing is lost.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

_GAP = 2  # spaces between columns
_TEXT = 16  # columns that text keeps when it has to wrap, if it has so many


@dataclass(frozen=True)
class Table:
    """A table as lines, all of at most the width that was asked for.

    `head`: lines of headings. `rows`: for each row its lines. `kept`: numbers of the columns that are shown. `dropped`: the
    others' headings.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kept: tuple[int, ...]
    dropped: tuple[str, ...]

    @property
    def rule(self) -> str:
        """What stands below the headings."""
        return "─" * max((cell_len(line) for part in (self.head, *self.rows) for line in part), default=0)


def fitted(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    *,
    text: Sequence[str] = (),
    least: Sequence[str | int] = (),
    numeric: bool = True,
) -> Table:
    """Lay out a table.

    Args:
        columns: headings; the first column and those in `text` stand to the left, the others to the right when `numeric`.
        width: of the page in characters; None has room for everything.
        least: columns that may be left out, by heading or number, the least important first. Before them go columns that
            hold the same in all of three or more rows: they tell nothing apart.
    """
    words = [i for i, name in enumerate(columns) if not numeric or not i or name in text]
    cells = [[*row] for row in rows]
    order = [
        columns.index(name) if isinstance(name, str) else name for name in least if isinstance(name, int) or name in columns
    ]
    same = [i for i in range(1, len(columns)) if len(cells) > 2 and len({row[i] for row in cells}) == 1]
    order = [*(i for i in order if i in same), *(i for i in same if i not in order), *(i for i in order if i not in same)]
    kept, dropped = list(range(len(columns))), []
    while True:
        widths = _widths(
            [columns[i] for i in kept],
            [[row[i] for i in kept] for row in cells],
            width,
            [i in words for i in kept],
            last=not order,
        )
        if widths is not None:
            break
        gone = order.pop(0)
        kept.remove(gone)
        dropped.append(gone)

    def line(values: Sequence[str]) -> tuple[str, ...]:
        return _lines([values[i] for i in kept], widths, [i in words for i in kept])

    return Table(line(columns), tuple(line(row) for row in cells), tuple(kept), tuple(columns[i] for i in sorted(dropped)))


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _widths(
    heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, words: Sequence[bool], last: bool
) -> list[int] | None:
    """A width for each column; None where they do not fit and it is not the `last` try."""
    longest = [max((cell_len(row[i]) for row in rows), default=0) for i in range(len(heads))]
    wanted = [max(n, cell_len(head)) for n, head in zip(longest, heads, strict=True)]
    if width is None:
        return wanted
    room = width - _GAP * (len(heads) - 1)
    found = [max(n, _longest_word(head)) for n, head in zip(longest, heads, strict=True)]
    if sum(found) > room:
        if not last:
            return None
        found = _narrowed(found, heads, rows, words, room)
    for i, most in enumerate(wanted):  # what is left goes to headings
        found[i] += max(0, min(most - found[i], room - sum(found)))
    return found


def _narrowed(
    found: Sequence[int], heads: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[bool], room: int
) -> list[int]:
    """Narrower columns of text: down to their longest words, and where that is still too much, to what there is."""
    found = list(found)
    for whole in (True, False):
        least = [
            max(
                _longest_word(heads[i]) if whole else 1,
                min(n, _TEXT if whole else 1),
                *((_longest_word(row[i]) for row in rows) if whole else ()),
            )
            if words[i]
            else n
            for i, n in enumerate(found)
        ]
        while sum(found) > room:
            widest = max((i for i in range(len(found)) if found[i] > least[i]), key=lambda i: found[i], default=None)
            if widest is None:
                break
            found[widest] -= 1
    return found


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most so many characters, broken at spaces where there are any."""
    if cell_len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(1, width), break_on_hyphens=False) or [""]


def paragraph(text: str, width: int) -> str:
    """Sentences in lines of at most so many characters; a word that is longer, such as a path, stays whole."""
    lines = []
    for line in text.split("\n"):
        if cell_len(line) <= width:
            lines.append(line)
            continue
        margin = " " * (len(line) - len(line.lstrip(" ")))
        lines += textwrap.wrap(
            line.strip(" "),
            width,
            initial_indent=margin,
            subsequent_indent=margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _lines(values: Sequence[str], widths: Sequence[int], words: Sequence[bool]) -> tuple[str, ...]:
    parts = [wrapped(value, w) for value, w in zip(values, widths, strict=True)]
    height = max(map(len, parts), default=0)
    found = []
    for n in range(height):
        line = []
        for part, w, left in zip(parts, widths, words, strict=True):
            text = part[n] if n < len(part) else ""
            space = " " * (w - cell_len(text))
            line.append(text + space if left else space + text)
        found.append((" " * _GAP).join(line).rstrip())
    return tuple(found)
