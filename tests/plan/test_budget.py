"""The budget says an image's size before any weight is looked at; the image that is written must have just that size."""

from __future__ import annotations

import numpy as np
import pytest

import recurc
from recurc.emit.image import ENTRY, HEADER, build_image
from recurc.ir.lower import lower
from recurc.ir.lowering import STORAGES
from recurc.plan.budget import (
    IMAGE_ENTRY_BYTES,
    IMAGE_HEADER_BYTES,
    image_budget,
    parameter_count,
    streamed_table_bytes,
    table_file_bytes,
)
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.quant.layer_precisions import layer_forms
from recurc.quant.model import QuantizedModel, quantize_model, scaled_tables
from recurc.quant.weights import precision_named
from recurc.resources import bundled_models
from recurc.storage import INT2, INT3, INT4
from recurc.storage.channel import IntWeights
from recurc.storage.fp32 import FloatWeights
from tests.plan.programs import program
from tests.randmodels import random_reasoner

MODELS = sorted(bundled_models())


def shaped_model(reasoner, precision) -> QuantizedModel:
    """A model of the right shapes with all-zero weights: sizes do not depend on values, and this takes no time."""
    prog = lower(reasoner.config, puzzle_table="image")
    zeros = {
        ref.name: FloatWeights(np.zeros((ref.n, ref.k), np.float32))
        if not precision.form.integer
        else IntWeights(
            int(precision.bits), np.zeros((ref.n, ref.k), np.int16), np.zeros(ref.n, np.float32), np.zeros(ref.n, np.uint8)
        )
        for ref in prog.linears
    }
    vectors = {
        "H_init": reasoner.tensors["H_init"],
        "L_init": reasoner.tensors["L_init"],
        "q_bias": reasoner.tensors["q_head.bias"],
    }
    return QuantizedModel("m", prog, precision, "none", zeros, scaled_tables(reasoner, prog), vectors)


@pytest.mark.parametrize("name", MODELS)
def test_the_budget_is_the_size_of_the_image_to_the_byte(name):
    reasoner = recurc.load(name).reasoner
    for precision in ("fp32", "int8", "int4", "int3", "int2"):
        model = shaped_model(reasoner, precision_named(precision))
        for kernels in KERNEL_SETS:
            image = build_image(model, kernels)
            budget = image_budget(model.program, model.precision.form, kernels)
            assert budget.total == len(image.data), (name, precision, kernels.name)
            assert [(s.kind, s.name, s.offset, s.bytes) for s in budget.sections] == [
                (s.kind, s.name, s.offset, s.bytes) for s in image.sections
            ]
            assert sum(budget.by_kind.values()) == budget.total
            assert all(n >= 0 for n in budget.by_kind.values())
    assert parameter_count(model.program) == reasoner.parameters


def test_two_blocks_are_in_the_budget():
    reasoner = random_reasoner(hidden=40, heads=2, pos="learned", ndim=56, layers=1, h_layers=3)
    for kernels in KERNEL_SETS:
        model = shaped_model(reasoner, precision_named("int4"))
        assert image_budget(model.program, INT4, kernels).total == len(build_image(model, kernels).data)
    assert parameter_count(model.program) == reasoner.parameters


@pytest.mark.parametrize("table", STORAGES)
@pytest.mark.parametrize("mixer,pos", [("mlp_t", "none"), ("attention", "rope"), ("attention", "learned")])
def test_odd_shapes_too(mixer, pos, table):
    reasoner = random_reasoner(mixer, seq=11, vocab=5, hidden=40, heads=2, pos=pos, ndim=56, plen=2, puzzles=7)
    for precision in ("fp32", "int8", "int4", "int4-g32", "int3", "int2-g32", "int2"):
        model = quantize_model(reasoner, precision_named(precision), method="min-max", puzzle_table=table)
        for kernels in KERNEL_SETS:
            budget = image_budget(model.program, model.forms, kernels)
            assert budget.total == len(build_image(model, kernels).data)
            assert budget == image_budget(model.program, layer_forms(model.program, model.precision, {}), kernels)
        assert streamed_table_bytes(model.program) == (model.puzzles.file_bytes if model.puzzles else 0)
    assert parameter_count(model.program) == reasoner.parameters


def test_layers_of_different_widths():
    reasoner = random_reasoner("attention", hidden=40, heads=2, ndim=40)
    model = quantize_model(
        reasoner,
        precision_named("int4"),
        method="min-max",
        layer_precisions={
            "*.qkv_proj.weight": "int3",
            "*.layers.0.mlp.*": "int8",
            "lm_head.weight": "fp32",
            "q_head.weight": "int2",
            "*.layers.1.self_attn.o_proj.weight": "int2-g32",
            "*.layers.1.mlp.*": "int4-g32",
        },
    )
    assert {form.bits for form in model.forms.values()} == {2, 2.25, 3, 4, 4.25, 8, 32}
    for kernels in KERNEL_SETS:
        assert image_budget(model.program, model.forms, kernels).total == len(build_image(model, kernels).data)


def test_the_papers_shape_at_int3_leaves_room_for_code_in_two_megabytes():
    budgets = [image_budget(program(), form, kernel_set("dsp")) for form in (INT3, INT4)]
    assert budgets[0].by_kind["weights"] * 4 == budgets[1].by_kind["weights"] * 3
    assert budgets[0].total + 64 * 1024 < 2 * 1024 * 1024 < budgets[1].total


def test_the_papers_shape_at_int2_fits_a_microcontroller_of_two_megabytes():
    """1.36 MB and less with heads of four bits; and half of int4's weights."""
    two, four = (precision_named(name) for name in ("int2", "int4"))
    budgets = [image_budget(program(), layer_forms(program(), scheme, {}), kernel_set("dsp")) for scheme in (two, four)]
    assert budgets[0].total <= 1_360_000 and budgets[0].total <= 0.56 * budgets[1].total
    assert image_budget(program(), INT2, kernel_set("dsp")).by_kind["weights"] * 2 == budgets[1].by_kind["weights"]


def test_header_sizes_are_the_images():
    assert (HEADER.size, ENTRY.size) == (IMAGE_HEADER_BYTES, IMAGE_ENTRY_BYTES)


def test_the_papers_shape_at_int4_stays_below_its_limit():
    """2.513 MB of weights, and scales, zero points, tables and padding within 2.62 MB in all."""
    budget = image_budget(program(), INT4, KERNEL_SETS[-1])
    assert 2_500_000 < budget.by_kind["weights"] < 2_560_000
    assert budget.total <= 2_620_000


def test_table_files():
    assert table_file_bytes(3, 512, "fp32") == 128 + 3 * (2048 + 4)
    assert table_file_bytes(3, 510, "int8") == 128 + 3 * (4 + 512 + 4)
    assert streamed_table_bytes(program()) == 0
