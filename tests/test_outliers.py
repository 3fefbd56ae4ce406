"""The outlier copy is the same function bit for bit, and what it is for shows: naive int4 loses it, per-channel does not."""

from dataclasses import replace

import numpy as np
import pytest

import recurc
from recurc.api import Model
from recurc.errors import InputError, UsageError
from recurc.evaluate.fidelity import carry_fidelity
from recurc.models.reference import Reference
from recurc.quant.twin import Twin
from recurc.resources import bundled_models
from recurc.study.outliers import outlier_copy
from tests.randmodels import random_inputs, random_reasoner


def test_the_copy_is_the_same_function_bit_for_bit():
    for mixer in ("mlp_t", "attention"):
        original = random_reasoner(mixer)
        copy = outlier_copy(original, share=0.25, factor=16, seed=3)
        inputs, ids = random_inputs(original)
        for a, b in zip(Reference(original).steps(inputs, ids), Reference(copy).steps(inputs, ids), strict=True):
            for field in ("z_H", "z_L", "logits", "q"):
                assert np.array_equal(getattr(a, field).numpy(), getattr(b, field).numpy()), (mixer, a.step, field)


def test_the_devices_arithmetic_computes_the_same_bits_too():
    for mixer in ("mlp_t", "attention"):
        original = random_reasoner(mixer, hidden=16, heads=2, ndim=16, layers=1)
        inputs, ids = random_inputs(original)
        carries = []
        for reasoner in (original, outlier_copy(original)):
            twin = Twin(Model(reasoner, "").quantize("fp32").model)
            twin.begin(inputs, ids)
            twin.step()
            carries.append(twin.z_H)
        assert np.array_equal(*carries), mixer


@pytest.mark.parametrize("mixer", ["mlp_t", "attention"])
def test_share_of_the_channels_is_scaled_and_nothing_else(mixer):
    original = random_reasoner(mixer)
    copy = outlier_copy(original, share=0.03, factor=8)
    kept = {name for name in original.tensors if np.array_equal(original.tensors[name], copy.tensors[name])}
    changed = set(original.tensors) - kept
    parts = ("mlp", "mlp_t") if mixer == "mlp_t" else ("mlp",)
    assert changed == {
        f"L_level.layers.{i}.{part}.{which}_proj.weight" for i in (0, 1) for part in parts for which in ("gate_up", "down")
    }
    for name in sorted(changed):
        a, b = original.tensors[name], copy.tensors[name]
        if "gate_up" in name:
            width = len(a) // 2
            assert np.array_equal(a[:width], b[:width])  # the gate
            rows = (a != b).any(1)
            assert rows.sum() == round(0.03 * width) and np.array_equal(b[rows], 8 * a[rows])
        else:
            columns = (a != b).any(0)
            assert columns.sum() == round(0.03 * a.shape[1]) and np.array_equal(8 * b[:, columns], a[:, columns])


def test_the_original_is_left_alone_and_the_copy_has_an_identity_of_its_own():
    original = random_reasoner("mlp_t")
    before = {name: t.copy() for name, t in original.tensors.items()}
    copies = [outlier_copy(original), outlier_copy(original, seed=1), outlier_copy(original, factor=16)]
    assert all(np.array_equal(before[name], t) for name, t in original.tensors.items())
    assert len({original.sha256, *(c.sha256 for c in copies)}) == 4
    assert outlier_copy(original).sha256 == copies[0].sha256
    assert "same function" in copies[0].notes[-1]


def test_share_0_changes_nothing():
    original = random_reasoner("attention")
    copy = outlier_copy(original, share=0)
    assert all(np.array_equal(original.tensors[name], copy.tensors[name]) for name in original.tensors)


@pytest.mark.parametrize("options", [{"share": -0.1}, {"share": 1.5}, {"factor": 3.0}, {"factor": 0.0}, {"factor": -8.0},
                                     {"factor": float("inf")}, {"factor": float("nan")}, {"share": float("nan")}])  # fmt: skip
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(UsageError) as caught:
        outlier_copy(random_reasoner("attention"), **options)
    assert caught.value.why and caught.value.next


@pytest.mark.parametrize("value", [1e38, 1e-44])
def test_a_weight_that_leaves_fp32_is_refused(value):
    original = random_reasoner("attention")
    name = "L_level.layers.0.mlp." + ("gate_up_proj.weight" if value > 1 else "down_proj.weight")
    broken = replace(original, tensors={**original.tensors, name: np.full_like(original.tensors[name], value)})
    with pytest.raises(InputError) as caught:
        outlier_copy(broken)
    assert name in caught.value.where


def test_naive_int4_fails_on_the_copy_where_per_channel_holds():
    """The picture of the paper with an exact control: one function, two sets of weights."""
    folder = bundled_models()["sudoku6-mlp"]
    original = recurc.load(folder).reasoner
    copy = outlier_copy(original)
    inputs = np.load(folder / "data" / "test" / "all__inputs.npy")[:16]

    def carry(reasoner):
        return Model(reasoner, "").run(inputs, steps=1).z_H

    def phi(reasoner, precision):
        weights = Model(reasoner, "").quantize(precision).model.weights
        rounded = {**reasoner.tensors, **{name: w.dequantized() for name, w in weights.items()}}
        return carry_fidelity(carry(replace(reasoner, tensors=rounded)), carry(original)).mean()

    naive, control, per_channel = phi(copy, "int4-naive"), phi(original, "int4-naive"), phi(copy, "int4")
    assert control > 0.8 and per_channel > 0.8
    assert naive < 0.5
