"""A build's quantized model, read back from the weights image of its host engine: what is stored, not what was meant."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from recurc.codegen.image import check_image
from recurc.codegen.manifest import Build
from recurc.errors import InputError
from recurc.ir.lower import lower
from recurc.ir.program import LinearRef
from recurc.plan.kernels import kernel_set
from recurc.quant.model import QuantizedModel
from recurc.quant.weights import FloatWeights, GroupWeights, IntWeights, Weights, precision_named
from recurc.reading import Unreadable, not_read, read_regular

IMAGE_LIMIT = 1 << 30  # bytes of an image: no board has more memory
KEY_BYTES = 16


class _Sections:
    """The sections of an image, one after the other."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where = data, where
        self._left = list(check_image(data, where))[::-1]

    def _foreign(self, why: str) -> InputError:
        return InputError("the weights image does not belong to this build", where=self._where, why=why, next="build it again")

    def next(self, size: int) -> bytes:
        """The next section, which must have that many bytes."""
        if not self._left:
            raise self._foreign("it has fewer sections than the model")
        _, offset, found = self._left.pop()
        if found != size:
            raise self._foreign(f"a section has {found} bytes, the model's {size}")
        return self._data[offset:offset + size]

    def floats(self, *shape: int) -> np.ndarray:
        return np.frombuffer(self.next(4 * math.prod(shape)), dtype="<f4").astype(np.float32).reshape(shape)

    def same(self, name: str, expected: np.ndarray) -> None:
        """That the next section holds exactly these floats."""
        if not np.array_equal(self.floats(*expected.shape), expected):
            raise self._foreign(f"its {name} is not the model's")

    def finish(self) -> None:
        if self._left:
            raise self._foreign(f"{len(self._left)} sections are not the model's")


def _parts(data: bytes, parts: int) -> list[bytes]:
    part = len(data) // parts
    return [data[i * part:(i + 1) * part] for i in range(parts)]


def _layer(sections: _Sections, ref: LinearRef, bits: float) -> Weights:
    kernels = kernel_set("host")
    packing = kernels.weights
    parts = _parts(sections.next(kernels.part_bytes(ref, bits) * ref.parts), ref.parts)
    if bits == 32:
        return FloatWeights(np.concatenate([packing.unpack_f32(p, ref.part_n, ref.k) for p in parts]))
    if kernels.has_groups(bits):
        q, scale = [packing.unpack_grouped(p, ref.part_n, ref.k) for p in parts], sections.floats(ref.n)
        m = [packing.unpack_groups(p, ref.part_n, ref.k) for p in _parts(sections.next(kernels.group_bytes(ref)), ref.parts)]
        return GroupWeights(np.concatenate(q), scale, np.concatenate(m))
    q = np.concatenate([packing.unpack_int(p, ref.part_n, ref.k, bits) for p in parts])
    scale = sections.floats(ref.n)
    zero = np.frombuffer(sections.next(ref.n), dtype=np.uint8)
    return IntWeights(bits, q, scale, zero if bits != 8 else np.zeros(ref.n, np.uint8))


def read_model(build: Build) -> QuantizedModel:
    """The model of a build, from its host engine's image.

    A streamed puzzle table is no part of the image: `Build.open_table` has its rows.

    Raises:
        InputError: the image is damaged or not this build's.
    """
    d, c = build.details, build.config
    entry = d.get("table")
    program = lower(c, steps=build.steps, h_cycles=build.h_cycles, l_cycles=build.l_cycles, carry=d["carry"],
                    puzzle_table=entry["storage"] if entry else "image")
    precision = precision_named(build.precision)
    try:
        data = read_regular(build.host_image, IMAGE_LIMIT)
    except Unreadable as error:
        raise not_read(error, build.host_image, "the weights image", "the weights image is not usable",
                       "Build it again") from None
    sections = _Sections(data, str(build.host_image))
    tables = {role: sections.floats(t.rows, t.dim) for role, t in program.tables.items() if not t.streamed}
    sizes = {"H_init": c.hidden_size, "L_init": c.hidden_size, "q_bias": 2}
    vectors = {name: sections.floats(size) for name, size in sizes.items()}
    if program.puzzle_table:
        sections.next(KEY_BYTES)  # the table's key
    layers = {name: precision_named(other) for name, other in d.get("layers", {}).items()}
    model = QuantizedModel(build.name, program, precision, d["method"], {}, tables, vectors, layers=layers)
    for name, expected in model.rope_vectors().items():
        sections.same(name, expected)
    weights = {ref.name: _layer(sections, ref, model.widths[ref.name]) for ref in program.linears}
    sections.finish()
    return replace(model, weights=weights)
