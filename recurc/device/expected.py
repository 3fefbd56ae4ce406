"""What a build says of its firmware, and the sizes that follow: they are never taken from the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from recurc.device import frames as f

# What may differ each time that one firmware answers.
CHANGING = frozenset({"status", "table_status", "reset_cause"})
FIXED = tuple(field.name for field in fields(f.Hello) if field.name not in CHANGING)
MOST_TENSOR = 1 << 28  # bytes; more than any device holds


@dataclass(frozen=True)
class Expected:
    """Fields of `frames.Hello` by name, as far as the build knows them."""

    fields: Mapping[str, object]

    def __post_init__(self) -> None:
        assert set(self.fields) <= set(FIXED), set(self.fields) - set(FIXED)

    def difference(self, told: f.Hello) -> str | None:
        """The first field that the device tells otherwise, with both values; None when there is none."""
        found = (_difference(told, name, wanted, "the build has") for name, wanted in self.fields.items())
        return next(filter(None, found), None)


def changed(before: f.Hello, now: f.Hello) -> str | None:
    """The first field in which two answers of one firmware differ though they must not; None when there is none."""
    return next(filter(None, (_difference(now, name, getattr(before, name), "it was") for name in FIXED)), None)


def _difference(told: f.Hello, name: str, wanted: object, words: str) -> str | None:
    value = getattr(told, name)
    return None if value == wanted else f"its {name} is {value}, {words} {wanted}"


class ModelConstants(Protocol):
    """Constants of a model, as rc.h has them (recurc.targets.host.ModelInfo)."""

    @property
    def seq_len(self) -> int: ...
    @property
    def vocab(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def puzzles(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def h_cycles(self) -> int: ...
    @property
    def l_cycles(self) -> int: ...
    @property
    def record_bytes(self) -> int: ...
    @property
    def forms(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def carry(self) -> int: ...
    @property
    def table_dtype(self) -> int: ...
    @property
    def name(self) -> bytes: ...


def model_fields(info: ModelConstants, table_key: bytes) -> dict[str, object]:
    """Fields of HELLO that belong to the model, from a host engine's constants (recurc.targets.host.HostEngine.info) and the
    key of its streamed table (zeros: it has none)."""
    numbers = ("seq_len", "vocab", "rows", "hidden", "puzzles", "steps", "h_cycles", "l_cycles", "record_bytes")
    return {
        **{name: int(getattr(info, name)) for name in numbers}, "carry": f.CARRIES[info.carry],
        "table_storage": f.TABLE_STORAGES[info.table_dtype], "table_key": table_key.hex(),
        "model": f.printable(info.name[: f.MAX_NAME]),
    }  # fmt: skip


def tensor_bytes(info: f.Hello, name: str) -> int | None:
    """Bytes of a tensor as the firmware stores it; None where the model has none of that name."""
    carry = info.rows * info.hidden * np.dtype(f.CARRY_TYPES[info.carry]).itemsize
    scales = {"H_scale": 4 * info.rows, "L_scale": 4 * info.rows, "columns": 4 * info.hidden}
    sizes = {"z_H": carry, "z_L": carry, "logits": 4 * info.seq_len * info.vocab, "q": 8, "tokens": info.seq_len,
             "input": info.seq_len, "answer": info.seq_len, **(scales if info.carry == "int8" else {})}  # fmt: skip
    return sizes.get(name)
