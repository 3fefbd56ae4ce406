"""Precision per layer: names and patterns, what each layer buys, and the best choice for a number of bytes."""

from __future__ import annotations

from itertools import combinations

import pytest

from recurc.errors import UsageError
from recurc.evaluate.sensitivity import choose_layers, layer_gains
from recurc.ir.lower import lower
from recurc.quant.layer_precisions import layer_forms, raisable, resolve_layers
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.storage import FP32, INT4, INT8
from tests.randmodels import random_reasoner

NAMES = ["a.up.weight", "a.down.weight", "b.down.weight", "head.weight"]


def test_names_and_patterns_the_last_that_holds_counts():
    found = resolve_layers(NAMES, {"*.down.weight": "int8", "b.*": "int3"})
    assert {n: p.name for n, p in found.items()} == {"a.down.weight": "int8", "b.down.weight": "int3"}
    assert resolve_layers(NAMES, None) == {}


def test_mistakes_say_what_is_near():
    with pytest.raises(UsageError, match="no layer is called 'a.dwn.weight'") as e:
        resolve_layers(NAMES, {"a.dwn.weight": "int8"})
    assert "a.down.weight" in e.value.next
    with pytest.raises(UsageError, match="unknown precision 'int9'"):
        resolve_layers(NAMES, {"head.weight": "int9"})


def test_forms_of_a_program():
    program, four = lower(random_reasoner().config), precision_named("int4")
    assert layer_forms(program, four, None) == INT4
    forms = layer_forms(program, four, {"lm_head.weight": "int8"})
    assert forms.pop("lm_head.weight") == INT8 and set(forms.values()) == {INT4}


def test_each_layer_is_stored_in_its_own_precision():
    model = quantize_model(
        random_reasoner(),
        precision_named("int4"),
        layer_precisions={"lm_head.weight": "int8", "q_head.weight": "fp32", "*.o_proj.weight": "int4"},
    )
    assert {n: p.name for n, p in model.layers.items()} == {"lm_head.weight": "int8", "q_head.weight": "fp32"}
    assert [model.weights[n].form for n in ("lm_head.weight", "q_head.weight")] == [INT8, FP32]
    assert model.stored_as == "int4, 1 layer int8, 1 layer fp32" and model.lossy == ()
    lossy = quantize_model(random_reasoner(), precision_named("int8"), layer_precisions={"lm_head.weight": "int4-naive"})
    assert lossy.lossy == ("int4-naive",)


HEADS = ("lm_head.weight", "q_head.weight")


def test_heads_are_stored_as_the_precision_says_unless_they_are_named():
    """int2 keeps its heads at four bits; naming one, or a pattern, takes that back, and the last that holds counts."""
    two, program = precision_named("int2"), lower(random_reasoner().config)
    for wanted, lm_head, q_head in (
        (None, "int4", "int4"),
        ({"lm_head.weight": "int2"}, "int2", "int4"),
        ({"*_head.weight": "int8"}, "int8", "int8"),
        ({"*": "int3", "lm_head.weight": "int4"}, "int4", "int3"),
    ):
        model = quantize_model(random_reasoner(), two, layer_precisions=wanted)
        assert [model.precision_of(name).name for name in HEADS] == [lm_head, q_head], wanted
        assert [model.weights[name].form for name in HEADS] == [precision_named(p).form for p in (lm_head, q_head)]
        assert model.forms == layer_forms(program, two, wanted)
    assert quantize_model(random_reasoner(), two).stored_as == "int2, 2 layers int4"
    assert quantize_model(random_reasoner(), precision_named("int4"), layer_precisions={"*o_proj*": "int2"}).layers.keys() == {
        ref.name for ref in program.linears if ref.name.endswith("o_proj.weight")
    }


def test_what_a_higher_precision_raises():
    program = lower(random_reasoner().config)
    names = tuple(ref.name for ref in program.linears)
    two, three, four, eight = (precision_named(name) for name in ("int2", "int3", "int4", "int8"))
    assert raisable(program, three, four) == raisable(program, two, eight) == names
    assert raisable(program, two, three) == raisable(program, two, four) == names[:-2], "heads have four bits already"
    assert raisable(program, four, three) == ()


GAINS, SIZES = {"p": 5.0, "q": 4.0, "r": 4.0, "s": -1.0, "t": 0.5}, {"p": 640, "q": 320, "r": 384, "s": 64, "t": 64}


def measured():
    def phi(raised):
        return 0.9 + sum(GAINS[n] for n in raised) / 1000

    return layer_gains(list(GAINS), phi, lambda raised: 6400 + sum(SIZES[n] for n in raised))


def test_the_layer_that_buys_most_comes_first():
    found = measured()
    assert [g.name for g in found.layers] == ["p", "q", "r", "t", "s"]
    assert (found.low, found.low_bytes, found.high_bytes) == (0.9, 6400, 6400 + sum(SIZES.values()))
    assert found.gain(found.layers[0]) == pytest.approx(0.005) and found.layers[0].bytes == 640


@pytest.mark.parametrize("room", range(-64, 1700, 64))
def test_no_other_choice_within_the_budget_buys_more(room):
    found = measured()
    chosen = choose_layers(found, 6400 + room)
    best = max(
        (
            sum(GAINS[n] for n in some)
            for k in range(6)
            for some in combinations(GAINS, k)
            if sum(SIZES[n] for n in some) <= room
        ),
        default=0,
    )
    assert sum(GAINS[n] for n in chosen) == pytest.approx(max(best, 0))
    assert sum(SIZES[n] for n in chosen) <= max(room, 0) and "s" not in chosen
