"""What a stored form of weights is: the numbers that stand for a layer, and the sections of the image that hold them.

A form is a value: two layers of equal forms share kernels and generated code. Packings say how its numbers lie in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.ir.program import LinearRef, Program
from recurc.types import F32Array, U8Array

if TYPE_CHECKING:
    from recurc.storage.packings.packing import Codec, Packing


@dataclass(frozen=True)
class Dequantization:
    """Weights as integers and what makes floats of them, as exchange formats want it.

    w[n, k] = scale[n, k // block] * (q[n, k] - zero[n]). q [N, K] integers that fit `dtype` ("int8", "int4" or "uint4"); scale
    float32 [N], or [N, blocks] where `block` inputs share one; zero [N], None for 0.
    """

    q: np.ndarray
    dtype: str
    scale: np.ndarray
    zero: np.ndarray | None = None
    block: int = 0


def weights_name(kind: type) -> str:
    """What a class of weights is called in files: with its module, as two packages may have a class of one name."""
    return f"{kind.__module__}.{kind.__qualname__}"


class Weights(ABC):
    """The weights of one linear layer in a stored form, W [N, K]. Subclasses are frozen dataclasses of arrays.

    Those of integer forms are multiplied as integers, y[n] = scale[n] * sum_k x[k] * (integers[n, k] - zero[n]):
    integers [N, K], scale float32 [N], zero uint8 [N].
    """

    kinds: ClassVar[dict[str, type[Weights]]] = {}  # all of them by name, for what keeps weights in files
    if TYPE_CHECKING:  # fields of some, worked out by others; a property here would be taken for a field's default

        @property
        def integers(self) -> np.ndarray: ...
        @property
        def scale(self) -> F32Array: ...
        @property
        def zero(self) -> U8Array: ...

    def __init_subclass__(cls) -> None:
        Weights.kinds[weights_name(cls)] = cls

    @property
    @abstractmethod
    def form(self) -> Form:
        """Their form."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(N, K): outputs, inputs."""

    @property
    def stored_bytes(self) -> int:
        """Bytes in flash."""
        return self.form.bytes_of(*self.shape)

    @abstractmethod
    def dequantized(self) -> F32Array:
        """float32 [N, K]: what they stand for."""

    def dequantization(self) -> Dequantization:
        """The same for exchange formats; of integer forms. Bytes with a sign, unless a form has a smaller way.

        Raises:
            UsageError: the integers do not fit a byte.
        """
        q = self.integers.astype(np.int32) - self.zero[:, None]
        if abs(q).max(initial=0) > 128 or q.max(initial=0) > 127:
            raise UsageError(
                f"weights of the form {self.form} cannot be exported", where=argument("precision"),
                why="their integers take more than a byte, and the form has no way of its own", next="Choose another precision",
            )  # fmt: skip
        return Dequantization(q.astype(np.int16), "int8", self.scale)


Pack = Callable[[Weights], bytes]
Unpack = Callable[[bytes], np.ndarray]


@dataclass(frozen=True)
class LayerSection:
    """One section of the image that a layer takes.

    kind: as in the file. field: of `Form.weights` that it holds. bytes: of the whole layer, all its parts. pack: weights ->
    the bytes. unpack: the bytes -> the field.
    """

    kind: str
    field: str
    bytes: int
    pack: Pack
    unpack: Unpack


class Form(ABC):
    """One stored form. Frozen dataclasses: equal forms are the same to the compiler.

    `suffix` names it in generated C. `integer`: whether inputs are quantized and products are integers.
    `grouped`: whether inputs of a channel share a scale in groups.
    """

    if TYPE_CHECKING:  # some forms work it out

        @property
        def suffix(self) -> str: ...

    integer: bool = True
    grouped: bool = False

    @property
    @abstractmethod
    def bits(self) -> float:
        """Bits a weight, what belongs to a group of weights included; for order and for people."""

    @property
    def kernel_form(self) -> Form:
        """The form whose kernels compute this one."""
        return self

    @property
    def wide_form(self) -> Form | None:
        """The form whose tiles this one's are widened to before they are multiplied, in packings that store it in fewer bytes;
        None where tiles are multiplied as they are."""
        return None

    @property
    def widen(self) -> str:
        """The C function that widens a tile (runtime_c/kernels/portable/rc_unpack_*.c), where there is a `wide_form`."""
        return ""

    @abstractmethod
    def bytes_of(self, n: int, k: int, pad: int = 4) -> int:
        """Bytes of n channels of k weights in rows padded to `pad` bytes, with scales and what else belongs to them."""

    @abstractmethod
    def beside(self, k: int, packing: Packing) -> int:
        """Bytes that a kernel reads beside the weights for each channel of k: scales, zero points."""

    @abstractmethod
    def codec(self, packing: Packing) -> Codec:
        """How these weights lie in a packing."""

    @abstractmethod
    def sections(self, ref: LinearRef, packing: Packing) -> tuple[LayerSection, ...]:
        """The sections of a layer in the order of the file; "weights" is the first."""

    @abstractmethod
    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        """The weights from the fields of their sections."""

    def misfit(self, weights: Weights) -> str:
        """Why weights of this form cannot be stored in it, in a few words; "" where they can. What is not told here would be
        stored wrongly without a word."""
        return ""


Forms = Form | Mapping[str, Form]  # one for all layers, or that of each by its tensor's name


def forms_of(program: Program, forms: Forms) -> dict[str, Form]:
    """The form of every linear layer of a program, by tensor name."""
    return {ref.name: forms if isinstance(forms, Form) else forms[ref.name] for ref in program.linears}


def in_parts(parts: int, pack: Callable[[np.ndarray], bytes], values: np.ndarray) -> bytes:
    """A layer's values [N, ...], part by part."""
    return b"".join(pack(part) for part in np.split(values, parts))


def of_parts(parts: int, unpack: Callable[[bytes], np.ndarray], data: bytes) -> np.ndarray:
    """The inverse of `in_parts`."""
    size = len(data) // parts
    return np.concatenate([unpack(data[i * size : (i + 1) * size]) for i in range(parts)])


def floats_section(kind: str, field: str, n: int, values: Callable[[Weights], np.ndarray]) -> LayerSection:
    """A section of n binary32 numbers."""
    return LayerSection(kind, field, 4 * n, lambda w: values(w).astype("<f4").tobytes(),
                        lambda data: np.frombuffer(data, "<f4").astype(np.float32))  # fmt: skip


def unpack_layer(form: Form, ref: LinearRef, packing: Packing, pieces: Sequence[bytes]) -> Weights:
    """The weights of one layer from its sections' bytes, in the order of the file."""
    sections = form.sections(ref, packing)
    return form.weights({s.field: s.unpack(data) for s, data in zip(sections, pieces, strict=True)})
