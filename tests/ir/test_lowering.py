"""The knobs of lowering: one value, checked once, however it comes."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from recurc.api import Model
from recurc.arguments import named_as_options
from recurc.errors import UsageError
from recurc.ir.lower import lower
from recurc.ir.lowering import MOST, MOST_FORMS, WORDS, Lowering
from recurc.symmetries import Symmetry
from tests.randmodels import random_reasoner

WRONG = [
    ("steps", 0), ("steps", 65537), ("h_cycles", 256), ("h_cycles", True), ("l_cycles", -1), ("l_cycles", 1.0),
    ("l_cycles", "2"), ("carry", "int4"), ("carry", 8), ("puzzle_table", "int4"), ("scratch", 0),
]  # fmt: skip


@pytest.mark.parametrize("name, value", WRONG, ids=str)
def test_a_wrong_value_is_told_by_the_name_it_was_given_under(name, value):
    with pytest.raises(UsageError) as e:
        Lowering(**{name: value})
    assert e.value.where == f"{name}=" and name in e.value.what
    with pytest.raises(UsageError) as e, named_as_options():
        Lowering(**{name: value})
    assert e.value.where == f"--{name.replace('_', '-')}"


@pytest.mark.parametrize("name, value", WRONG, ids=str)
def test_python_and_lower_ask_the_same_check(name, value):
    reasoner = random_reasoner()
    for call in (lambda **o: lower(reasoner.config, **o), lambda **o: Model(reasoner, "m").quantize("int8", **o)):
        with pytest.raises(UsageError) as e:
            call(**{name: value})
        assert e.value.where == f"{name}="


def test_every_knob_says_what_it_may_be():
    assert {*MOST, *WORDS, "symmetries", "own_noise"} == {f.name for f in fields(Lowering)}
    for name, most in MOST.items():
        assert getattr(Lowering(**{name: most}), name) == most
    for name, words in WORDS.items():
        assert [getattr(Lowering(**{name: word}), name) for word in words] == list(words)
    forms = (Symmetry.identity(4, 3),) * MOST_FORMS
    assert Lowering(symmetries=forms).symmetries == forms
    with pytest.raises(UsageError, match="too many"):
        Lowering(symmetries=(*forms, forms[0]))


def test_knobs_stand_in_the_place_of_a_lowering_or_beside_it():
    whole = Lowering(steps=3, carry="fp16")
    assert Lowering.of(None, steps=3, carry="fp16", h_cycles=None) == Lowering.of(whole) == whole
    assert Lowering.of(whole, carry="int8") == replace(whole, carry="int8")
    with pytest.raises(TypeError, match="cycles"):
        Lowering.of(whole, cycles=3)
    model = Model(random_reasoner(), "m")
    one = model.quantize("int8", lowering=whole).model.program
    assert one == model.quantize("int8", steps=3, carry="fp16").model.program == lower(model.config, whole)
    assert (one.steps, one.carry, one.depth.h_cycles) == (3, "fp16", model.config.H_cycles)


def test_settled_is_what_the_manifest_says_and_reads_back():
    config = random_reasoner().config
    settled = Lowering(h_cycles=3, puzzle_table="int8").settled(config)
    assert settled.manifest() == {
        "steps": config.halt_max_steps, "h_cycles": 3, "l_cycles": config.L_cycles, "carry": "fp32",
    }  # fmt: skip
    assert settled.settled(config) == settled
    assert Lowering.of_manifest({**settled.manifest(), "table": {"storage": "int8"}, "name": "x"}) == settled
    assert Lowering.of_manifest({**settled.manifest(), "table": None}).puzzle_table == "image"
