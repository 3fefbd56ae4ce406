"""Exact size of the weights image and of a puzzle table file, from shapes alone: no weights are needed, no work is done.

`codegen.image.build_image` writes exactly these sections in this order; a test holds the two together for every bundled
model, precision and kernel set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from recurc.ir.program import Attention, Program
from recurc.plan.kernels import FP32, Bits, KernelSet, widths
from recurc.quant.tableformat import HEADER, KEY_BYTES, record_bytes

IMAGE_ALIGN = 64
IMAGE_HEADER_BYTES = 128
IMAGE_ENTRY_BYTES = 32  # one entry of the section table

# Kind of an image section in its file -> kind in plans and reports.
_BUDGET_KIND = {"table": "tables", "vector": "vectors", "weights": "weights", "scales": "scales", "zeros": "scales",
                "groups": "scales"}


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


def _contents(program: Program, bits: Bits, kernels: KernelSet) -> list[tuple[str, str, int]]:
    """(kind, name, bytes) of each section in the order of the file."""
    c = program.config
    found = [("table", f"table.{role}", 4 * t.rows * t.dim) for role, t in program.tables.items() if not t.streamed]
    found += [("vector", name, 4 * n) for name, n in (("H_init", c.hidden_size), ("L_init", c.hidden_size), ("q_bias", 2))]
    if program.puzzle_table:
        found.append(("vector", "puzzle_key", KEY_BYTES))
    ops = [op for block in program.blocks for op in block.ops]
    if any(isinstance(op, Attention) and op.rope for op in ops):
        found += [("table", name, 4 * c.rows * (c.head_dim // 2)) for name in ("rope.cos", "rope.sin")]
    width = widths(program, bits)
    for ref in program.linears:
        found.append(("weights", f"{ref.name}:weights", kernels.part_bytes(ref, width[ref.name]) * ref.parts))
        if width[ref.name] != FP32:
            found.append(("scales", f"{ref.name}:scales", 4 * ref.n))
        if kernels.has_zero(width[ref.name]):
            found.append(("zeros", f"{ref.name}:zeros", ref.n))
        if kernels.has_groups(width[ref.name]):
            found.append(("groups", f"{ref.name}:groups", kernels.group_bytes(ref)))
    return found


def image_budget(program: Program, bits: Bits, kernels: KernelSet) -> ImageBudget:
    """Sizes of the image of a program at `bits` bits a weight, packed for a kernel set."""
    contents = _contents(program, bits, kernels)
    header = IMAGE_HEADER_BYTES + IMAGE_ENTRY_BYTES * len(contents)
    offset, sections = image_up(header), []
    for kind, name, size in contents:
        sections.append(ImageSection(kind, name, offset, size))
        offset += image_up(size)
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
