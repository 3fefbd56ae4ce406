"""The gate's statistics, its ladder, and what the command says."""

import numpy as np
import pytest

from recurc.report.sweep_page import gate_verdicts
from recurc.study.ladder import LadderResult, affordable, ladder, noisy_copy, points_of, summary
from recurc.study.threshold import ranks, spearman, threshold
from recurc.study.variants import Variant
from tests.randmodels import sudoku4
from tests.study.bench import workbench
from tests.study.points import point


def test_ranks_share_ties():
    assert ranks([10, 30, 20, 20]).tolist() == [1, 4, 2.5, 2.5]


def test_spearman():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 99]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(0.8), "1 - 6 * 4 / (5 * 24)"
    assert np.isnan(spearman([1, 2, 3], [1, 1, 1])) and np.isnan(spearman([1, 2], [1, 2]))


def test_threshold_parts_harm_from_none():
    found = threshold([point(0.99, 0), point(0.95, 0.01), point(0.9, 0.05), point(0.5, 0.6)])
    assert found.phi == pytest.approx(0.925) and (found.missed, found.alarms) == (0, 0) and found.suggestion == 0.925
    assert (found.harmful, found.harmless, found.safe, found.lowest) == (2, 2, 0.95, 0.5)


def test_threshold_of_overlapping_points_counts_both_mistakes():
    found = threshold([point(0.99, 0), point(0.98, 0.1), point(0.97, 0), point(0.96, 0), point(0.9, 0.2), point(0.8, 0.3)])
    assert found.phi == pytest.approx(0.93) and (found.missed, found.alarms) == (1, 0) and found.safe == 0.99


def test_no_harm_and_only_harm_have_no_threshold():
    none = threshold([point(0.9, 0), point(0.8, 0.01)])
    assert none.phi is None and none.harmful == 0 and none.suggestion == 0.8
    every = threshold([point(0.9, 0.1), point(0.8, 0.2)])
    assert every.phi is None and every.suggestion is None and every.safe is None


def test_a_model_that_solves_nothing_has_nothing_that_could_be_harmful():
    def said(exact):
        return " ".join(gate_verdicts(summary([LadderResult("m", 40, 2, exact, (point(0.99, 0), point(-0.1, exact)))])))

    assert "fp32 solves 0.0 % of 40 puzzles" in said(0.0) and "down to" not in said(0.0)
    assert "no threshold follows" in said(0.02), "all of it is within the tolerance"
    assert "min_fidelity=0.445 parts" in said(0.5)


def test_a_loss_within_its_error_is_no_harm():
    assert not point(0.9, 0.05, se=0.03).harmful(0.02) and point(0.9, 0.05, se=0.02).harmful(0.02)
    assert not point(0.9, 0.05).harmful(0.05)


def test_harm_that_too_few_puzzles_hide_is_said():
    points = (
        point(0.99, 0),
        point(0.95, 0.09, se=0.06),
        point(0.9, 0.05, se=0.03),
        point(0.85, 0.2, se=0.05),
        point(0.8, 0.09, se=0.06),
    )
    gate = LadderResult("m", 32, 2, 0.9, points)
    assert threshold(points).unclear == 2, "below the threshold it makes no difference"
    said = " ".join(gate_verdicts(summary([gate])))
    assert "2 of the harmless variants above it lost more than 2 points" in said and "32 puzzles" in said and "limit=" in said
    assert gate.own("").unclear == 0 and gate.own("").min_fidelity == 0.97, "what is kept takes them for harm"
    assert "0.97 is what keep=True keeps" in said
    sure = LadderResult("m", 32, 2, 0.9, (point(0.99, 0), point(0.5, 0.6)))
    assert "chance" not in " ".join(gate_verdicts(summary([sure]))) and "unclear" not in str(sure.own(""))
    nothing = LadderResult("m", 32, 2, 0.9, points[:3])
    assert "2 of the harmless variants" in " ".join(gate_verdicts(summary([nothing])))


def test_noise_grows_with_its_share_and_is_the_same_every_time():
    model = sudoku4()
    name = "L_level.layers.0.mlp.down_proj.weight"
    error = [np.abs(noisy_copy(model, s).tensors[name] - model.tensors[name]).mean() for s in (0.1, 0.2)]
    assert error[1] == pytest.approx(2 * error[0], rel=1e-4)
    again = noisy_copy(model, 0.1)
    assert np.array_equal(again.tensors[name], noisy_copy(model, 0.1).tensors[name]) and again.sha256 != model.sha256


def test_ladder_and_depth():
    assert ladder()[0].plain and len({v.label for v in ladder()}) == len(ladder())
    assert affordable(sudoku4(), 16) == sudoku4().config.halt_max_steps and affordable(sudoku4(), 10**9) == 1


def test_points_and_summary_of_measured_outcomes():
    bench = workbench(16, subjects={"noise": noisy_copy(sudoku4(), 0.9)})
    outcomes = bench.evaluate(
        [
            Variant("fp32", "fp32", steps=2),
            Variant("int8", "int8-tensor", steps=2),
            Variant("fp32", "fp32", steps=2, transform="noise", engine="fake"),
        ]
    )
    points = points_of("m", outcomes)
    assert [p.label for p in points] == ["int8 x int8-tensor", "fp32, noise"]
    assert points[0].phi_first > points[1].phi_first and points[1].loss > 0.3
    found = summary([LadderResult("m", 16, 2, outcomes[0].exact, points)])
    assert found["all"]["points"] == 2 and found["models"][0]["threshold"]["harmful"] == 1
    assert [p["harmful"] for p in found["points"]] == [False, True]
