"""What every op is: a frozen value with linear layers, a kind, and sizes that follow from the carry's shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

# Metadata of an op's field that images from before it do not know: its default is what they mean.
LATER = {"later": True}


@dataclass(frozen=True)
class LinearRef:
    """A linear layer without bias: weights [n, k] by tensor name; y[n] = W x[k].

    `parts` layers of equal height may lie in one tensor: gate and up (2); q, k and v of each head (3 a head).
    """

    name: str
    k: int
    n: int
    parts: int = 1

    @property
    def part_n(self) -> int:
        """Output channels of one part."""
        return self.n // self.parts


@dataclass(frozen=True)
class RmsNorm:
    """RMS normalisation without weights: x / sqrt(mean(x^2) + eps), of each row that an op has added its result to."""

    eps: float


@dataclass(frozen=True)
class Constant:
    """A constant of an op in the image, float32 [rows, n]. Ops that name the same one share it."""

    name: str
    rows: int
    n: int


class Shape(Protocol):
    """The shape of the carry, [rows, hidden_size]; a model's configuration has it."""

    @property
    def rows(self) -> int: ...

    @property
    def hidden_size(self) -> int: ...


@dataclass(frozen=True)
class Op(ABC):
    """One op of a block: it changes the carry tensor z [S, D] in place.

    kind: name of the op, a C identifier; its C function, its scratch and its place in reports are named by it.
    by_channel: whether it works on channels, rows of z^T [D, S], instead of on tokens. An int8 carry then has a scale for each
    channel after it, until the next op.
    mixes: whether what it makes of a token depends on other tokens; for people.
    """

    kind: ClassVar[str]
    by_channel: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    @property
    @abstractmethod
    def linears(self) -> tuple[LinearRef, ...]:
        """Its linear layers, in the order in which its C function takes them."""

    def rows(self, shape: Shape) -> int:
        """Rows that it works on in all."""
        return shape.hidden_size if self.by_channel else shape.rows

    @property
    def told(self) -> str:
        """What it is, for people, in a few words."""
        layers = ", ".join(f"{ref.k} to {ref.n}" for ref in self.linears)
        return self.kind.replace("_", " ") + (f" ({layers})" if layers else "")

    def macs(self, shape: Shape) -> int:
        """Multiply-adds on the whole carry."""
        return self.rows(shape) * sum(ref.k * ref.n for ref in self.linears)

    def constants(self, shape: Shape) -> tuple[Constant, ...]:
        """Constants of the image that it reads; its part `constants` has their values."""
        return ()

    def signature(self, forms: Mapping[str, Hashable]) -> Hashable:
        """What ops must share to share a C function: all but the names of their layers, with the layers' stored forms."""
        values = (getattr(self, field.name) for field in fields(self))
        return (self.kind, *((v.k, v.n, v.parts, forms[v.name]) if isinstance(v, LinearRef) else v for v in values))
