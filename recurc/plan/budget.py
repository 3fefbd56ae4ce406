"""Exact size of the weights image and of a puzzle table file, from shapes alone: no weights are needed, no work is done.

`emit.image.build_image` writes exactly these sections in this order; a test holds the two together for every bundled
model, precision and kernel set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recurc.ir.program import Program
from recurc.plan.kernels import KernelSet
from recurc.quant.tableformat import HEADER, record_bytes
from recurc.storage.form import Forms, forms_of
from recurc.storage.image import IMAGE_ALIGN, IMAGE_ENTRY_BYTES, IMAGE_HEADER_BYTES, image_sections

# Kind of an image section in its file -> kind in plans and reports.
_BUDGET_KIND = {
    "table": "tables",
    "vector": "vectors",
    "weights": "weights",
    "scales": "scales",
    "zeros": "scales",
    "groups": "scales",
    "forms": "tables",
    "grids": "tables",
    "known": "vectors",
}


def image_up(n: int) -> int:
    """n rounded up to where the next section of an image may start."""
    return -(-n // IMAGE_ALIGN) * IMAGE_ALIGN


@dataclass(frozen=True)
class ImageSection:
    """One section as it will be written: `kind` as in the file, byte offset in the image, size without padding."""

    kind: str
    name: str
    offset: int
    bytes: int

    @property
    def budget_kind(self) -> str:
        """Its kind in plans: "weights", "scales" (zero points and groups' scales too), "tables" or "vectors"."""
        return _BUDGET_KIND[self.kind]


@dataclass(frozen=True)
class ImageBudget:
    """Sizes of a weights image in bytes. `header_bytes`: header and section table without what follows for alignment."""

    sections: tuple[ImageSection, ...]
    header_bytes: int
    total: int

    @property
    def by_kind(self) -> Mapping[str, int]:
        """Bytes by kind; "headers" is the header, the section table and all padding. They add up to `total`."""
        kinds = {"weights": 0, "scales": 0, "tables": 0, "vectors": 0}
        for section in self.sections:
            kinds[section.budget_kind] += section.bytes
        return {**kinds, "headers": self.total - sum(kinds.values())}


def image_budget(program: Program, forms: Forms, kernels: KernelSet) -> ImageBudget:
    """Sizes of the image of a program with its weights in these forms, packed for a kernel set."""
    contents = image_sections(program, forms_of(program, forms), kernels.weights)
    header = IMAGE_HEADER_BYTES + IMAGE_ENTRY_BYTES * len(contents)
    offset, sections = image_up(header), []
    for section in contents:
        sections.append(ImageSection(section.kind, section.name, offset, section.bytes))
        offset += image_up(section.bytes)
    return ImageBudget(tuple(sections), header, offset)


def table_file_bytes(rows: int, dim: int, storage: str) -> int:
    """Bytes of a streamed table's file: header, then per row [fp32 scale when int8][payload, padded to 4][crc32]."""
    return HEADER.size + rows * record_bytes(storage, dim)


def streamed_table_bytes(program: Program) -> int:
    """Bytes of the program's puzzle table file; 0 when its table is part of the image or it has none."""
    table = program.puzzle_table
    return table_file_bytes(table.rows, table.dim, table.storage) if table else 0


def parameter_count(program: Program) -> int:
    """Trained parameters as the original counts them: without H_init, L_init and the puzzle embedding."""
    tables = sum(t.rows * t.dim for role, t in program.tables.items() if role != "puzzles")
    return sum(ref.k * ref.n for ref in program.linears) + tables + 2  # the halting head's bias
