"""Precisions from outside the package: registered, they are compiled, planned, stored, read back and verified like the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from recurc.api import Model as LoadedModel
from recurc.cli.common.options import Model
from recurc.cli.common.output import Console
from recurc.cli.common.project import read_project
from recurc.cli.common.quantizing import Learning, quantize_with_progress
from recurc.cli.main import main
from recurc.emit.image import build_image
from recurc.emit.readback import read_model
from recurc.errors import InputError, UsageError
from recurc.exchange.onnx_export import export_onnx
from recurc.exchange.onnx_loop import OnnxLoop
from recurc.ir.lowering import Lowering
from recurc.ir.program import LinearRef
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.plan.planner import make_plan
from recurc.quant import asymmetric
from recurc.quant.model import quantize_model
from recurc.quant.scheme_int2_g32 import FORM as GROUPED2
from recurc.quant.scheme_int2_g32 import FourLevelGroupWeights
from recurc.quant.twin import Twin
from recurc.quant.weights import Precision, calibrations, precision_named, precisions, register, unregister, weight_bytes
from recurc.storage import FP32, GROUPED, INT2, INT3, INT4, INT8
from recurc.storage.channel import IntWeights, PerChannel
from recurc.storage.form import Form, LayerSection, Weights, forms_of, unpack_layer
from recurc.storage.grouped import GroupWeights
from recurc.storage.image import image_sections
from recurc.storage.levels import LevelWeights
from recurc.storage.packings.packing import Codec, Packing
from recurc.study import weight_arrays
from recurc.targets.boards import load_board
from tests.codegen.bits import differences
from tests.codegen.builder import HERE_SETS, compile_model
from tests.randmodels import random_inputs, random_reasoner
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


def six_bits(w: np.ndarray, moment: np.ndarray | None, method: str) -> Weights:
    """With zero points, which the kernels of 8 bits do not know."""
    return asymmetric.quantize(w, moment, method, 6)


def five_bits(w: np.ndarray, moment: np.ndarray | None, method: str) -> Weights:
    """With a sign."""
    scale = np.maximum(np.abs(w).max(axis=1) / 15, np.float32(1e-9)).astype(np.float32)
    return IntWeights(5, np.rint(w / scale[:, None]).astype(np.int16), scale, np.zeros(len(w), np.uint8))


OUTSIDE = {"ternary": Precision("ternary", Ternary(), ternary, advised=False),
           "two-bits": Precision("two-bits", PerChannel(2), two_bits, methods=asymmetric.METHODS, advised=False),
           "int6": Precision("int6", PerChannel(6), six_bits, methods=asymmetric.METHODS, advised=False),
           "int5": Precision("int5", PerChannel(5), five_bits, advised=False)}  # fmt: skip
AS = {"ternary": "int3", "two-bits": "int3", "int6": "int8", "int5": "int8"}  # whose kernels compute it


@pytest.fixture(params=list(OUTSIDE))
def outside(request):
    precision = OUTSIDE[request.param]
    register(precision)
    yield precision
    unregister(precision.name)


def test_it_is_known_by_its_name_and_only_once(outside):
    assert precision_named(outside.name) is outside
    assert (bits := [p.bits for p in precisions().values()]) == sorted(bits, reverse=True)
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
    like = precision_named(AS[outside.name])
    plans = [make_plan(program, p.form, load_board("stm32h7")) for p in (outside, like)]
    assert plans[0].fits and plans[0].image_bytes == plans[1].image_bytes
    assert weight_bytes([(40, 64)])[outside.name] == weight_bytes([(40, 64)])[like.name]


def test_it_is_exported(outside, tmp_path):
    pytest.importorskip("onnxruntime")
    reasoner = random_reasoner()
    model, (inputs, ids) = quantize_model(reasoner, outside), random_inputs(reasoner, 1)
    export_onnx(model, tmp_path / "onnx")
    loop, twin = OnnxLoop(tmp_path / "onnx"), Twin(model)
    loop.begin(inputs[0], int(ids[0]))
    twin.begin(inputs, ids)
    loop.step()
    twin.step()
    assert np.abs(loop.state["z_H"] - twin.z_H[0]).max() < 0.05


def test_its_calibration_methods_are_options_and_keys(tmp_path, capsys):
    """Commands knew three methods by name, and which of them need puzzles."""
    asked = []

    def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> Weights:
        asked.append(method)
        return five_bits(w, moment, method)

    mine = Precision("mine", PerChannel(5), quantize, methods=("by-heart", "by-ear"), no_data=("by-ear",), need_data=())
    path = tmp_path / "recurc.toml"
    path.write_text('[quantize]\ncalibration = "by-ear"\n')
    option = ["eval", "sudoku4-tiny", "--precision", "mine", "--limit", "1", "--calibration-puzzles", "8", "--calibration"]
    register(mine)
    try:
        assert calibrations() == ("by-heart", "by-ear", "gptq", "mse", "min-max")
        assert main([*option, "by-ear"]) == 0, capsys.readouterr().err
        assert set(asked) == {"by-ear"} and read_project(path).calibration == "by-ear"
        assert mine.learns(None) and mine.learns("gptq") and not mine.learns("by-ear")
        model, nothing = LoadedModel(random_reasoner(layers=1), "here"), Model("here", tmp_path)  # without training puzzles
        with pytest.raises(InputError, match="Without training puzzles pass --calibration by-ear"):
            quantize_with_progress(Console(), model, nothing, ("mine", {}), Learning(), Lowering())
        assert quantize_with_progress(Console(), model, nothing, ("mine", {}), Learning("by-ear"), Lowering())
    finally:
        unregister("mine")
    option[3] = "int4"
    assert main([*option, "by-air"]) == 2 and "unknown calibration method 'by-air'" in capsys.readouterr().err
    with pytest.raises(InputError, match="not one of gptq, mse, min-max"):
        read_project(path)


def test_weights_of_two_packages_with_one_name_are_kept_apart():
    """The cache of a study names the class of what it keeps."""
    reasoner = random_reasoner(layers=1)
    other = type("TernaryWeights", (IntWeights,), {"__module__": "another_package", "__qualname__": "TernaryWeights"})
    assert issubclass(other, Weights)
    model = quantize_model(reasoner, OUTSIDE["ternary"])
    again = weight_arrays.of_model(reasoner, weight_arrays.to_arrays(model.weights))
    assert {type(w) for w in again.values()} == {TernaryWeights}


def test_a_build_whose_precision_is_not_installed_says_so():
    config = random_reasoner(layers=1).config
    build = SimpleNamespace(path="there", config=config, lowering=Lowering(), precision="nobodys", details={})
    with pytest.raises(InputError, match="the build's precision 'nobodys' is not installed here .there.*Install the package"):
        read_model(build)


def test_bits_that_there_are_not_are_refused():
    for bits in (0, 9):
        with pytest.raises(ValueError, match=f"no form with {bits} bits"):
            PerChannel(bits)


def misfits() -> dict[str, tuple[Form, object, str]]:
    """What a function `quantize` may give by mistake for weights [8, 32], in a form, and what is said of it."""
    one, zero = np.ones(8, np.float32), np.zeros(8, np.uint8)
    q = np.zeros((8, 32), np.int16)
    groups = np.ones((8, 1), np.uint8)
    return {
        "no weights": (INT8, q, "they are ndarray"),
        "another form": (INT8, IntWeights(4, q, one, zero), r"form PerChannel\(width=4\)"),
        "another shape": (INT8, IntWeights(8, q[:4], one[:4], zero[:4]), r"shape is \(4, 32\)"),
        "a scale for the tensor": (INT8, IntWeights(8, q, one[:1], zero), "one finite scale"),
        "no finite scale": (INT8, IntWeights(8, q, one * np.inf, zero), "one finite scale"),
        "int8 beyond": (INT8, IntWeights(8, q - 128, one, zero), r"q - zero leaves -127..127"),
        "int8 with zero points": (INT8, IntWeights(8, q, one, zero + 200), "q - zero leaves -127..127"),
        "int6 beyond": (PerChannel(6), IntWeights(6, q + 64, one, zero), "q - zero leaves -63..63"),
        "int4 with a sign": (INT4, IntWeights(4, q - 7, one, zero), "leaves 0..15"),
        "int4 with a wide zero point": (INT4, IntWeights(4, q, one, zero + 16), "leaves 0..15"),
        "int3 beyond": (INT3, IntWeights(3, q + 8, one, zero), "leaves 0..7"),
        "int2 beyond": (INT2, LevelWeights(2, q + 8, one, zero), "q is not one of 0, 2, 4, 6"),
        "int2 between levels": (INT2, LevelWeights(2, q + 3, one, zero), "q is not one of 0, 2, 4, 6"),
        "int2 with a wide zero point": (INT2, LevelWeights(2, q, one, zero + 7), "zero leaves 0..6"),
        "groups beyond": (GROUPED, GroupWeights(q + 8, one, groups), "leaves -8..7"),
        "int2-g32 beyond": (GROUPED2, FourLevelGroupWeights(q, one, groups), "q is not one of -3, -1, 1, 3"),
    }


@pytest.mark.parametrize("name", misfits())
def test_weights_that_the_form_cannot_hold_are_refused_by_the_precisions_name(name):
    form, given, why = misfits()[name]

    def quantize(w: np.ndarray, moment: np.ndarray | None, method: str) -> Weights:
        return given  # type: ignore[return-value]

    reasoner = random_reasoner(layers=1)
    precision = Precision("wrong", form, quantize)
    assert re.search(why, precision.misfit(given, (8, 32)))
    with pytest.raises(InputError, match="the precision 'wrong' gives weights that it cannot store"):
        quantize_model(reasoner, precision)


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
