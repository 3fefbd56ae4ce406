"""The document of `recurc run`, and answers as others have them."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

from recurc.documents.manifest import Halting
from recurc.documents.shares import PolicyEntry


class StepEntry(TypedDict):
    """A model after a supervision step: tokens, the halting head's logits and margin; carry_crc is null for fp32."""

    step: int
    tokens: list[int]
    q: list[float]
    margin: float
    carry_crc: int | None


class AnswerEntry(TypedDict):
    """A model's answer to one input."""

    input: list[int]
    puzzle_id: int
    answer: list[int]
    halted: bool
    steps: list[StepEntry]


class _Numbered(TypedDict):
    """An answer's number among the inputs, as one word where its tokens have symbols, and how much of it is right."""

    number: int
    text: NotRequired[str]
    right: NotRequired[int]
    cells: NotRequired[int]
    exact: NotRequired[bool]


class NumberedAnswer(AnswerEntry, _Numbered):
    """Both."""


class DeviceAnswer(TypedDict):
    """What a device answers by itself: whether it is believed, steps of all runs, restarts, the run that the answer is of,
    the margin after its last step, and how many runs had ended with the answer then."""

    input: list[int]
    puzzle_id: int
    answer: list[int]
    solved: bool
    total_steps: int
    restarts: int
    run: int
    margin: float
    votes: int


class NumberedSolved(DeviceAnswer, _Numbered):
    """Both."""


class RunDocument(TypedDict):
    """`recurc run`: what a model answers, or with --solve a build's device by itself. `out`: the file of answers."""

    model: str
    runs_in: str
    n: int
    halt: Halting | None
    solve: NotRequired[PolicyEntry]
    answers: list[NumberedAnswer] | list[NumberedSolved]
    out: Path | None
