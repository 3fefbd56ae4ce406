"""A model family is one file: the registry finds it, and no other place has to be told."""

import textwrap

import pytest

import recurc.models
from recurc.errors import InputError
from recurc.models import families, find_family
from recurc.models.layers import default_heads, infer_expansion
from recurc.models.reasoner import swiglu_width


def test_trm_is_found():
    assert families()["trm"].NAME == "trm"


def test_a_new_family_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "toy_family.py").write_text(
        textwrap.dedent('''
        """A family for this test."""
        NAME = "toy"
        ARCH_NAMES = ("recursive_reasoning.toy@Toy",)
        def recognises(names): return "toy.weight" in set(names)
        def config_from_fields(fields, shapes, where=""): raise NotImplementedError
        def expected_tensors(config): return {}
        def recursion(config, depth): raise NotImplementedError
        ''')
    )
    (tmp_path / "no_family.py").write_text("raise AssertionError('helpers are not imported')\n")
    monkeypatch.setattr(recurc.models, "__path__", [*recurc.models.__path__, str(tmp_path)])
    assert {"trm", "toy"} <= set(families())
    assert find_family("recursive_reasoning.toy@Toy", ["toy.weight"], "x").NAME == "toy"
    assert find_family(None, ["toy.weight"], "x").NAME == "toy"


def test_the_module_part_decides():
    names = ["L_level.layers.0.mlp.down_proj.weight"]
    assert find_family("models.recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1", names, "x").NAME == "trm"
    with pytest.raises(InputError, match="single-state ablation"):
        find_family("recursive_reasoning.trm_singlez@TinyRecursiveReasoningModel_ACTV1", names, "x")


@pytest.mark.parametrize("expansion", [0.7, 1, 2, 3, 4, 13.5, 20])
@pytest.mark.parametrize("n", [20, 64, 97, 128, 512, 916])
def test_expansion_inferred_from_a_width_gives_that_width(expansion, n):
    width = swiglu_width(expansion, n)
    found = infer_expansion([(n, width)])
    assert found is not None and swiglu_width(found, n) == width


def test_published_expansion_is_preferred():
    assert infer_expansion([(512, 1536), (97, 512)]) == 4.0
    assert infer_expansion([(512, 1537)]) is None


@pytest.mark.parametrize("hidden, heads", [(512, 8), (128, 2), (64, 1), (96, 3), (48, 3), (10, 1)])
def test_assumed_heads(hidden, heads):
    assert default_heads(hidden) == heads
