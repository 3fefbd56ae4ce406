"""A model family is one file: the registry finds it, and no other place has to be told."""

import textwrap
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import recurc.models
from recurc import extensions
from recurc.errors import InputError
from recurc.models import families, find_family
from recurc.models.reasoner import swiglu_width
from recurc.models.shapes import default_heads, infer_expansion
from tests.randmodels import random_reasoner

PROTOCOL = ("NAME", "ARCH_NAMES", "recognises", "config_from_fields", "expected_tensors", "recursion")


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


def test_a_family_of_another_package_is_registered(monkeypatch):
    outside = SimpleNamespace(
        NAME="outside",
        ARCH_NAMES=("models.outside@Outside",),
        recognises=lambda names: "outside.weight" in set(names),
        config_from_fields=None,
        expected_tensors=None,
        recursion=None,
    )
    recurc.models.register(outside)
    try:
        assert families()["outside"] is outside and find_family(None, ["outside.weight"], "x") is outside
        recurc.models.register(outside)  # once more is no contradiction
        with pytest.raises(ValueError, match="there is a family 'outside' already"):
            recurc.models.register(SimpleNamespace(**vars(outside)))
    finally:
        recurc.models.unregister("outside")
    assert "outside" not in families()


def test_half_a_family_is_refused():
    with pytest.raises(ValueError, match="expected_tensors, recursion"):
        recurc.models.register(SimpleNamespace(NAME="half", ARCH_NAMES=(), recognises=None, config_from_fields=None))


def test_no_family_takes_the_name_of_one_that_is_there():
    with pytest.raises(ValueError, match="there is a family 'trm' already"):
        recurc.models.register(SimpleNamespace(**{n: None for n in PROTOCOL} | {"NAME": "trm", "ARCH_NAMES": ()}))


def test_installed_packages_bring_families(monkeypatch, tmp_path):
    (tmp_path / "brought.py").write_text(
        'NAME = "brought"\nARCH_NAMES = ()\nrecognises = config_from_fields = expected_tensors = recursion = None\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("brought", "brought", recurc.models.ENTRY_POINTS)
    monkeypatch.setattr(extensions, "entry_points", lambda group: [point] if group == "recurc.families" else [])
    recurc.models._installed.cache_clear()
    try:
        assert families()["brought"].NAME == "brought"
    finally:
        recurc.models._installed.cache_clear()


def test_states_that_the_runtime_does_not_keep_are_refused():
    """Evaluation would end in a KeyError."""
    from recurc.models import trm

    def recursion(config, depth):
        made = trm.recursion(config, depth)
        return replace(made, states=made.states[:1])

    family = SimpleNamespace(**{name: getattr(trm, name) for name in PROTOCOL} | {"NAME": "single", "recursion": recursion})
    recurc.models.register(family)
    try:
        with pytest.raises(InputError, match="models of the family 'single' cannot be computed.*its states are z_H"):
            recurc.models.recursion_of(replace(random_reasoner().config, family="single"))
    finally:
        recurc.models.unregister("single")
