"""The document of `report`, and what other commands take from it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from recurc.documents.plan import (
    Advice,
    Call,
    Carry,
    ErrorEntry,
    Estimate,
    HookTime,
    Missing,
    OpTime,
    PlacedTable,
    PlannedModel,
    RegionKind,
)
from recurc.documents.shares import Shares, SolveEntry


class PlacedPiece(TypedDict):
    """One thing in a memory region; `offset` is null where the region's base is not known."""

    name: str
    kind: str
    address: int
    offset: int | None
    bytes: int
    lifetime: str


class Region(TypedDict):
    """A memory region: `share` of it is used (0..1)."""

    name: str
    kind: RegionKind
    base: int | None
    size: int
    used: int
    free: int
    share: float
    parts: dict[str, int]
    pieces: list[PlacedPiece]
    optional: bool
    note: str


class Source(TypedDict):
    """What the report is about: a build folder, or a plan of a checkpoint."""

    kind: Literal["build", "plan"]
    path: str | None
    name: str | None
    checkpoint: str | None
    sha256: str | None
    recurc: str | None
    model_sha256: str | None
    build_id: str | None


class BoardEntry(TypedDict):
    """The board; null where neither the build nor this recurc knows it."""

    name: str
    title: str
    core: str | None
    verified: str | None
    meaning: str | None
    evidence: str
    reference: str


class Stack(TypedDict):
    """Bytes of the stack: reserved, worst path, interrupts; `measured` on the board `measured_on`, null where it was not."""

    reserved: int
    worst: int | None
    path: list[Call]
    interrupt_bytes: int | None
    measured: int | None
    measured_on: str | None


class Section(TypedDict):
    """A section of a linked firmware."""

    name: str
    address: int
    bytes: int
    align: int
    load_address: int


class Linked(TypedDict):
    """How the linked firmware compares with its plan."""

    equal: bool
    differences: list[str]
    sections: list[Section]


class Stopping(TypedDict):
    """What stopping at the halting head does; `lost`: share of puzzles that it answers wrongly and all steps do not."""

    threshold: float
    min_steps: int
    patience: NotRequired[int]
    whence: NotRequired[str]
    cell: float | None
    exact: float | None
    mean_steps: float
    lost: float | None
    lost_error: float | None
    tune: NotRequired[str]


class AnsweredShares(Shares):
    """How the procedure with restarts answers them: steps on average, puzzles called solved, wrongly so."""

    mean_steps: float
    solved: int
    wrong_solved: int


class Accuracy(TypedDict):
    """Accuracy on the first n test puzzles, and fp32's on the same."""

    n: int
    cell: float
    exact: float
    exact_error: NotRequired[float]
    fp32_cell: NotRequired[float]
    fp32_exact: NotRequired[float]
    halting: NotRequired[Stopping]
    answers: NotRequired[AnsweredShares]


class Fidelity(TypedDict):
    """Fidelity after `after_steps` supervision steps on n inputs, and the least that the build had to have."""

    value: float
    error: float | None
    n: int | None
    inputs: str | None
    after_steps: int
    least: float | None
    least_from: str | None


class Verified(TypedDict):
    """The latest verification of a firmware, on the board that it ran on."""

    on: str
    n: int
    offset: int
    matched: int
    bit_exact: bool
    cell: float | None
    exact: float | None
    mean_steps: float
    stack_used: int
    stack_bytes: int
    ticks: int
    instructions_per_step: int | None
    seconds_per_step: float | None
    steps: int
    journal: str | None
    board: str


class MeasuredTime(TypedDict):
    """Of a step, as a firmware counted it."""

    board: str
    instructions: int | None
    seconds: float | None


class Time(TypedDict):
    """The time of a step: an estimate, or `why` there is none, and what was measured."""

    estimate: Estimate | None
    why: str | None
    measured: MeasuredTime | None
    ops: NotRequired[list[OpTime]]
    hook: NotRequired[HookTime]


class Depth(TypedDict):
    """How often a model is applied: supervision steps, each of high-level cycles of low-level ones."""

    steps: int
    h_cycles: int
    l_cycles: int


class Report(TypedDict):
    """`recurc report`: where everything lies, and how it was checked. `html`: the page that was written."""

    schema: str
    source: Source
    target: str
    twin: str | None
    precision: str
    label: str
    carry: Carry | None
    estimated: bool
    board: BoardEntry
    fits: bool
    open: bool
    missing_bytes: int
    region: str | None
    missing: list[Missing]
    changes: list[Advice]
    model: PlannedModel | Depth
    regions: list[Region]
    stack: Stack | None
    linked: Linked | None
    kernels: str | None
    image_bytes: int | None
    trained: NotRequired[Depth]
    image_parts: dict[str, int] | None
    arena_bytes: int | None
    boards: NotRequired[list[str]]
    packages: list[str]
    verified: NotRequired[Verified | None]
    notes: list[str]
    fidelity: Fidelity | None
    accuracy: Accuracy | None
    solve: NotRequired[SolveEntry]
    table: PlacedTable | None
    time: Time | None
    html: NotRequired[Path | None]
    error: NotRequired[ErrorEntry]
