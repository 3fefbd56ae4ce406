"""manifest.json of a build folder. `recurc.build.manifest_schema` checks what is read; this says what is written."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from recurc.documents.plan import Carry, LinkedRegion, Plan
from recurc.documents.report import Accuracy, Section
from recurc.documents.shares import SolveEntry


class Link(TypedDict):
    """How the linked firmware compares with its plan: differences that alignment explains."""

    agrees: bool
    differences: list[str]
    sections: list[Section]


class FirmwareEntry(TypedDict):
    """A board's firmware; `elf` is null where the board's own SDK compiles it. Those of this computer have no plan.
    hook_macs: multiply-adds between two calls of the hook."""

    elf: str | None
    image: str
    model_sha256: str
    build_id: str
    kernels: str
    regions: NotRequired[list[LinkedRegion]]
    plan: NotRequired[Plan]
    link: NotRequired[Link]
    arena_bytes: NotRequired[int]
    hook_macs: NotRequired[int]


class TableEntry(TypedDict):
    """The puzzle table's file."""

    path: str
    storage: Literal["fp32", "int8"]
    rows: int
    dim: int
    record_bytes: int
    bytes: int
    key: str


class CheckpointEntry(TypedDict):
    """What the build was made of, and what was assumed of it."""

    source: str | None
    sha256: str | None
    notes: NotRequired[list[str]]


class CalibrationEntry(TypedDict):
    """Puzzles and steps that the weights were calibrated on, and the seed that drew them."""

    puzzles: int
    steps: int
    seed: int


class Halting(TypedDict):
    """When to stop early; without a patience that is 0."""

    threshold: float
    min_steps: int
    patience: NotRequired[int]


class Config(TypedDict):
    """The model's configuration (recurc.models.reasoner.ReasonerConfig)."""

    family: str
    mixer: Literal["mlp_t", "attention"]
    seq_len: int
    vocab_size: int
    num_puzzle_identifiers: int
    hidden_size: int
    expansion: float
    num_heads: int
    L_layers: int
    H_cycles: int
    L_cycles: int
    halt_max_steps: int
    pos_encodings: Literal["rope", "rope2d-nano", "learned", "none"]
    puzzle_emb_ndim: int
    puzzle_emb_len: int
    rms_norm_eps: float
    rope_theta: float
    H_layers: int
    forward_dtype: str
    halt_rule: str


class Manifest(TypedDict):
    """manifest.json: everything that a build folder holds, with the sha256 of every file, and a digest of itself.

    packages: format -> its folder, "" for none of its own.
    """

    schema: str
    recurc: str
    name: str
    target: str
    twin: str | None
    precision: str
    method: str | None
    label: str
    steps: int
    h_cycles: int
    l_cycles: int
    boards: dict[str, FirmwareEntry]
    image_bytes: int
    arena_bytes: int
    host_cpu: str
    host_library: str
    host_image: str
    config: Config
    files: dict[str, str]
    digest: str
    packages: NotRequired[dict[str, str]]
    layers: NotRequired[dict[str, str]]
    carry: NotRequired[Carry]
    table: NotRequired[TableEntry | None]
    checkpoint: NotRequired[CheckpointEntry]
    fidelity: NotRequired[float | None]
    fidelity_error: NotRequired[float | None]
    fidelity_puzzles: NotRequired[int | None]
    fidelity_inputs: NotRequired[str | None]
    fidelity_rows: NotRequired[list[int]]
    min_fidelity: NotRequired[float | None]
    min_fidelity_from: NotRequired[str | None]
    calibration: NotRequired[CalibrationEntry | None]
    accuracy: NotRequired[Accuracy | None]
    data: NotRequired[str | None]
    data_in_memory: NotRequired[bool]
    firmware_name: NotRequired[str]
    halt: NotRequired[Halting | None]
    solve: NotRequired[SolveEntry | None]
    symbols: NotRequired[str]
