"""A build's manifest as types: what recurc-build.json holds once `manifest_schema` has checked it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict


class Placed(TypedDict):
    """Where a streamed puzzle table lies: bytes; region and address where it is memory-mapped, else None."""

    bytes: int
    region: str | None
    address: int | None
    mode: str


class Stack(TypedDict):
    """Bytes reserved; of the worst path (None where it is not known), and its functions."""

    reserved: int
    worst: int | None
    path: list[dict[str, Any]]
    interrupt_bytes: int | None
    assumed: list[dict[str, Any]]


class Region(TypedDict):
    """A memory region with what the firmware takes of it, in bytes."""

    name: str
    kind: str
    base: int
    size: int
    used: int
    free: int
    sum: str
    optional: bool
    note: str
    parts: dict[str, int]
    pieces: NotRequired[list[dict[str, Any]]]


class Plan(TypedDict):
    """A memory plan, as recurc.plan.summary writes it."""

    board: str
    estimated: bool
    regions: list[Region]
    verdict: dict[str, Any]
    model: dict[str, Any]
    stack: Stack
    table: Placed | None
    image: dict[str, Any]
    arena_bytes: int
    scratch_bytes: int
    ram_bytes: int
    work: dict[str, Any]


class Link(TypedDict):
    """How the linked sections compare with the plan."""

    agrees: bool
    differences: list[str]
    sections: list[dict[str, Any]]


class FirmwareEntry(TypedDict):
    """One board's firmware; paths are relative to the build folder. `elf` is None where it is compiled elsewhere."""

    elf: str | None
    image: str
    model_sha256: str
    build_id: str
    kernels: str
    regions: NotRequired[list[Region]]
    plan: NotRequired[Plan]
    link: NotRequired[Link]
    arena_bytes: NotRequired[int]


class TableEntry(TypedDict):
    """The streamed puzzle table: its file, storage, shape, and key in hexadecimal."""

    path: str
    storage: str
    rows: int
    dim: int
    record_bytes: int
    bytes: int
    key: str


class Checkpoint(TypedDict):
    """What the build was made of, where it was, and what was assumed of it."""

    source: str | None
    sha256: str | None
    notes: NotRequired[list[str]]


class HaltEntry(TypedDict):
    """The halting rule that the build was tuned with."""

    threshold: float
    min_steps: int


class Manifest(TypedDict):
    """The whole document. `files`: path -> sha256. `packages`: format -> its folder, "" for none of its own."""

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
    config: dict[str, Any]
    files: dict[str, str]
    digest: str
    packages: NotRequired[dict[str, str]]
    layers: NotRequired[dict[str, str]]
    carry: NotRequired[str]
    table: NotRequired[TableEntry | None]
    checkpoint: NotRequired[Checkpoint]
    fidelity: NotRequired[float | None]
    fidelity_error: NotRequired[float | None]
    fidelity_puzzles: NotRequired[int | None]
    fidelity_inputs: NotRequired[str | None]
    fidelity_rows: NotRequired[list[int]]
    min_fidelity: NotRequired[float | None]
    min_fidelity_from: NotRequired[str | None]
    calibration: NotRequired[Mapping[str, int] | None]
    accuracy: NotRequired[dict[str, Any] | None]
    data: NotRequired[str | None]
    data_in_memory: NotRequired[bool]
    symbols: NotRequired[str]
    firmware_name: NotRequired[str]
    halt: NotRequired[HaltEntry | None]
