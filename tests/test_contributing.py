"""What CONTRIBUTING names is there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

from recurc.targets.boards import parse_board

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
GROUPS = {"recurc.ops", "recurc.precisions", "recurc.families", "recurc.packages"}  # of entry points


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(recurc(?:\.\w+)+)", TEXT)) - GROUPS))
def test_names_lead_somewhere(name):
    module, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), last)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:recurc|tests|boards|chips|runtime_c|benchmarks|templates)/[\w./]*)`", TEXT)))
)
def test_paths_are_there(path):
    for name, one in (("scheme_NAME", "scheme_int4"), ("ops/NAME", "ops/attention"), ("unpack_NAME", "unpack_s3")):
        path = path.replace(name, one)
    assert (ROOT / path).exists()


def test_tests_that_it_names_are_there():
    text = (ROOT / "tests/ops/test_new_op.py").read_text()
    for name in set(re.findall(r"`(test_\w+)`", TEXT)):
        assert f"def {name}(" in text, name


def test_macros_have_the_arguments_that_it_lists():
    lists = re.findall(r"(lin|norm)\.(\w+)\(([^()]*)\)", re.search(r"```\n( +lin.*?)```", TEXT, re.DOTALL)[1])
    assert [name for _, name, _ in lists] == ["rows_of", "spent", "rows", "tile_call"]
    for module, name, given in lists:
        file = ROOT / "templates/ops" / {"lin": "linear.c.j2", "norm": "norm.c.j2"}[module]
        taken = re.search(rf"macro {name}\(([^()]*)\)", file.read_text())[1].replace(', leave="return;"', "")
        assert len(given.split(",")) == len(taken.split(",")), name


def test_the_board_for_any_compiler_is_one():
    text = textwrap.dedent(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1])
    board = parse_board(text, Path("any.toml"))
    assert board.packages == ("cmake",) and not board.features and board.buildable


def test_a_package_as_it_says_brings_all_of_its_files(tmp_path):
    """A wheel made with the pyproject.toml that stands there has the templates too, and names what is looked for."""
    pytest.importorskip("setuptools")
    text = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1]
    groups = tomllib.loads(text)["project"]["entry-points"]
    assert set(groups) == GROUPS
    (tmp_path / "pyproject.toml").write_text(text)
    folder = tmp_path / groups["recurc.ops"]["reglu"].replace(".", "/")
    files = {folder.parent / "__init__.py", folder / "__init__.py", folder / "op.py", folder / "op.c.j2",
             folder.parent / "templates" / "main.c.j2"}  # fmt: skip
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    made = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", made], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {str(file.relative_to(tmp_path)) for file in files} <= names
