"""The sections of a weights image, in the order of the file: one list that sizes, writes and reads them.

runtime_c/SPEC.md describes the file. What is around the sections (header, checksums) is `recurc.emit.image`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from recurc.ir.program import Program
from recurc.storage.form import Form, LayerSection, Weights
from recurc.storage.known import KnownAnswer, section_bytes, unpack
from recurc.storage.packings.packing import Packing
from recurc.symmetries import Forms, Grids, Symmetry
from recurc.symmetries.grids import COLOURS, Augmentation

IMAGE_ALIGN = 64  # sections start at multiples of it
IMAGE_HEADER_BYTES = 128
IMAGE_ENTRY_BYTES = 32  # one entry of the section table
KEY_BYTES = 16  # what ties a streamed table to its model
KINDS = {"table": 1, "vector": 2, "weights": 3, "scales": 4, "zeros": 5, "groups": 6, "forms": 7, "known": 8, "grids": 9}


class HasKey(Protocol):
    """A streamed puzzle table."""

    @property
    def key(self) -> bytes:
        """KEY_BYTES."""


class StoredModel(Protocol):
    """What of a quantized model goes into an image."""

    @property
    def tables(self) -> Mapping[str, np.ndarray]: ...
    @property
    def vectors(self) -> Mapping[str, np.ndarray]: ...
    @property
    def puzzles(self) -> HasKey | None: ...
    @property
    def weights(self) -> Mapping[str, Weights]: ...
    @property
    def known(self) -> KnownAnswer | None: ...
    def constants(self) -> Mapping[str, np.ndarray]: ...


@dataclass
class Contents:
    """What the sections of an image hold, as far as they have been read. constants: what follows from the configuration."""

    tables: dict[str, np.ndarray] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    fields: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    key: bytes = b""
    symmetries: Forms = ()
    known: KnownAnswer | None = None

    def weights(self, forms: Mapping[str, Form]) -> dict[str, Weights]:
        """Weights of each layer that has been read."""
        return {name: forms[name].weights(fields) for name, fields in self.fields.items()}


Write = Callable[[StoredModel], bytes]
Read = Callable[[bytes, Contents], None]


@dataclass(frozen=True)
class SectionSpec:
    """One section: `kind` as in the file, a name for people and generated code, its size without padding.

    write: its bytes. read: puts what the bytes hold into the contents.
    """

    kind: str
    name: str
    bytes: int
    write: Write
    read: Read


def _floats(
    kind: str,
    name: str,
    shape: tuple[int, ...],
    source: Callable[[StoredModel], Mapping[str, np.ndarray]],
    target: Callable[[Contents], dict[str, np.ndarray]],
    key: str,
) -> SectionSpec:
    """A section of the binary32 numbers that are called `key`, of this shape."""

    def write(model: StoredModel) -> bytes:
        return np.ascontiguousarray(source(model)[key], dtype="<f4").tobytes()

    def read(data: bytes, into: Contents) -> None:
        target(into)[key] = np.frombuffer(data, "<f4").astype(np.float32).reshape(shape)

    return SectionSpec(kind, name, 4 * math.prod(shape), write, read)


def _set_key(data: bytes, into: Contents) -> None:
    into.key = data


def _key(model: StoredModel) -> bytes:
    assert model.puzzles is not None
    return model.puzzles.key


def image_sections(program: Program, forms: Mapping[str, Form], packing: Packing) -> tuple[SectionSpec, ...]:
    """All sections in the order of the file: tables, vectors, constants, then each layer's, and the known
    answer.

    Args:
        forms: of every linear layer, by tensor name.
    """
    found = [
        _floats("table", f"table.{role}", (t.rows, t.dim), lambda model: model.tables, lambda contents: contents.tables, role)
        for role, t in program.tables.items()
        if not t.streamed
    ]
    for v in program.vectors:
        found.append(_floats("vector", v.name, (v.n,), lambda model: model.vectors, lambda into: into.vectors, v.name))
    if program.puzzle_table:  # the model's identity covers the table that belongs to it
        found.append(SectionSpec("vector", "puzzle_key", KEY_BYTES, _key, _set_key))
    for c in program.constants:
        shape = (c.rows, c.n)
        found.append(_floats("table", c.name, shape, lambda model: model.constants(), lambda into: into.constants, c.name))
    if program.symmetries:
        found.append(_grids(program, program.symmetries) if isinstance(program.symmetries, Grids) else _forms(program))
    for ref in program.linears:
        found.extend(_of_layer(section, ref.name) for section in forms[ref.name].sections(ref, packing))
    found.append(_known(program))
    return tuple(found)


def _known(program: Program) -> SectionSpec:
    """The known answer; zeros where it has not been computed."""
    size = section_bytes(program)

    def write(model: StoredModel) -> bytes:
        return model.known.pack(program) if model.known else bytes(size)

    def read(data: bytes, into: Contents) -> None:
        into.known = unpack(data, program)

    return SectionSpec("known", "known", size, write, read)


def _forms(program: Program) -> SectionSpec:
    """Other forms of a puzzle, one after the other: the number of each cell, of two bytes where there are more than 256, then
    the new name of each token."""
    seq, vocab = program.config.seq_len, program.config.vocab_size
    kind = np.dtype([("cells", "<u2" if seq > 256 else "u1", (seq,)), ("tokens", "u1", (vocab,))])

    def write(_: StoredModel) -> bytes:
        assert not isinstance(program.symmetries, Grids)
        records = np.zeros(len(program.symmetries), kind)
        for record, form in zip(records, program.symmetries, strict=True):
            record["cells"], record["tokens"] = form.cells, form.tokens
        return records.tobytes()

    def read(data: bytes, into: Contents) -> None:
        into.symmetries = tuple(Symmetry.of(r["cells"], r["tokens"], "image") for r in np.frombuffer(data, kind))

    return SectionSpec("forms", "forms", kind.itemsize * len(program.symmetries), write, read)


_ROW = np.dtype([("following", "<u4"), ("turn", "u1"), ("colours", "u1", (COLOURS,)), ("zero", "u1")])


def _grids(program: Program, grids: Grids) -> SectionSpec:
    """The rows of the puzzle table: of each the next one of its task, and what it makes of the task's grids."""

    def write(_: StoredModel) -> bytes:
        records = np.zeros(len(grids.rows), _ROW)
        records["following"] = grids.following
        records["turn"], records["colours"] = [row.turn for row in grids.rows], [row.colours for row in grids.rows]
        return records.tobytes()

    def read(data: bytes, into: Contents) -> None:
        records = np.frombuffer(data, _ROW)
        rows = tuple(Augmentation(int(r["turn"]), tuple(r["colours"].tolist())) for r in records)
        into.symmetries = Grids(grids.count, records["following"].astype(np.uint32), rows)

    return SectionSpec("grids", "forms", _ROW.itemsize * len(grids.rows), write, read)


def _of_layer(section: LayerSection, layer: str) -> SectionSpec:
    """One of a layer's sections."""

    def write(model: StoredModel) -> bytes:
        return section.pack(model.weights[layer])

    def read(data: bytes, into: Contents) -> None:
        into.fields.setdefault(layer, {})[section.field] = section.unpack(data)

    return SectionSpec(section.kind, f"{layer}:{section.kind}", section.bytes, write, read)
