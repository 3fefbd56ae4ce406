"""What somebody in a notebook sees: short reprs, and the functions that the help names."""

from __future__ import annotations

import math
import pydoc
import shutil

import pytest

import recurc
from recurc.evaluate.halting import Halt
from recurc.verify.answers import EngineAnswerer, answer


def test_reprs_are_one_short_line(model, quantized, built, data):
    test = recurc.load_dataset(data, "test").take(1)
    found = answer(EngineAnswerer(quantized.engine, 2), test.inputs[0])
    verified = recurc.verify(built, on="host", dataset=test, limit=1, steps=1)
    with recurc.connect(built, on="host") as device:
        opened = repr(device)
    assert opened.startswith("Connection(") and "open" in opened and "closed" in repr(device) and "object at" not in opened
    shown = (
        verified,
        quantized.evaluate(test),
        device,
        model,
        model.reasoner,
        quantized,
        quantized.model,
        quantized.calibration,
        quantized.sample,
        built,
        test,
        found,
        found.steps[0],
        model.run(test.inputs, steps=1, trajectory=True),
    )
    for thing in shown:
        text = repr(thing)
        assert "\n" not in text and len(text) < 330 and text.startswith(type(thing).__name__), text


def test_verify_takes_a_path(built, data):
    assert recurc.verify(str(built.path), on="host", dataset=recurc.load_dataset(data, "test"), limit=1, steps=1).bit_exact


def test_weights_that_no_puzzle_calibrated_are_not_called_calibrated(model):
    assert model.quantize("int4").model.label == model.quantize("int4", method="mse").model.label == "int4 (mse)"
    assert model.quantize("int8").model.label == "int8"


def test_a_place_that_is_nearly_one_is_no_port(built):
    with pytest.raises(recurc.RecurcError, match="no place called 'qemuu'") as e:
        recurc.verify(built, on="qemuu", limit=1)
    assert e.value.exit_code == 2 and "qemu" in e.value.next


def test_a_model_and_its_quantized_form_are_scored_alike(model, quantized, data):
    test = recurc.load_dataset(data, "test")
    for one in (model, quantized):
        few = one.evaluate(test, 6, steps=2)
        assert few == one.evaluate(dataset=data, limit=6, steps=2), "a folder stands for its test split"
        assert few == one.evaluate(test.take(6), steps=2) and few.n == 6 and 0 <= few.exact <= few.cell <= 1
        # Wilson's interval of one standard error: its half width.
        p, n = few.exact, few.n
        assert (
            few.exact_error == pytest.approx(math.sqrt(p * (1 - p) / n + 1 / (4 * n * n)) / (1 + 1 / n)) and few.exact_error > 0
        )
        assert "6 puzzles" in repr(few) and f"± {100 * few.exact_error:.2f}" in repr(few)
        halted = one.evaluate(test, 6, steps=3, halt=-1e9)
        assert halted.exact == one.evaluate(test, 6, steps=1).exact
        assert one.evaluate(test, 6, steps=3, halt=Halt(-1e9, 2)).exact == few.exact
        assert one.evaluate(test, 10**9, steps=1).n == len(test)


def test_only_what_has_labels_is_counted(model, quantized, data):
    test = recurc.load_dataset(data, "test").take(4)
    labels = test.labels.copy()
    labels[1] = -100
    partly = recurc.Dataset.from_arrays(test.inputs, labels, vocab_size=test.vocab_size)
    assert model.evaluate(partly, steps=1).n == quantized.evaluate(partly, steps=1).scores.n == 3


@pytest.mark.parametrize("call", [
    lambda m, b, d: recurc.verify(b, on="host", dataset=d, limit=-1), lambda m, b, d: m.evaluate(d.inputs),
    lambda m, b, d: m.evaluate(d, limit=0), lambda m, b, d: m.evaluate(d, "3"), lambda m, b, d: m.evaluate(d, 2.5),
    lambda m, b, d: m.evaluate(None),
    lambda m, b, d: m.run(d.inputs[:1], steps="3"), lambda m, b, d: m.run(d.inputs[:1], steps=1.5),
    lambda m, b, d: m.run(d.inputs[:1], halt="yes"), lambda m, b, d: m.run(d.inputs[:1], halt=float("nan"))])  # fmt: skip
def test_arguments_of_the_wrong_kind_are_named(call, model, built, data):
    with pytest.raises(recurc.RecurcError) as e:
        call(model, built, recurc.load_dataset(data, "test"))
    assert e.value.exit_code == 2 and any(name in e.value.paragraph() for name in ("limit=", "dataset=", "steps=", "halt="))


def test_the_help_lists_what_there_is():
    text = pydoc.plain(pydoc.render_doc(recurc))
    assert all(f"recurc.{name}" in text for name in recurc.__all__ if name not in ("__version__",))
    assert set(recurc.__all__) <= set(dir(recurc)) and issubclass(recurc.RecurcWarning, UserWarning)
    for name in recurc.__all__:
        assert getattr(recurc, name) is not None


def test_a_build_knows_the_folder_that_calibrated_it(built, data):
    assert built.data == recurc.load_build(built.path).data == data
    assert recurc.verify(built, on="host", limit=1, steps=1).bit_exact


@pytest.mark.usefixtures("no_compile", "no_gate")
def test_a_build_says_that_arrays_from_memory_calibrated_it(model, data, tmp_path):
    train = recurc.load_dataset(data, "train").take(8)
    own = recurc.Dataset.from_arrays(train.inputs, train.labels, vocab_size=train.vocab_size, split="train", symbols=".abcd")
    with_arrays = model.quantize("int8", own, puzzles=4).build("host", tmp_path / "arrays")
    without = model.quantize("int8").build("host", tmp_path / "none")
    for build, why in ((with_arrays, "arrays from memory"), (without, "without a dataset")):
        opened = recurc.load_build(build.path)
        assert opened.data is None and why in opened.no_data
        with pytest.raises(recurc.RecurcError, match=why):
            recurc.verify(opened, on="host")
    assert (recurc.load_build(with_arrays.path).symbols, without.symbols) == (".abcd", "")
    gone = tmp_path / "gone"
    shutil.copytree(data, gone)
    lost = model.quantize("int8", recurc.load_dataset(gone, "train"), puzzles=4).build("host", tmp_path / "lost")
    shutil.rmtree(gone)
    with pytest.raises(recurc.RecurcError, match=f"{gone} is gone"):
        recurc.verify(lost, on="host")
