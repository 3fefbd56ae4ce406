"""The verdict follows from the numbers: made-up rows, in both directions."""

from dataclasses import replace

import numpy as np
import pytest

from recurc.study.methods import _with_updates
from recurc.study.verdict import beside_outliers, sorted_out, verdict
from tests.study.rows import outcome, rows


def said(**exact):
    return " ".join(verdict(rows(**exact)))


def test_methods_are_sorted_by_what_they_leave():
    made = rows(fp32=0.9, int8=0.89, int4_naive=0.5, int8_x_int4_a_row=0.87, pruned_25=0.02)
    assert [[r.method.slug for r in some] for some in sorted_out(made)] == [
        ["int8"],
        ["int8-x-int4-a-row"],
        ["int4-naive"],
        ["pruned-25"],
    ]
    assert "Open: int8 x int4 a row (87.0 %) loses more than 2 points" in " ".join(verdict(made))
    text = said(fp32=0.9, int8=0.89, int4_naive=0.5, int8_x_static_int8=0.7, pruned_25=(0.02, 0.6))
    assert "fp32 solves 90.0 % of 100 puzzles" in text and "Kept: int8 (89.0 %) loses at most" in text
    assert "Most is lost with int4 naive, 40.0 ± 4.9 points" in text and "with pruned 25 % 60" in text
    assert "Destroyed: pruned 25 % (2.0 %) leaves surely less than a tenth" in text
    text = said(fp32=0.9, int8=0.9)
    assert "Damaged" not in text and "Destroyed" not in text


def test_every_finding_is_a_paragraph_of_its_own():
    found = verdict(rows(fp32=0.9, int8=0.9, int4_naive=0.5, int4_calibrated=0.9, pruned_25=0.0, int8_x_static_int8=0.5))
    assert [text.split()[0].rstrip(":") for text in found] == ["fp32", "Kept", "Damaged", "Destroyed", "Naive", "With", "The"]
    assert all(text.endswith(".") for text in found)


def test_few_puzzles_destroy_and_keep_nothing():
    few = [replace(r, outcome=outcome(r.method, r.outcome.exact, n=16)) for r in rows(fp32=0.9375, int8=0.9375, pruned_25=0.0)]
    few = [few[0], *(replace(r, **dict(zip(("loss", "loss_se"), r.outcome.loss(few[0].outcome)))) for r in few[1:])]
    text = " ".join(verdict(few))
    assert "Destroyed" not in text and "Damaged: with pruned 25 % (0.0 %)" in text, "0 of 16 may be 1 of 10"
    assert "Kept" not in text and "16 puzzles leave a standard error of up to 6.2 points" in text, "one of them is 6 points"
    assert "Destroyed" in said(fp32=0.9, pruned_25=0.0)


def test_a_method_that_trained_too_little_destroys_nothing():
    made = rows(fp32=0.9, int4_naive=0.0, int4_naive_qat_long=0.0, distilled=0.0)
    short = [replace(r, method=_with_updates(r.method, 10)) if r.method.updates else r for r in made]
    text = " ".join(verdict(short))
    assert "Destroyed: int4 naive (0.0 %) leaves" in text, "which did not train at all"
    assert "QAT long 0.0 % (10 of its usual 400 updates)" in text and "distilled 0.0 % (10 of its usual 200" in text
    assert "so short a training is no test of a method" in text and "does not repair naive int4 so far" in text
    text = " ".join(verdict(made))
    assert "QAT long 0.0 % (400 updates)" in text and "so far" not in text and "usual" not in text
    assert "Destroyed: int4 naive (0.0 %) leaves" in text


def test_naive_against_calibrated_both_ways():
    assert "+40.0 ± 4.9 points." in said(fp32=0.9, int4_naive=0.5, int4_calibrated=0.9)
    assert "-40.0 ± 4.9 points." in said(fp32=0.9, int4_naive=0.9, int4_calibrated=0.5)
    assert "within the error" in said(fp32=0.9, int4_naive=0.9, int4_calibrated=0.9)


def test_static_scales_with_and_without_the_peer():
    text = said(fp32=0.9, int8=0.9, int8_x_static_int8=0.0, onnxruntime_int8_static=0.01)
    assert "with static scales 0.0 % (onnxruntime's own static pipeline: 1.0 %): -90.0" in text
    assert "onnxruntime" not in said(fp32=0.9, int8=0.9, int8_x_static_int8=0.9)


def test_activations_name_the_mixer():
    made = rows(fp32=0.9, int8_x_int4_a_row=0.1, int8_x_int4_blocks=0.6)
    for mixer, word in (("mlp_t", "by an MLP"), ("attention", "by attention")):
        assert f"{word}, int4 activations with a scale a row leave 10.0 %, in blocks of 32 60.0 %." in " ".join(
            verdict(made, mixer=mixer)
        )


@pytest.mark.parametrize(
    "naive, qat, words",
    [
        (0.0, 0.9, "repairs naive int4:"),
        (0.0, 0.5, "repairs part of what naive int4 loses"),
        (0.5, 0.5, "does not repair"),
        (0.5, 0.1, "makes naive int4 worse"),
        (0.9, 0.9, "finds no loss beyond the error to repair:"),
        (0.9, 0.3, "to repair, and costs"),
    ],
)
def test_training_in_the_loop_every_way(naive, qat, words):
    text = said(fp32=0.9, int4_naive=naive, int4_naive_qat_long=qat, int4_naive_fine_tuning=0.07)
    assert words in text and "training without the quantizer leaves 7.0 %" in text
    assert "in the loop" not in said(fp32=0.9, int4_naive=naive) + said(fp32=0.9, int4_naive_qat_long=qat)


def test_learning_by_heart_is_said():
    def told(fp32, trained):
        made = rows(fp32=0.9, int4_naive=0.0, int4_naive_qat_long=0.5)
        seen = {"fp32": (fp32, ()), "int4-naive-qat-long": (trained, (1.0,))}
        return " ".join(
            verdict(
                [
                    replace(r, seen=outcome(r.method, seen[r.method.slug][0]), losses=seen[r.method.slug][1])
                    if r.method.slug in seen
                    else r
                    for r in made
                ],
                learning=512,
            )
        )

    assert "The 512 puzzles learned from come off better" in told(1.0, 1.0)
    assert "lost to fp32: 0.0 points of those, 40.0 of the test puzzles" in told(1.0, 1.0)
    assert "learned from" not in told(1.0, 0.6), "easier puzzles, the same loss"


def test_a_model_that_solves_nothing_is_not_judged_by_accuracy():
    text = said(fp32=0.0, int8=(0.0, 0.5, 0.99), int4_naive=(0.0, 0.5, 0.2))
    assert "accuracy tells no method from another" in text and "int4 naive, 0.200" in text and "Kept" not in text
    text = said(fp32=0.02, int8=(0.02, 0.5, 0.99), int4_naive=(0.0, 0.5, 0.2))
    assert "no more than 2 points to lose" in text and "Kept" not in text, "what solves nothing would be within the tolerance"
    text = " ".join(beside_outliers(rows(fp32=0.02, int8=0.02), rows(fp32=0.02, int8=0.0)))
    assert "next to nothing to lose" in text and "No method" not in text


def test_how_sure_it_is_that_a_model_is_kept():
    made = rows(fp32=0.9, int8=0.9)
    assert "at most 2 points of puzzles exact (standard error up to 1.5)" in " ".join(
        verdict([made[0], replace(made[1], loss_se=0.015)])
    )
    text = " ".join(verdict([made[0], replace(made[1], loss_se=0.075)]))
    assert "Kept" not in text and "leave a standard error of up to 7.5 points" in text


def test_the_smallest_that_keeps_it():
    made = rows(fp32=0.9, int8=(0.9, None, 0.9, 500), int4_calibrated=(0.9, None, 0.9, 300), int4_naive=(0.1, None, 0.9, 200))
    assert "int4 calibrated, 300 bytes" in " ".join(verdict(made))
    assert "smallest" not in said(fp32=0.9, int8=(0.9, None, 0.9, 5 << 20))
    naive, fine = (0.9, None, 0.98, 300), (0.9, None, 0.99, 300)
    assert "is int4 calibrated, 300 bytes" in said(fp32=0.9, int4_naive=naive, int4_calibrated=fine), "of equals the best phi"
    assert "is int4 calibrated, 300 bytes" in said(fp32=0.9, int4_calibrated=fine, int4_naive=naive)
    text = said(fp32=0.9, int4_calibrated=fine, int4_naive=(0.9, None, 0.98, 290))
    assert "is int4 calibrated, 300 bytes" in text, "build refuses int4-naive without a further word"


def test_beside_its_outlier_copy():
    text = " ".join(beside_outliers(rows(fp32=0.9, int8=0.9, int4_naive=0.88), rows(fp32=0.9, int8=0.9, int4_naive=0.0)))
    assert "scores the same" in text and "int4 naive 88.0 % and 0.0 %" in text and "int8" not in text
    text = " ".join(beside_outliers(rows(fp32=0.9, int8=0.9), rows(fp32=0.9, int8=0.9)))
    assert "No method" in text


def test_no_error_bar_strikes_a_number_out():
    figure_module = pytest.importorskip("matplotlib.figure")
    from recurc.report.study_page import survival

    figure = figure_module.Figure()
    survival([{"name": "int8", "group": "weights", "exact": 0.06, "cell": 0.8, "n": 16}])(figure)
    axis = figure.axes[0]
    numbers = {text.xy[1] for text in axis.texts}
    assert numbers == {0} and all(abs(y) > 0.15 for line in axis.collections for part in line.get_segments() for _, y in part)


def test_asking_again_repairs_what_it_does():
    made = rows(fp32=0.9, int8=0.9, int4_naive=0.5, int8_x_static_int8=0.6, pruned_25=0.0)

    def asked(row, exact, steps=4):
        n = row.outcome.n
        part = replace(row.outcome.part, taken=np.full(n, steps, np.uint16), correct=np.arange(n) < round(exact * n))
        return replace(row, outcome=replace(row.outcome, part=part))

    again = [asked(r, e) for r, e in zip(made, (0.99, 0.99, 0.98, 0.8, 0.0))]
    text = " ".join(verdict(again))
    assert "Asked again, fp32 solves 99.0 % in 4.00 steps on average." in text
    assert "this repairs int4 naive (50.0 % to 98.0 %)" in text
    assert "Not repaired: int8 x static int8 (60.0 % to 80.0 %), pruned 25 % (0.0 % to 0.0 %)" in text
    assert "Asked again" not in " ".join(verdict(made)), "nobody asked"
    assert "Asked again" not in " ".join(verdict(again[:2])), "nothing is damaged"
