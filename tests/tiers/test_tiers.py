"""The fast tier: slow.txt names tests that there are, and every room keeps one that is fast."""

from __future__ import annotations

import ast

import pytest

from tests.tiers import ROOT, choose, durations, function_of, room_of, slow


def functions() -> set[str]:
    """Every test function of the tree, as pytest names it."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                found.add(f"{name}::{node.name}")
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                found |= {f"{name}::{node.name}::{f.name}" for f in node.body if getattr(f, "name", "").startswith("test")}
    return found


def test_what_is_called_slow_is_there():
    assert slow(), "make test-fast would run everything"
    assert not slow() - functions(), "tests were moved or renamed: mend tests/tiers/slow.txt"


def test_every_room_has_a_fast_test():
    rooms = {room_of(name) for name in functions()}
    assert rooms == {room_of(name) for name in functions() - slow()}
    assert {"codegen", "device", "kernels", "models", "quant", "verify"} <= rooms


def test_the_dearest_are_left_out_but_one_of_each_room_stays():
    seconds = {"tests/a/test_a.py::test_1": 5.0, "tests/a/test_a.py::test_2": 1.0, "tests/b/test_b.py::test_3": 9.0}
    assert choose(seconds, 100) == []
    assert choose(seconds, 10) == ["tests/a/test_a.py::test_1"]
    assert choose(seconds, 0) == ["tests/a/test_a.py::test_1"]
    assert choose(seconds, 0, keep=["tests/a/test_a.py::test_1"]) == []


@pytest.mark.parametrize(("node", "function"), [("tests/a.py::test_x[1-[y]]", "tests/a.py::test_x"), ("a::T::t", "a::T::t")])
def test_a_case_is_of_its_function(node, function):
    assert function_of(node) == function


def test_a_report_is_read(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.tiers.test_tiers" name="test_a[1]" time="0.5" />'
        '<testcase classname="tests.tiers.test_tiers" name="test_a[2]" time="0.25" />'
        '<testcase classname="tests.tiers.test_tiers.TestB" name="test_b" time="2" />'
        '<testcase classname="gone.test_gone" name="test_c" time="1" /></testsuite></testsuites>'
    )
    here = "tests/tiers/test_tiers.py"
    assert durations(report) == {f"{here}::test_a": 0.75, f"{here}::TestB::test_b": 2.0}
