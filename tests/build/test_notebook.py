"""What somebody in a notebook sees: short reprs, and the functions that the help names."""

from __future__ import annotations

import pydoc

import pytest

import recurc
from recurc.verify.answers import EngineAnswerer, answer


def test_reprs_are_one_short_line(model, quantized, built, data):
    test = recurc.load_dataset(data, "test").take(1)
    found = answer(EngineAnswerer(quantized.engine, model.config.halt_rule, 2), test.inputs[0])
    verified = recurc.verify(built, on="host", dataset=test, limit=1, steps=1)
    with recurc.connect(built, on="host") as device:
        opened = repr(device)
    assert opened.startswith("Connection(") and "open" in opened and "closed" in repr(device) and "object at" not in opened
    shown = (verified, quantized.evaluate(test), device, model, model.reasoner, quantized, quantized.model, quantized.calibration, quantized.sample, built, test, found,
             found.steps[0], model.run(test.inputs, steps=1, trajectory=True))
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


@pytest.mark.parametrize("call", [
    lambda m, b, d: recurc.verify(b, on="host", dataset=d, limit=-1), lambda m, b, d: m.evaluate(d.inputs),
    lambda m, b, d: m.run(d.inputs[:1], steps="3"), lambda m, b, d: m.run(d.inputs[:1], steps=1.5),
    lambda m, b, d: m.run(d.inputs[:1], halt="yes"), lambda m, b, d: m.run(d.inputs[:1], halt=float("nan"))])  # fmt: skip
def test_arguments_of_the_wrong_kind_are_named(call, model, built, data):
    with pytest.raises(recurc.RecurcError) as e:
        call(model, built, recurc.load_dataset(data, "test"))
    assert e.value.exit_code == 2 and any(name in e.value.paragraph() for name in ("limit=", "data=", "steps=", "halt="))


def test_the_help_lists_what_there_is():
    text = pydoc.plain(pydoc.render_doc(recurc))
    assert all(f"recurc.{name}" in text for name in recurc.__all__ if name not in ("__version__",))
    assert set(recurc.__all__) <= set(dir(recurc)) and issubclass(recurc.RecurcWarning, UserWarning)
    for name in recurc.__all__:
        assert getattr(recurc, name) is not None
