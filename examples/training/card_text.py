"""What a model card needs of a kind of task, and the wording helpers of all cards."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CardTexts:
    """Texts of one kind of task; whole sentences unless said otherwise."""

    task: str  # a line: the puzzle and its tokens
    licence: str
    figures: str  # what the accuracy table shows, and how the puzzles were split
    bucket: Callable[[dict], str]  # a bucket of the table -> its name
    drawn: str  # where training puzzles come from
    rows: str  # how the puzzle embedding was trained
    limits: str
    files: str  # lines
    cells_note: str = "Cells include the givens"  # no full stop: the sentence goes on
    error_note: str = ""  # likewise
    facts: dict[str, str] = field(default_factory=dict)  # more rows of the table of facts
    sections: tuple[tuple[str, str], ...] = ()  # (title, text) after the accuracy


def halting_rule(family: str) -> str:
    """When a model of a family says that it is done; goes on a sentence."""
    return "whose q_halt is above its q_continue" if family == "hrm" else "whose halting logit is above zero"


def pct(x: float) -> str:
    return f"{100 * x:.1f}"


def count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False)
