"""Precisions from outside the package: registered, they are compiled, planned, stored, read back and verified like the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from recurc.emit.image import build_image
from recurc.errors import UsageError
from recurc.ir.program import LinearRef
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.plan.planner import make_plan
from recurc.quant import asymmetric
from recurc.quant.model import quantize_model
from recurc.quant.weights import Precision, precision_named, precisions, register, unregister
from recurc.storage import FP32, GROUPED, INT3
from recurc.storage.channel import PerChannel
from recurc.storage.form import Form, LayerSection, Weights, forms_of, unpack_layer
from recurc.storage.image import image_sections
from recurc.storage.packings.packing import Codec, Packing
from recurc.targets.boards import load_board
from tests.codegen.bits import differences
from tests.codegen.builder import HERE_SETS, compile_model
from tests.randmodels import random_reasoner
from tests.tools import need


@dataclass(frozen=True)
class Ternary(Form):
    """w = scale * t, t in -1, 0, 1: levels 0..2 around 1, in the operands of three bits."""

    suffix = "s3"

    @property
    def bits(self) -> float:
        return 1.6

    @property
    def kernel_form(self) -> Form:
        return INT3

    def bytes_of(self, n: int, k: int, pad: int = 4) -> int:
        return INT3.bytes_of(n, k, pad)

    def beside(self, k: int, packing: Packing) -> int:
        return INT3.beside(k, packing)

    def codec(self, packing: Packing) -> Codec:
        return INT3.codec(packing)

    def sections(self, ref: LinearRef, packing: Packing) -> tuple[LayerSection, ...]:
        return INT3.sections(ref, packing)

    def weights(self, fields: Mapping[str, np.ndarray]) -> Weights:
        return TernaryWeights(fields["q"], fields["scale"])


@dataclass(frozen=True)
class TernaryWeights(Weights):
    q: np.ndarray
    scale: np.ndarray

    @property
    def form(self) -> Form:
        return Ternary()

    @property
    def shape(self) -> tuple[int, int]:
        return self.q.shape[0], self.q.shape[1]

    @property
    def integers(self) -> np.ndarray:
        return self.q

    @property
    def zero(self) -> np.ndarray:
        return np.ones(len(self.q), np.uint8)

    def dequantized(self) -> np.ndarray:
        return (self.q - np.int16(1)).astype(np.float32) * self.scale[:, None]


def ternary(w: np.ndarray, moment: np.ndarray | None, method: str) -> TernaryWeights:
    scale = np.maximum(np.abs(w).mean(axis=1), np.float32(1e-9)).astype(np.float32)
    return TernaryWeights(np.clip(np.rint(w / scale[:, None]), -1, 1).astype(np.int16) + np.int16(1), scale)


def two_bits(w: np.ndarray, moment: np.ndarray | None, method: str) -> Weights:
    return asymmetric.quantize(w, moment, method, 2)


OUTSIDE = {"ternary": Precision("ternary", Ternary(), ternary, advised=False),
           "int2": Precision("int2", PerChannel(2), two_bits, methods=asymmetric.METHODS, advised=False)}  # fmt: skip


@pytest.fixture(params=list(OUTSIDE))
def outside(request):
    precision = OUTSIDE[request.param]
    register(precision)
    yield precision
    unregister(precision.name)


def test_it_is_known_by_its_name_and_only_once(outside):
    assert precision_named(outside.name) is outside and list(precisions())[-1] == outside.name  # the fewest bits
    with pytest.raises(ValueError, match="already"):
        register(Precision("int4", PerChannel(2), two_bits))


@pytest.mark.parametrize("shape", [{}, {"mixer": "mlp_t", "seq": 13}, {"pos": "learned", "seq": 5}], ids=str)
def test_the_engine_equals_the_twin(outside, shape, tmp_path):
    need("host")
    reasoner = random_reasoner(**shape)
    for layers in ({}, {"*.down_proj.weight": "int4-g32", "lm_head.weight": "fp32"}):
        model = quantize_model(reasoner, outside, layer_precisions=layers)
        folder = tmp_path / str(len(layers))
        engines = {name: compile_model(folder / name, model, name, shared=tmp_path) for name in HERE_SETS}
        assert differences(model, reasoner, engines) == []


@pytest.mark.parametrize("kernels", KERNEL_SETS, ids=lambda k: k.name)
def test_every_packing_gives_back_what_it_stores(outside, kernels):
    model = quantize_model(random_reasoner(hidden=40, ndim=40), outside)
    image = build_image(model, kernels)
    assert len(image.sections) == len(image_sections(model.program, forms_of(model.program, model.forms), kernels.weights))
    for ref in model.program.linears:
        pieces = [image.data[s.offset : s.offset + s.bytes] for s in image.sections if s.name.startswith(f"{ref.name}:")]
        again, w = unpack_layer(outside.form, ref, kernels.weights, pieces), model.weights[ref.name]
        assert type(again) is type(w) and np.array_equal(again.dequantized(), w.dequantized())
        assert w.stored_bytes == outside.form.bytes_of(ref.n, ref.k)


def test_it_is_planned_and_never_advised(outside):
    program = quantize_model(random_reasoner(), outside).program
    plans = {p.name: make_plan(program, p.form, load_board("stm32h7")) for p in (outside, precision_named("int3"))}
    assert plans[outside.name].fits and plans[outside.name].image_bytes == plans["int3"].image_bytes


@dataclass(frozen=True)
class Unknown(PerChannel):
    """A form without kernels."""

    @property
    def kernel_form(self) -> Unknown:  # type: ignore[override]
        return self


def test_a_form_without_kernels_is_an_error_that_names_it():
    kernels = kernel_set("dsp")
    with pytest.raises(UsageError, match="do not compute this precision") as e:
        kernels.of(Unknown(5))
    assert "Unknown(width=5)" in e.value.paragraph() and "PerChannel(width=4)" in e.value.paragraph()
    assert kernels.of(FP32) is None and kernels.of(GROUPED) is not None
