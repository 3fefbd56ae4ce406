"""QuantizedModel: a Program with its weights in stored form, ready for the image, the NumPy twin and the planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from recurc.arguments import argument
from recurc.errors import DoesNotFitError, InputError
from recurc.ir.lower import lower
from recurc.ir.lowering import Knobs, Lowering
from recurc.ir.program import Program
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.ops import part
from recurc.quant.layer_precisions import other_layers
from recurc.quant.weights import Precision
from recurc.storage.form import Forms, Weights
from recurc.storage.known import KnownAnswer

if TYPE_CHECKING:
    from recurc.quant.calibrate import Calibration
    from recurc.quant.tables import PuzzleTable


# One puzzle's row is all that a run needs; tables beyond this do not belong in an image.
MAX_TABLE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class OpConstants:
    """An op's part `constants`: values(op, configuration) -> name -> float32 [rows, n], for what `Op.constants` names."""

    values: Callable[[Any, ReasonerConfig], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class QuantizedModel:
    """Stored form of a model.

    precision: of all layers but those in `layers` (linear name -> Precision). weights: linear name -> Weights; tables:
    role -> float32 [rows, dim], already scaled; vectors: name -> float32.
    method: calibration method that was used ("none" for fp32 and int8).
    """

    name: str
    program: Program
    precision: Precision
    method: str
    weights: Mapping[str, Weights]
    tables: Mapping[str, np.ndarray]
    vectors: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = field(default=())
    puzzles: PuzzleTable | None = None  # the streamed table, which is no part of the image
    layers: Mapping[str, Precision] = field(default_factory=dict)
    known: KnownAnswer | None = None  # by which its programs test themselves

    def __repr__(self) -> str:
        return f"QuantizedModel({self.name}, {self.label})"

    def puzzle_rows(self, ids: np.ndarray) -> np.ndarray:
        """Puzzle embeddings as the device adds them: ids [N] -> float32 [N, puzzle_emb_ndim]."""
        return self.puzzles.values(ids) if self.puzzles else self.tables["puzzles"][ids]

    @property
    def config(self) -> ReasonerConfig:
        return self.program.config

    @property
    def puzzle_storage(self) -> str:
        """Where puzzle embeddings are: "image", "fp32" or "int8" (streamed), or "none"."""
        table = self.program.tables.get("puzzles")
        return table.storage if table else "none"

    def precision_of(self, name: str) -> Precision:
        """Precision of a linear layer."""
        return self.layers.get(name, self.precision)

    @property
    def forms(self) -> Forms:
        """Stored forms for planning: one when all layers share it, else that of each."""
        names = (ref.name for ref in self.program.linears)
        return {name: self.precision_of(name).form for name in names} if self.layers else self.precision.form

    @property
    def lossy(self) -> tuple[str, ...]:
        """Names of precisions in use that exist for comparison only."""
        used = {p.name: p for p in (self.precision, *self.layers.values())}
        return tuple(name for name, p in used.items() if p.lossy)

    @property
    def stored_as(self) -> str:
        """Precision in a few words: "int4", or "int4, 2 layers int8"."""
        others: dict[str, int] = {}
        for precision in self.layers.values():
            others[precision.name] = others.get(precision.name, 0) + 1
        return ", ".join((self.precision.name, *(f"{n} layer{'s' * (n > 1)} {name}" for name, n in others.items())))

    @property
    def label(self) -> str:
        """Precision and calibration for people."""
        return self.stored_as + (f" ({self.method})" if self.method != "none" else "")

    def constants(self) -> dict[str, np.ndarray]:
        """Constants of ops, name -> float32 [rows, n] in the image's order.

        Raises:
            OpError: an op names constants and has no part with their values.
        """
        found: dict[str, np.ndarray] = {}
        for op in self.program.ops:
            wanted = {constant.name: (constant.rows, constant.n) for constant in op.constants(self.config)}
            if wanted.keys() <= found.keys():
                continue
            values = part(op, "constants", OpConstants).values(op, self.config)
            if {name: value.shape for name, value in values.items()} != wanted:
                raise ValueError(f"the op {op.kind!r} names the constants {wanted} and has others")
            found |= values
        return {constant.name: found[constant.name] for constant in self.program.constants}


def scaled_tables(reasoner: Reasoner, program: Program) -> dict[str, np.ndarray]:
    """Lookup tables of the image, each times its factor.

    Raises:
        DoesNotFitError: the puzzle table is far larger than any image.
    """
    found = {}
    for role, table in program.tables.items():
        if table.streamed:
            continue
        size = table.rows * table.dim * 4
        if role == "puzzles" and size > MAX_TABLE_BYTES:
            raise DoesNotFitError(
                f"the puzzle embedding table takes {size:,} bytes",
                where=table.tensor,
                why=f"tables are part of the image, and one above {MAX_TABLE_BYTES:,} bytes fits no target",
                next=f"stream it: {argument('puzzle_table', 'fp32')} or int8",
            )
        found[role] = (np.asarray(reasoner.tensors[table.tensor], dtype=np.float64) * table.factor).astype(np.float32)
    return found


def quantize_model(
    reasoner: Reasoner,
    precision: Precision,
    calibration: Calibration | None = None,
    *,
    layer_precisions: Mapping[str, str] | None = None,
    method: str | None = None,
    lowering: Lowering | None = None,
    name: str = "model",
    **knobs: Unpack[Knobs],
) -> QuantizedModel:
    """Quantize every linear layer of a model (heads too; embeddings, the states' starts and biases stay fp32).

    Args:
        calibration: second moments of the layers' inputs; None means no data.
        layer_precisions: layers that are stored in another precision, by name or pattern (see `resolve_layers`);
            heads that none names are stored as `Precision.heads` says.
        method: one of the precision's calibration methods; a precision that has no such method takes its best one.
        lowering, knobs: as `lower` takes them.

    Raises:
        UsageError: no such layer or precision, no such lowering. InputError: a precision gives weights that its form cannot
            hold.
    """
    program = lower(reasoner.config, lowering, **knobs)
    layers = other_layers(program, precision, layer_precisions)
    moments = calibration.moments if calibration else {}

    def stored(name: str) -> Weights:
        scheme, w = layers.get(name, precision), reasoner.tensors[name]
        found = scheme.quantize(w, moments.get(name), scheme.method(method, bool(moments)))
        if why := scheme.misfit(found, (w.shape[0], w.shape[1])):
            raise InputError(
                f"the precision {scheme.name!r} gives weights that it cannot store", where=name, why=why,
                next="Correct its function `quantize`, or choose another precision",
            )  # fmt: skip
        return found

    weights = {name: stored(name) for name in (ref.name for ref in program.linears)}
    vectors = {vector.name: np.asarray(reasoner.tensors[vector.tensor], dtype=np.float32) for vector in program.vectors}
    return QuantizedModel(
        name=name,
        program=program,
        precision=precision,
        method=precision.method(method, bool(moments)),
        weights=weights,
        tables=scaled_tables(reasoner, program),
        vectors=vectors,
        puzzles=_streamed(reasoner, program),
        layers=layers,
    )


def _streamed(reasoner: Reasoner, program: Program) -> PuzzleTable | None:
    table = program.puzzle_table
    if table is None:
        return None
    from recurc.quant.tables import PuzzleTable, table_key

    key = table_key(reasoner.sha256, table.storage, table.factor)
    return PuzzleTable(reasoner.tensors[table.tensor], table.factor, table.storage, key)
