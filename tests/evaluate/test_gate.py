"""Which puzzles the gate of `build` judges on, and how sure its number is."""

import numpy as np
import pytest

from recurc.api import Model
from recurc.dataset import Dataset
from recurc.evaluate.fidelity import mean_and_error
from recurc.evaluate.gate import CALIBRATION, GATE_PUZZLES, RANDOM, SPARE, TRAINING, choose, puzzles_for
from tests.randmodels import sudoku4


def split(n: int, seed: int = 1) -> Dataset:
    tokens = np.random.default_rng(seed).integers(1, 6, (n, 16))
    return Dataset.from_arrays(tokens, tokens, vocab_size=6, split="train")


def test_it_judges_on_what_calibration_did_not_use():
    train = split(100)
    found = choose(train, 40, 40, 7, 32)
    seen = {train.sample(40, 7).inputs[i].tobytes() for i in range(40)}
    assert found.kind == SPARE and len(found.inputs) == 32 and not found.note
    assert not any(row.tobytes() in seen for row in found.inputs), "none of them decided the weights"
    assert (train.inputs[list(found.rows)] == found.inputs).all()
    assert choose(train, 40, 40, 7, 32).rows == found.rows != choose(train, 40, 40, 8, 32).rows


def test_what_calibration_was_given_and_had_no_time_for_is_as_good():
    found = choose(split(40), 40, 4, 0, 32)
    assert found.kind == SPARE and len(found.rows) == 32 and not set(found.rows) & set(split(40).order(0)[:4].tolist())


def test_the_same_puzzle_twice_is_one_that_was_seen():
    half = split(20)
    double = Dataset.from_arrays(np.tile(half.inputs, (2, 1)), vocab_size=6, split="train")
    found = choose(double, 30, 30, 0, 32)
    seen = {row.tobytes() for row in double.inputs[double.order(0)[:30]]}
    assert found.kind == CALIBRATION or not any(row.tobytes() in seen for row in found.inputs)
    other = Dataset.from_arrays(np.tile(half.inputs, (2, 1)), puzzle_ids=np.repeat([0, 1], 20), vocab_size=6, split="train")
    assert choose(other, 20, 20, 0, 32).kind == SPARE, "with another puzzle's row it is another input"


def test_none_left_is_said():
    for n, drawn, said in (
        (32, 128, "none of the 32"),
        (38, 32, "only 6 of the 38"),
        (33, 32, "only 1 of the 33 training puzzles is"),
    ):
        found = choose(split(n), drawn, min(drawn, n), 0, 32)
        assert found.kind == CALIBRATION and len(found.inputs) == 32 and said in found.note and "optimistic" in found.note
    assert choose(split(40), 32, 32, 0, 32).kind == SPARE, "eight are enough"
    assert choose(split(33), 32, 32, 0, 1).kind == SPARE, "of a large model one is all that can be afforded"


def test_without_learning_no_puzzle_is_better_than_another():
    found = choose(split(10), 128, 0, 0, 32)
    assert found.kind == TRAINING and len(found.inputs) == 10 and not found.note


def test_large_models_are_judged_on_fewer():
    assert puzzles_for(1) == GATE_PUZZLES and puzzles_for(10**13) == 1


def test_the_standard_error_of_a_mean():
    phi = np.array([0.9, 0.94, 0.98, 0.9])
    mean, error = mean_and_error(phi)
    assert mean == pytest.approx(0.93) and error == pytest.approx(phi.std(ddof=1) / 2)
    assert mean_and_error(phi[:1]) == (0.9, None), "one puzzle tells nothing of its neighbours"


def test_a_quantized_model_takes_them():
    model = Model(sudoku4(), "random")
    learned = model.quantize("int4", split(60), puzzles=20)._gate_inputs()
    assert learned.kind == SPARE and not set(learned.rows) & set(split(60).order(0)[:20].tolist())
    for options, kind in ((("int8", split(60)), TRAINING), (("int4",), RANDOM)):
        assert model.quantize(*options, puzzles=20)._gate_inputs().kind == kind
    assert model.quantize("int4", split(60), puzzles=20, method="min-max")._gate_inputs().kind == TRAINING


def test_few_training_puzzles_that_no_weight_was_made_for_are_judged_on():
    found = choose(split(6), 128, 0, 0, 32)
    assert found.kind == TRAINING and len(found.rows) == 6 and not found.note
