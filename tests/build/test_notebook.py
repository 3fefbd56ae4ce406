"""What somebody in a notebook sees: short reprs, and the functions that the help names."""

from __future__ import annotations

import pydoc

import recurc
from recurc.verify.answers import EngineAnswerer, answer


def test_reprs_are_one_short_line(model, quantized, built, data):
    test = recurc.load_dataset(data, "test").take(1)
    found = answer(EngineAnswerer(quantized.engine, model.config.halt_rule, 2), test.inputs[0])
    shown = (model, model.reasoner, quantized, quantized.model, quantized.calibration, quantized.sample, built, test, found,
             found.steps[0], model.run(test.inputs, steps=1, trajectory=True))
    for thing in shown:
        text = repr(thing)
        assert "\n" not in text and len(text) < 330 and text.startswith(type(thing).__name__), text


def test_verify_takes_a_path(built, data):
    assert recurc.verify(str(built.path), on="host", dataset=recurc.load_dataset(data, "test"), limit=1, steps=1).bit_exact


def test_the_help_lists_what_there_is():
    text = pydoc.plain(pydoc.render_doc(recurc))
    assert all(f"recurc.{name}" in text for name in recurc.__all__ if name not in ("__version__",))
    assert set(recurc.__all__) <= set(dir(recurc)) | {"verify"}
    for name in recurc.__all__:
        assert getattr(recurc, name) is not None
