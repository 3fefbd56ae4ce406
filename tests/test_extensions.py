"""What installed packages bring is taken, or refused by its name: not a traceback, not one in another's place."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

import recurc.models
import recurc.ops
from recurc import extensions
from recurc.cli.main import main
from recurc.doctor import diagnosis
from recurc.doctor.extensions import check_extensions
from recurc.doctor.findings import Finding
from recurc.errors import InputError
from recurc.ops import registry as ops
from recurc.package import registry as formats
from recurc.quant import weights
from recurc.targets.boards import list_boards

GROUPS = {ops.ENTRY_POINTS: recurc.ops.registered, weights.ENTRY_POINTS: weights.precisions,
          formats.ENTRY_POINTS: formats.packages, recurc.models.ENTRY_POINTS: recurc.models.families}  # fmt: skip


def _forget() -> None:
    weights.precisions.cache_clear()
    formats.packages.cache_clear()
    recurc.models._installed.cache_clear()


@pytest.fixture
def bring(monkeypatch, tmp_path):
    """A function: a module of this text is installed as what a group names; gives what asks for all of the group."""
    for name in ("_packages", "_classes"):
        monkeypatch.setattr(ops, name, dict(getattr(ops, name)))
    monkeypatch.setattr(ops, "_searched", [])
    monkeypatch.syspath_prepend(tmp_path)

    def install(group: str, name: str, text: str, value: str = ""):
        (tmp_path / f"{name}.py").write_text(text)
        point = EntryPoint(name, f"{name}{value}", group)
        monkeypatch.setattr(extensions, "entry_points", lambda group: [point] if group == point.group else [])
        _forget()
        return GROUPS[group]

    yield install
    monkeypatch.undo()
    _forget()


@pytest.mark.parametrize("group", GROUPS)
def test_what_cannot_be_imported_is_refused_by_name(bring, group):
    ask = bring(group, f"broken_{group.rpartition('.')[2]}", "import nobody_has_this\n")
    with pytest.raises(InputError, match="nobody_has_this|is no op's folder") as e:
        ask()
    assert "broken_" in e.value.paragraph()


def test_commands_say_so_and_show_no_traceback(bring, capsys):
    bring(weights.ENTRY_POINTS, "broken_command", "1 / 0\n")
    assert main(["inspect", "sudoku4-tiny"]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "the installed extension 'broken_command' cannot be used" in said and "ZeroDivisionError" in said
    assert "broken_command in the group recurc.precisions" in said


def test_the_doctor_lists_them_and_says_which_cannot_be_used(bring):
    bring(weights.ENTRY_POINTS, "well", "from dataclasses import replace\n"
          "from recurc.quant.scheme_int8 import PRECISION as P\nTHING = replace(P, name='int8-well')\n", ":THING")  # fmt: skip
    assert check_extensions() == [Finding("extensions", "precisions", "ok", "well")]
    bring(formats.ENTRY_POINTS, "broken_format", "1 / 0\n")
    (found,) = check_extensions()
    assert (found.name, found.state, found.exit_code) == ("package formats", "problem", 3)
    assert "'broken_format' cannot be used" in found.detail and "ZeroDivisionError" in found.detail
    assert (
        diagnosis._families(list_boards()) == {"host"} and diagnosis._delivered(SimpleNamespace(packages=("firmware",))) == []
    )


@pytest.mark.parametrize(("group", "value", "why"), [
    (weights.ENTRY_POINTS, ":THING", "it is int, no recurc.quant.weights.Precision"),
    (formats.ENTRY_POINTS, ":THING", "no value of a class that derives from Package"),
    (recurc.models.ENTRY_POINTS, "", "a family has NAME"),
])  # fmt: skip
def test_what_is_no_such_thing_is_refused(bring, group, value, why):
    ask = bring(group, f"odd_{group.rpartition('.')[2]}", "THING = 3\n", value)
    with pytest.raises(InputError, match=why):
        ask()


@pytest.mark.parametrize(("group", "text", "value", "why"), [
    (weights.ENTRY_POINTS, "from dataclasses import replace\nfrom recurc.quant.scheme_int8 import PRECISION as P\n"
     "THING = replace(P, name='int4')\n", ":THING", "two precisions called 'int4' .recurc.quant.scheme_int4 and"),
    (formats.ENTRY_POINTS, "from tests.package.makefile import MakefilePackage\n"
     "class Mine(MakefilePackage):\n    name = 'espidf'\nTHING = Mine()\n", ":THING",
     "two package formats called 'espidf' .recurc.package.espidf and twice_packages"),
    (recurc.models.ENTRY_POINTS, "from tests.ops.toy_family import *\nNAME = 'trm'\n", "",
     "two model families called 'trm' .recurc.models.trm and twice_families"),
])  # fmt: skip
def test_nothing_takes_the_place_of_what_has_its_name(bring, group, text, value, why):
    ask = bring(group, f"twice_{group.rpartition('.')[2]}", text, value)
    with pytest.raises(InputError, match=why):
        ask()


def test_an_op_does_not_take_the_folder_that_ops_of_recurc_share(monkeypatch, tmp_path):
    """Its templates would be taken for theirs."""
    folder = tmp_path / "own_swiglu"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "op.py").write_text("from recurc.ops.channel_mix.op import ChannelMix\n"
                                  "class OP(ChannelMix):\n    kind = 'swiglu'\n")  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(recurc.ops.OpError, match="cannot be called 'swiglu'"):
        recurc.ops.register("own_swiglu")


def test_a_family_of_others_is_asked_after_ours(bring):
    """A configuration that names no family goes to ours where both recognise the tensors."""
    ask = bring(recurc.models.ENTRY_POINTS, "later_family", "from recurc.models.trm import *\n"
                "from recurc.models.trm import NAME as _\nNAME = 'later'\nARCH_NAMES = ('later@Later',)\n")  # fmt: skip
    assert list(ask())[-1] == "later"
    assert recurc.models.find_family(None, ["L_level.layers.0.x"], "here").NAME == "trm"
    assert recurc.models.find_family("a.later@Later", ["L_level.layers.0.x"], "here").NAME == "later"


def test_a_mistake_in_the_code_of_others_is_said_to_be_theirs(bring, tmp_path, monkeypatch, capsys):
    """In Python with the libraries that it calls, and in a template; what recurc does wrong for it stays recurc's."""
    folder = tmp_path / "faulty"
    folder.mkdir()
    (folder / "op.c.j2").write_text("{{ 1 }}\n{{ nothing_of_that_name }}\n")
    (folder / "__init__.py").write_text(
        "import json\nfrom pathlib import Path\nfrom recurc import quoting, resources\ndef library():\n    json.loads('{')\n"
        "def template():\n    quoting.environment(str(Path(__file__).parent)).get_template('op.c.j2').render()\n"
        "def ours():\n    resources.resource_dir('nothing')\n"
    )
    bring(weights.ENTRY_POINTS, "faulty", "", ":THING")
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    module = importlib.import_module("faulty")
    for name, said in (
        ("library", "JSONDecodeError.* a bug in the entry point faulty = faulty:THING .faulty:5., not in recurc"),
        ("template", "an extension of recurc failed unexpectedly .op.c.j2:2.: UndefinedError: .*faulty/op.c.j2:2., not in rec"),
        ("ours", "recurc failed unexpectedly .resources.py:.*a bug in recurc, not"),
    ):
        monkeypatch.setattr("recurc.cli.boards.command.callback", lambda name=name, **options: getattr(module, name)())
        assert main(["boards"]) == 1
        assert re.search(said, " ".join(capsys.readouterr().err.split())), name


def test_a_group_for_each_registry_is_looked_through_for_mistakes():
    assert set(extensions.GROUPS) == set(GROUPS)
