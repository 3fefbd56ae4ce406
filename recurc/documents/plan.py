"""Memory plans: what lies where, whether it fits, the work of a step."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

RegionKind = Literal["flash", "ram", "external-flash", "external-ram"]
Carry = Literal["fp32", "fp16", "int8"]


class Piece(TypedDict):
    """One thing in a memory region; `offset` counts from the region's base."""

    name: str
    kind: str
    address: int
    offset: int
    bytes: int
    lifetime: str


class LinkedRegion(TypedDict):
    """A memory region and the sums of what lies in it: `used` = the sum of `parts`."""

    name: str
    kind: RegionKind
    base: int
    size: int
    used: int
    free: int
    sum: str
    optional: bool
    note: str
    parts: dict[str, int]


class PlannedRegion(LinkedRegion):
    """A memory region with its pieces, by address."""

    pieces: list[Piece]


class Missing(TypedDict):
    """Bytes that a region lacks for some of its parts."""

    region: str
    bytes: int
    parts: list[str]


class Advice(TypedDict):
    """A change of the model or the board, with what planning it gave; `options` of the command line make it."""

    change: str
    options: list[str]
    fits: bool
    saves: int
    missing_bytes: int
    region: str | None
    note: str


class Verdict(TypedDict):
    """Whether a plan fits; `open`: it does so far, and sizes are not known yet."""

    fits: bool
    text: str
    estimated: bool
    open: bool
    missing_bytes: int
    region: str | None
    missing: list[Missing]
    changes: list[Advice]


class PlannedModel(TypedDict):
    """What is planned: bits a weight of all layers, or of each by its name; multiply-adds (MACs) of each depth."""

    parameters: int
    bits: float | dict[str, float]
    carry: Carry
    kernels: str
    steps: int
    h_cycles: int
    l_cycles: int
    calls_per_step: int
    macs_per_call: int
    macs_by_block: dict[str, int]
    macs_per_step: int
    macs_per_puzzle: int


class Call(TypedDict):
    """A function on the deepest path of the stack, and the bytes of its frame."""

    function: str
    bytes: int


class PlannedStack(TypedDict):
    """Bytes of the stack: reserved; of the worst path and of interrupts, null before anything was compiled."""

    reserved: int
    worst: int | None
    path: list[Call]
    interrupt_bytes: int | None
    assumed: list[Call]


class PlacedTable(TypedDict):
    """The puzzle table that lies outside the image, or comes over the wire."""

    bytes: int
    region: str | None
    address: int | None
    mode: Literal["memory-mapped", "wire"]


class ImageSum(TypedDict):
    """Bytes of the weights image by kind of section."""

    bytes: int
    parts: dict[str, int]


class WorkClass(TypedDict):
    """A class of a step's work; `flash_again`: bytes that are read again where there is no cache. units: how often each unit,
    whose instructions were measured, is executed."""

    name: str
    macs: int
    flash_bytes: int
    flash_again: int
    ram_bytes: int
    units: dict[str, float]


class OpWork(TypedDict):
    """An op, which a step runs `times` times, and the work of one time: in turns over `tile` of its `rows`.

    piece: multiply-adds between two places where the hook may be called, at most. units: of products and what goes with them;
    between: of what comes before and after them in a turn.
    """

    name: str
    times: int
    rows: int
    tile: int
    piece: int
    macs: int
    flash_bytes: int
    flash_again: int
    units: dict[str, float]
    between: dict[str, float]


class Work(TypedDict):
    """The work of a supervision step."""

    kernels: str
    classes: list[WorkClass]
    ops: NotRequired[list[OpWork]]


class Plan(TypedDict):
    """The memory plan of a model on a board."""

    board: str
    estimated: bool
    regions: list[PlannedRegion]
    verdict: Verdict
    model: PlannedModel
    stack: PlannedStack
    table: PlacedTable | None
    image: ImageSum
    arena_bytes: int
    scratch_bytes: int
    ram_bytes: int
    work: Work


class ClassTime(TypedDict):
    """Estimated instructions and time of a class of work; cycles and seconds are null where the board has no clock."""

    name: str
    macs: int
    flash_bytes: int
    ram_bytes: int
    instructions: int
    cycles: int | None
    share: float
    seconds: float | None


class FlashWaits(TypedDict):
    """Cycles that the core waits for weights."""

    cycles: int
    note: str


class Estimate(TypedDict):
    """An estimate of the time of a step: counted instructions, modelled cycles."""

    kind: Literal["estimate"]
    model: str
    instructions_from: str
    worst_error: float
    clock_hz: int | None
    macs: int
    instructions: int
    instructions_per_mac: float | None
    cycles: int | None
    seconds: float | None
    flash_waits: FlashWaits
    classes: list[ClassTime]


class OpTime(TypedDict):
    """An op, which a step runs `times` times, and what one time takes. instructions: estimated; most: with the estimate's
    margin; seconds: null where the board has no clock."""

    name: str
    times: int
    macs: int
    instructions: int
    most: int
    seconds: float | None


class HookTime(TypedDict):
    """The hook of a program of one's own: called after `macs` multiply-adds, and those of the tile under way. instructions,
    seconds: between two calls within a step, at most, by the estimate."""

    macs: int
    instructions: int
    seconds: float | None


class ErrorEntry(TypedDict):
    """Why a command ended: `code` names the kind of error, the others are one paragraph in parts."""

    code: str
    what: str
    where: str
    why: str
    next: str
    plan: NotRequired[Plan]
