"""Where verdicts of a gate, a study and an outcome turn: exactly at their limits, on either side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recurc.errors import UsageError
from recurc.evaluate.halting import Halt, margin
from recurc.evaluate.measured import Part, measure
from recurc.evaluate.runs import Run
from recurc.study import ladder as ladder
from recurc.study.ladder import LadderResult, affordable, noisy_copy, points_of, subjects
from recurc.study.threshold import threshold
from recurc.study.units import CHUNK_BYTES, chunk_size
from recurc.study.variants import Outcome, Variant
from recurc.study.verdict import sorted_out, verdict
from tests.randmodels import random_reasoner, sudoku4
from tests.study.bench import split
from tests.study.points import point
from tests.study.rows import not_asked, rows

CONFIG = sudoku4().config


def part(**arrays) -> Part:
    """4 steps of 3 puzzles of 5 cells, all right, none stopping."""
    ones = np.ones((4, 3), np.float32)
    made = {"right": np.full((4, 3), 5, np.uint16), "cells": np.full(3, 5, np.uint16), "margins": -ones, "phi": ones,
            "same": np.zeros((4, 3), np.uint16), "flat": ones, "kept": ones > 0,
            **dict(zip(("taken", "believed", "correct"), not_asked(3)))}  # fmt: skip
    return Part(**{**made, **{name: np.asarray(value, made[name].dtype) for name, value in arrays.items()}})


def outcome(**arrays) -> Outcome:
    return Outcome(Variant().resolved(CONFIG), part(**arrays), 10, 1)


# -- the gate -------------------------------------------------------------------------------------------------------------


def test_harm_begins_beyond_the_tolerance_and_beyond_two_errors():
    assert not point(0.9, 0.02, se=0).harmful(0.02) and point(0.9, np.nextafter(0.02, 1), se=0).harmful(0.02)
    assert not point(0.9, 0.25, se=0.125).harmful(0.02) and point(0.9, 0.25, se=0.1249).harmful(0.02)


def test_of_thresholds_with_equally_many_mistakes_the_highest_is_taken():
    """Refusing what is good costs a user a build, letting through what is bad costs an answer."""
    points = [point(0.9, 0), point(0.8, 0.5), point(0.7, 0), point(0.6, 0.5)]
    found = threshold(points)
    assert found.phi == pytest.approx(0.85) and (found.missed, found.alarms) == (0, 1)


def test_mistakes_are_shares_of_each_side():
    """Three of ten harmless variants below do not outvote the only harmful one."""
    points = [point(0.99 - 0.001 * i, 0) for i in range(7)] + [point(phi, 0) for phi in (0.58, 0.55, 0.5)] + [point(0.6, 0.5)]
    found = threshold(points)
    assert (found.missed, found.alarms, found.harmful, found.harmless) == (0, 3, 1, 10)
    assert 0.6 < found.phi < 0.99


def test_a_point_at_the_threshold_counts_as_above_it():
    points = [point(0.9, 0), point(0.9, 0.5), point(0.5, 0.5)]
    found = threshold(points)
    assert found.phi == pytest.approx(0.7) and (found.missed, found.harmful) == (1, 2)
    assert found.safe is None, "nothing lies above the highest harmful one"


def test_suggestions_are_rounded_to_three_digits():
    assert threshold([point(0.98765, 0), point(0.12345, 0.5)]).suggestion == round((0.98765 + 0.12345) / 2, 3)
    assert threshold([point(0.98765, 0), point(0.96543, 0)]).suggestion == 0.965


def test_a_model_has_its_own_gate_once_it_has_more_to_lose_than_the_tolerance():
    made = LadderResult("m", 10, 2, 0.02, (point(0.9, 0), point(0.5, 0.6)))
    assert made.own("", 0.02) is None and replace(made, fp32_exact=0.0201).own("", 0.02) is not None


def test_depth_is_halved_until_it_can_be_afforded(monkeypatch):
    macs, steps = ladder.lower(CONFIG).macs_per_step, CONFIG.halt_max_steps
    half = steps // 2
    for budget, used in ((steps, steps), (steps - 1, half), (half, half), (half - 1, half // 2), (0, 1)):
        monkeypatch.setattr(ladder, "MAC_BUDGET", macs * 7 * budget)
        assert affordable(sudoku4(), 7) == used, budget


def test_noise_is_of_each_rows_own_size_and_of_its_seed():
    model, name = sudoku4(), "lm_head.weight"
    tensors = {**model.tensors, name: model.tensors[name] * np.float32([[1], [100], [0], [1], [1], [1]])}
    quiet = replace(model, tensors=tensors)
    error = np.abs(noisy_copy(quiet, 0.5).tensors[name] - tensors[name])
    size = np.sqrt(np.mean(np.square(tensors[name]), axis=1))
    assert (error[2] == 0).all() and error[1].mean() > 20 * error[0].mean()
    assert np.allclose(error[:2].mean(axis=1) / size[:2], 0.4, atol=0.15), "half of each row's root mean square"
    others = [noisy_copy(model, share, seed) for share, seed in ((0.5, 0), (0.5, 1), (0.25, 0))]
    assert len({o.sha256 for o in others} | {model.sha256}) == 4
    assert not np.array_equal(others[0].tensors[name], others[1].tensors[name])
    assert len({s.sha256 for s in subjects(model).values()}) == len(subjects(model)), "each is a model of its own to the store"


def test_the_first_outcome_is_fp32_and_no_point():
    first, second = outcome(), replace(outcome(right=np.zeros((4, 3))), variant=replace(Variant().resolved(CONFIG), name="bad"))
    (found,) = points_of("m", [first, second])
    assert (found.label, found.loss, found.exact) == ("bad", 1.0, 0.0)


@pytest.mark.parametrize("train", [False, True])
def test_static_scales_are_on_the_ladder_only_where_there_is_data_to_calibrate_them(monkeypatch, train):
    seen = []

    class Bench:
        def __init__(self, *_, **__) -> None:
            pass

        def evaluate(self, variants, *_):
            seen.extend(variants)
            return [outcome()] * 2

    monkeypatch.setattr(ladder, "Workbench", Bench)
    ladder.measure_ladder("m", sudoku4(), split("test").take(4), split("train") if train else None)
    assert ("int8-static" in {v.activations for v in seen}) == train and seen[0].plain


# -- the study's verdict --------------------------------------------------------------------------------------------------


def test_methods_at_the_limits_of_kept_open_damaged_and_destroyed():
    fp32, row = rows(fp32=0.5, int8=0.5)

    def kind(loss, se, exact=0.4):
        changed = replace(row, loss=loss, loss_se=se, outcome=rows(fp32=0.5, int8=exact)[1].outcome)
        return [bool(some) for some in sorted_out([fp32, changed], 0.02)].index(True)

    assert kind(0.02, 0.0) == 0 and kind(0.0201, 0.0) == 2
    assert kind(0.25, 0.125) == 1 and kind(0.25, 0.1249) == 2
    assert row.outcome.n == 100  # with none of 100 exact, at most 3.9 % are likely to be; with one 5.6 %
    assert kind(0.49, 0.0, exact=0.01) == 2 and kind(0.5, 0.0, exact=0.0) == 3, "surely less than a tenth of fp32's 0.5 is left"

    text = " ".join(verdict(rows(fp32=0.9, int4_naive=0.87, int4_calibrated=0.9)))
    assert "+3.0 ± 1.7 points, within the error" in text, "two standard errors, not one"


# -- outcomes -------------------------------------------------------------------------------------------------------------


def test_halting_is_beyond_the_margin_and_at_the_last_step_at_the_latest():
    margins = [[-1, 0, -1], [0, 0.5, -1], [1, -1, -1], [-1, 2, -1]]
    made = outcome(margins=margins, same=np.ones((4, 3)))

    def stops(*rule):
        return made.stops(Halt(*rule)).tolist()

    assert stops() == [2, 1, 3] and made.mean_steps == 3 and made.halted_macs == 30
    assert stops(0.5) == [2, 3, 3], "what equals the threshold does not stop"
    assert stops(0.0, 2) == [2, 1, 3] and stops(0.0, 3) == [2, 3, 3]
    assert stops(-2.0, 1) == [0, 0, 0] and stops(-2.0, 4) == [3, 3, 3]
    assert stops(-2.0, 1, 2) == [3, 3, 3] and outcome(margins=margins).stops().tolist() == [3, 3, 3], "tokens that change"


def test_a_puzzle_without_labels_is_not_solved():
    made = outcome(cells=[5, 0, 5], right=[[5, 0, 4]] * 4)
    assert made.solved.tolist() == [[True, False, False]] * 4 and made.labelled
    none = outcome(cells=[0, 0, 0], right=np.zeros((4, 3)))
    assert not none.labelled and np.isnan(none.exact) and np.isnan(none.cell) and np.isnan(none.cell_by_step).all()


def test_the_error_of_a_loss_is_of_a_sample():
    good, bad = outcome(), outcome(right=[[5, 0, 5]] * 4)
    loss, error = bad.loss(good)
    assert loss == pytest.approx(1 / 3) and error == pytest.approx(np.std([0, 1, 0], ddof=1) / np.sqrt(3))
    assert bad.first(1).loss(good.first(1)) == (0.0, 0.0), "one puzzle has no error"


def test_fewer_steps_are_the_first_ones():
    made = outcome(right=[[1] * 3, [2] * 3, [3] * 3, [4] * 3])
    assert made.until(2).part.right.tolist() == [[1] * 3, [2] * 3] and made.until(2).part.cells.tolist() == [5] * 3
    assert made.until(4).steps == 4
    for steps in (0, 5):
        with pytest.raises(ValueError, match=f"{steps} of 4"):
            made.until(steps)


def test_only_fp32_in_every_respect_is_the_reference():
    plain = Variant("fp32", "fp32")
    assert plain.plain
    for change in ({"precision": "int8"}, {"activations": "int8-row"}, {"carry": "fp16"}, {"transform": "x"},
                   {"layers": (("lm_head.weight", "int8"),)}):  # fmt: skip
        other = replace(plain, **change)
        assert not other.plain
        with pytest.raises(UsageError, match="reference does not have the arithmetic"):
            replace(other, engine="reference").resolved(CONFIG)
    mixed = Variant("int8", layers=(("lm_head.weight", "int4-mx32"),))
    assert not mixed.on_device and mixed.resolved(CONFIG).engine == "fake"


# -- measurements ---------------------------------------------------------------------------------------------------------


def test_only_cells_that_count_are_counted_and_compared():
    tokens, other = np.array([[[1, 2, 3]]], np.uint8), np.array([[[1, 2, 9]]], np.uint8)
    z = np.ones((1, 1, 2, 4), np.float32)
    run, reference = Run(tokens, np.zeros((1, 1), np.float32), z), Run(other, np.zeros((1, 1), np.float32), z)
    labels, valid = np.array([[1, 9, 3]]), np.array([[True, True, False]])
    found = measure(run, reference, labels, valid)
    assert (found.right[0, 0], found.cells[0], bool(found.kept[0, 0])) == (1, 2, True), "cell 2 differs but does not count"
    assert not measure(run, reference, labels, valid | True).kept[0, 0]


def test_phi_is_a_mean_over_positions_and_flat_is_not():
    z, reference = np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.float32)
    z[0, 0], reference[0, 0] = [[1, 0], [10, 0]], [[0, 1], [10, 0]]
    tokens = np.zeros((1, 1, 1), np.uint8)
    found = measure(
        Run(tokens, np.zeros((1, 1), np.float32), z),
        Run(tokens, np.zeros((1, 1), np.float32), reference),
        np.zeros((1, 1)),
        np.ones((1, 1), bool),
    )
    assert found.phi[0, 0] == pytest.approx(0.5) and found.flat[0, 0] == pytest.approx(100 / 101)


def test_a_run_is_compared_step_by_step_or_with_the_only_step_there_is():
    z = np.zeros((2, 1, 1, 2), np.float32)
    z[0, 0, 0], z[1, 0, 0] = [1, 0], [0, 1]
    run = Run(np.array([[[1]], [[2]]], np.uint8), np.zeros((2, 1), np.float32), z)
    labels, valid = np.zeros((1, 1)), np.ones((1, 1), bool)
    same, last = measure(run, run, labels, valid), measure(run, run.last, labels, valid)
    assert same.phi[:, 0].tolist() == [1, 1] and same.kept[:, 0].tolist() == [True, True]
    assert last.phi[:, 0].tolist() == [0, 1] and last.kept[:, 0].tolist() == [False, True]
    narrow = replace(run, z_H=z[..., :1])
    assert np.isnan(measure(narrow, run, labels, valid).phi).all()


def test_margins_are_what_each_rule_compares():
    q = np.array([[2.0, 3.0]], np.float32)
    assert margin(q, CONFIG.halt_rule).tolist() == [2.0] and margin(
        q, random_reasoner(h_layers=1).config.halt_rule
    ).tolist() == [-1.0]


def test_chunks_halve_when_their_carries_are_too_large():
    config = sudoku4().config
    each = 4 * config.rows * config.hidden_size
    steps = CHUNK_BYTES // (64 * each)
    assert chunk_size(config, steps) == 64 and chunk_size(config, steps + 1) == 32 and chunk_size(config, 10**9) == 1
