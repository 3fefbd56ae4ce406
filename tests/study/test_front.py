"""The front of a sweep: marks that noise does not make, on the axis in which the lines differ."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from recurc.evaluate.measured import Part
from recurc.report.costs import cost_of
from recurc.report.numbers import count_text
from recurc.report.plots import cost_axis
from recurc.report.sweep_page import cells, draw
from recurc.report.timing import seconds_text
from recurc.study.sweep import Row, with_front
from recurc.study.variants import Outcome, Variant
from tests.study.rows import not_asked

N = 200


def row(exact: int, macs: int, size: int, shift: int = 0, name: str = "x") -> Row:
    """`exact` of N puzzles are right, from number `shift` on."""
    solved = np.roll(np.arange(N) < exact, shift)[None]
    ones = np.ones((1, N), np.float32)
    part = Part(solved.astype(np.uint16), np.ones(N, np.uint16), ones, ones, ones, ones, solved, *not_asked(N))
    variant = Variant("int8", "int8-row", steps=1, h_cycles=1, l_cycles=1, engine="device", name=name)
    outcome = Outcome(variant, part, macs, size)
    return Row(outcome, replace(outcome, variant=replace(variant, engine="reference")))


def marks(*rows: Row) -> str:
    return "".join("*" if r.pareto else "~" if r.tied else "." for r in with_front(rows))


def test_a_dearer_line_is_on_the_front_when_it_solves_surely_more():
    assert marks(row(100, 10, 1), row(150, 20, 1), row(190, 40, 1)) == "***"
    assert marks(row(190, 10, 1), row(150, 20, 1)) == "*.", "less, for more work"


def test_what_is_better_by_chance_is_not():
    # 4 puzzles more, 24 of them in one direction and 20 in the other: 2.0 ± 3.3 points.
    assert marks(row(150, 10, 1), row(154, 20, 1, shift=20)) == "*~"
    assert marks(row(154, 10, 1), row(150, 20, 1, shift=20)) == "*~", "and nor is it surely beaten"
    assert marks(row(150, 10, 1), row(151, 20, 1)) == "*~", "one puzzle is no more than its error"


def test_of_one_cost_the_fewest_bytes_among_those_as_good_as_the_best():
    assert marks(row(150, 10, 300), row(154, 10, 400, shift=20), row(100, 10, 100), row(100, 20, 1)) == "*~.."
    assert cost_of([{"macs": 10}, {"macs": 10}]) == "bytes", "all of one depth"


def test_where_all_take_the_same_work_bytes_are_the_cost():
    assert marks(row(100, 10, 100), row(150, 10, 200), row(151, 10, 400), row(190, 10, 800)) == "**~*"
    assert marks(row(100, 10, 100), row(150, 10, 200), row(151, 20, 50)) == ".*~", "else the work is"


def test_what_solves_nothing_has_no_mark():
    assert marks(row(0, 10, 1), row(0, 20, 1)) == ".."
    assert marks(row(0, 10, 1), row(5, 20, 1)) == ".*"


@pytest.mark.parametrize(
    "macs, name, label", [((10, 10), "accuracy-bytes", "bytes:"), ((10, 40), "accuracy-macs", "multiply-adds")]
)
def test_the_plot_s_axis_is_what_the_lines_differ_in(macs, name, label):
    pytest.importorskip("matplotlib")
    rows = with_front([row(100, macs[0], 70_000, name="a"), row(150, macs[1], 90_000, name="b")])
    lines = [r.as_dict() for r in rows]
    found = {p.image: p for p in draw(lines, (1, 1), None)}
    svg = found[f"{name}.png"].svg
    text = " ".join(ET.fromstring(svg).itertext())
    assert label in text and "Pareto front" in text
    ticks = [w for w in text.split("\n") if w.strip().endswith(" k")]
    assert name != "accuracy-bytes" or len(ticks) >= 2, "an axis of no decade has ticks too"
    assert cells(lines[1])[0] == "*b"


@pytest.mark.parametrize(
    "costs, spelled, ticks",
    [
        ((0.2, 20.0), seconds_text, ["200 ms", "500 ms", "1 s", "2 s", "5 s", "10 s", "20 s"]),
        ((1.9e8, 6.2e9), count_text, ["200 M", "500 M", "1 G", "2 G", "5 G"]),
        ((70_000, 90_000), count_text, ["80 k"]),
    ],
)
def test_ticks_are_spelled_and_there_are_some(costs, spelled, ticks):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axis = figure.subplots()
    cost_axis(axis, costs, spelled)
    figure.draw_without_rendering()
    found = [label.get_text() for label in axis.get_xticklabels()]
    assert len(found) >= 3 and set(ticks) <= set(found) and axis.get_xlim()[0] < costs[0] < costs[1] < axis.get_xlim()[1]
