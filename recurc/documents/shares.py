"""Shares of right answers, and what solving with restarts does, in documents."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Shares(TypedDict):
    """Shares of cells and of puzzles that are right, 0..1; null without labels."""

    cell: float | None
    exact: float | None


class SolvedEntry(Shares):
    """What the procedure with restarts does: puzzles called solved, wrongly so, called unsure although right; its numbers."""

    symmetry: str
    exact_error: float | None
    mean_steps: float
    mean_steps_error: float | None
    worst_steps: int
    solved: int
    wrong_solved: int
    right_unsure: int
    restarted: int
    accept: Literal["margin", "agreement", "vote"]
    theta: float
    patience: int
    first_steps: int
    restarts: int
    restart_steps: int
    noise: NotRequired[float]
    noise_at: NotRequired[Literal["start", "step"]]
    seed: NotRequired[int]


class OwnHalting(TypedDict):
    """halting.json beside a checkpoint, as `recurc halting --keep` wrote it: see `recurc.evaluate.own_halting.OwnHalting`."""

    checkpoint_sha256: str
    theta: float
    patience: int
    accept: Literal["margin", "agreement", "vote"]
    found: Literal["labels", "clusters"]
    certificate: bool | None
    precision: str
    symmetry: str
    n: int
    held: int
    solved: int
    wrong: int | None


class PolicyEntry(TypedDict):
    """How puzzles are answered: steps of the first run, restarts and their steps, what halts a run, what is believed,
    and the noise of all runs but the first where there is some."""

    steps: int
    restarts: int
    restart_steps: int
    threshold: float
    patience: int
    accept: str
    noise: NotRequired[float]
    noise_at: NotRequired[Literal["start", "step"]]
    seed: NotRequired[int]


class SolveEntry(PolicyEntry):
    """How a build answers puzzles, and the forms that its image holds, by the symmetry that they are drawn from."""

    symmetry: str
    forms: int
