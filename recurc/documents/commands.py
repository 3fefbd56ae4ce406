"""The documents of `build`, `eval`, `verify`, `run`, `inspect` and `doctor`. Paths are written as texts, NaN as null."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from recurc.documents.manifest import Halting
from recurc.documents.plan import Carry, ErrorEntry, Plan, PlannedModel
from recurc.documents.report import Accuracy, Depth, Linked, Region, Stack, Stopping
from recurc.documents.shares import OwnHalting, Shares, SolvedEntry, SolveEntry


class Failed(TypedDict):
    """What every command writes in place of its document when it ends with an error."""

    error: ErrorEntry


class StepTime(TypedDict):
    """The estimated time of a supervision step; seconds are null where the board has no clock."""

    estimated: Literal[True]
    seconds: float | None
    instructions: int


class GateEntry(TypedDict):
    """Fidelity after one supervision step, the inputs that it was judged on, and which of the training split they are."""

    fidelity: float
    fidelity_error: float | None
    fidelity_puzzles: int
    fidelity_inputs: str
    fidelity_rows: list[int]


class Built(GateEntry):
    """`recurc build`: a build was made. `elf` and `elves` are null where the board's own SDK compiles the firmware."""

    target: str
    twin: str | None
    precision: str
    layers: dict[str, str]
    calibration: str | None
    carry: Carry
    halt: Halting | None
    solve: SolveEntry | None
    puzzle_table: str
    image_bytes: int
    elf: Path | None
    compiled: bool
    out: Path
    fits: Literal[True]
    min_fidelity: float | None
    calibration_puzzles: int
    min_fidelity_from: str
    accuracy: Accuracy | None
    regions: list[Region]
    model: PlannedModel | Depth
    stack: Stack | None
    time_a_step: StepTime | None
    linked: Linked | None
    model_sha256: str
    build_id: str
    verified: str
    seconds: float
    kept: list[str]
    elves: dict[str, Path | None]


class Updated(GateEntry):
    """`recurc build --update-of`: a weights image was made. `table`: the streamed puzzle table that belongs to it."""

    target: str
    update_of: Path
    out: Path
    table: Path | None
    counter: int
    image_bytes: int
    model_sha256: str
    precision: str
    layers: dict[str, str]
    calibration: str
    min_fidelity: float
    min_fidelity_from: str
    seconds: float


class Refused(TypedDict):
    """`recurc build`: the model does not fit, with the plan that shows it."""

    target: str
    precision: str
    fits: Literal[False]
    error: ErrorEntry
    plan: Plan
    regions: list[Region]


class ReferenceShares(Shares):
    """fp32 on n puzzles; `exact_beside`: the precision on the same ones."""

    n: int
    exact_beside: float | None


class FullDepth(Shares):
    """Scores after all steps, where the others stop early."""

    steps: int


class Evaluated(Shares):
    """`recurc eval`: accuracy and fidelity of a precision. by_step: after some of the steps, by number."""

    checkpoint: str
    precision: str
    layers: dict[str, str]
    calibration: str | None
    carry: Carry
    puzzle_table: str
    n: int
    steps: int
    fidelity: float
    fidelity_error: float | None
    fidelity_last: float
    fidelity_last_error: float | None
    fidelity_n: int
    mean_steps: float
    exact_error: float | None
    fp32: ReferenceShares
    by_step: dict[str, Shares]
    halting: NotRequired[Stopping]
    full: NotRequired[FullDepth]
    solve: NotRequired[SolvedEntry]


class PlaceEntry(TypedDict):
    """The op after which host and device first differ. loops: [name, turn, turns] of each loop around it."""

    op: int
    ops: int
    kind: str
    tensor: str
    loops: tuple[tuple[str, int, int], ...]
    call: int | None
    calls: int
    block: str
    block_op: int
    block_ops: int
    layer: str


class DifferenceEntry(TypedDict):
    """Where host and device first differ, with both values."""

    puzzle: int
    step: int
    tensor: str
    index: list[int] | None
    host: float | None
    device: float | None
    place: PlaceEntry | None
    differing: int
    elements: int
    reproduced: bool
    run: NotRequired[int]


class FirstDifference(DifferenceEntry):
    """The first of all, and the sentence that tells it."""

    text: str


class PuzzleEntry(TypedDict):
    """One puzzle on the device, as `verify` and its journal have it. `phi`: fidelity of z_H, null where it was not read."""

    puzzle: int
    steps: int
    halted: bool
    matched: bool
    right: int
    cells: int
    ticks: int
    equal_steps: int
    stack_used: int
    phi_first: float | None
    phi_last: float | None
    difference: DifferenceEntry | None
    tokens: NotRequired[tuple[int, ...]]
    solved: NotRequired[bool]
    restarts: NotRequired[int]


class VerifiedPuzzle(PuzzleEntry):
    """The same, and whether every cell is right."""

    exact: bool


class DeviceFidelity(TypedDict):
    """Fidelity of carries that were read back from the device, on n puzzles."""

    n: int
    after_step_1: float
    after_last_step: float
    last_step: float
    after_step_1_error: float | None
    after_last_step_error: float | None
    carries: str
    against: str


class ProvenPiece(TypedDict):
    """A piece of the device's memory that is the build's."""

    name: str
    bytes: int
    crc: int
    sha256: str


class ProofEntry(TypedDict):
    """What a device proved of its memory, behind which nonce."""

    checked: str
    nonce: str
    bytes: int
    estimated_seconds: float | None
    estimated_on: str
    pieces: list[ProvenPiece]


class Unproven(TypedDict):
    """The device was not asked for a sha256."""

    checked: Literal["CRC only"]


class AnsweredEntry(TypedDict):
    """How a device answered puzzles by itself; `wrong_solved` is null without labels."""

    solved: int
    wrong_solved: int | None
    restarted: int
    mean_steps: float
    worst_steps: int


class VerifyDocument(Shares):
    """`recurc verify`: whether a firmware computes what the host computes, bit for bit."""

    on: str
    board: str
    n: int
    offset: int
    bit_exact: bool
    matched: int
    mean_steps: float
    ticks: int
    tick_hz: int
    instructions: int | None
    seconds: float | None
    ticks_per_step: float
    instructions_per_step: int | None
    seconds_per_step: float | None
    stack_used: int
    stack_bytes: int
    stack_worst: int | None
    retries: int
    fidelity: DeviceFidelity | None
    build_id: str
    model_sha256: str
    weights: ProofEntry | Unproven
    journal: Path | None
    solve: AnsweredEntry | None
    resumed: int
    first_difference: FirstDifference | None
    puzzles: list[VerifiedPuzzle]


class StateBytes(TypedDict):
    """Bytes of one state of the carry."""

    fp32: int
    int8: int


class Inspected(TypedDict):
    """`recurc inspect`: a checkpoint's shape, depth, work and sizes. tensors: their shapes by name."""

    source: str
    sha256: str
    family: str
    mixer: str
    parameters: int
    seq_len: int
    hidden: int
    vocab: int
    puzzle_rows: int
    rows: int
    layers: int
    h_layers: int
    heads: int | None
    pos_encodings: str
    expansion: float
    inter: int
    inter_t: int | None
    puzzle_identifiers: int
    puzzle_emb_ndim: int
    h_cycles: int
    l_cycles: int
    steps: int
    halt_rule: str
    halting: OwnHalting | None
    calls_per_step: int
    macs_per_call: int
    macs_by_block: dict[str, int]
    macs_per_step: int
    macs_per_puzzle: int
    linear_weights: int
    output_channels: int
    weight_bytes: dict[str, int]
    state_bytes: StateBytes
    puzzle_table_bytes: int
    tensors: dict[str, list[int]]


class Check(TypedDict):
    """One line of a diagnosis: what was looked at, what was found, what to do."""

    group: str
    name: str
    state: str
    detail: str
    next: str
    exit_code: int


class PortEntry(TypedDict):
    """A serial port, and the boards that it may be."""

    device: str
    usb: str | None
    description: str
    serial_number: str | None
    boards: list[str]


class DeviceEntry(TypedDict):
    """What a device that was asked says of its firmware."""

    board: str
    model: str
    build_id: str
    model_sha256: str
    version: int
    status: int
    image_bytes: int
    arena_bytes: int
    stack_bytes: int
    steps: int


class Diagnosis(TypedDict):
    """`recurc doctor`: what is here, and what is wrong."""

    ok: bool
    exit_code: int
    build: Path | None
    port: str | None
    checks: list[Check]
    ports: list[PortEntry]
    device: DeviceEntry | None
