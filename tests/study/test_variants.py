"""Variants: fake quantization against the device's engine, definitions of the schemes, results by step, the store."""

import threading
import time

import numpy as np
import pytest
import torch

import recurc.study.workbench as workbench_module
from recurc.errors import UsageError
from recurc.evaluate.layer_damage import layers_alone
from recurc.evaluate.measured import Asking, Part
from recurc.evaluate.solving import solve_puzzles
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.solve import Policy
from recurc.study import units
from recurc.study.fake import ACTIVATIONS, round_activations, weight_schemes
from recurc.study.memo import Memo
from recurc.study.store import Store, content
from recurc.study.units import Threads, chunk_size
from recurc.study.variants import Variant
from recurc.study.workbench import Workbench, evaluate_variant
from recurc.symmetries import draw, named
from tests.randmodels import random_inputs, random_reasoner, sudoku4
from tests.study.bench import split, workbench
from tests.study.rows import not_asked

# -- against the device -------------------------------------------------------------------------------------------------


def both(bench: Workbench, **what):
    return bench.evaluate([Variant(engine=engine, steps=2, **what) for engine in ("device", "fake")])


@pytest.mark.parametrize(
    "what",
    [
        {"precision": "int8"},
        {"precision": "int4"},
        {"precision": "int4-g32"},
        {"precision": "int2"},
        {"precision": "int4-naive", "carry": "int8"},
        {"precision": "int8", "carry": "fp16"},
    ],
    ids=str,
)
def test_fake_quantization_agrees_with_the_device(what):
    device, fake = both(workbench(), **what)
    assert (device.variant.engine, fake.variant.engine) == ("device", "fake")
    assert np.abs(device.phi_by_step - fake.phi_by_step).max() < 1e-3
    assert abs(device.exact - fake.exact) <= 1 / 24 and abs(device.cell - fake.cell) < 0.01
    assert device.bytes == fake.bytes and device.macs == fake.macs
    # It is the rounding that agrees, not that there is none.
    assert 1 - device.phi_first > 1e-6 and abs(device.phi_first - fake.phi_first) < 0.2 * (1 - device.phi_first)


def test_fake_attention_agrees_with_the_device():
    model = random_reasoner("attention", seq=9, hidden=32, heads=4, steps=2)
    inputs, ids = random_inputs(model, 16)
    data = split("test").take(16)
    data = type(data)(inputs, inputs.astype(np.int32), ids, 9, 7, 3, None, data.path, "test")
    device, fake = both(Workbench(model, data), precision="int8")
    assert 1e-6 < 1 - device.phi_first < 0.02
    assert abs(device.phi_first - fake.phi_first) < 0.3 * (1 - device.phi_first)


def test_plain_fp32_is_the_reference_and_its_device_code_nearly():
    plain, device = workbench().evaluate([Variant("fp32", "fp32", steps=2), Variant("fp32", "fp32", steps=2, engine="device")])
    assert plain.variant.engine == "reference" and plain.phi_first == 1 and plain.kept == 1
    assert 1 - device.phi_last < 1e-5 and device.exact == plain.exact


# -- definitions --------------------------------------------------------------------------------------------------------


def rounded(x, name, peak=None):
    return round_activations(torch.tensor(x, dtype=torch.float32), ACTIVATIONS[name], peak).numpy()


def test_rows_and_tensors_have_scales_of_their_own():
    x = np.array([[[127.0, 0.6], [1.0, 0.26]], [[12.7, 0.06], [0.1, 0.026]]])
    rows = rounded(x, "int8-row")
    assert np.allclose(rows[0, 0], [127, 1]) and np.allclose(rows[0, 1], [1, 33 / 127]), "a scale a row"
    tensors = rounded(x, "int8-tensor")
    assert np.allclose(tensors[0], [[127, 1], [1, 0]]), "a scale a puzzle"
    assert np.allclose(tensors[1], tensors[0] / 10), "not one for the whole batch"
    assert np.array_equal(rounded(x, "fp32"), np.float32(x))


def test_static_scales_clip():
    assert np.allclose(rounded([[[300.0, -300.0, 63.6]]], "int8-static", 127.0), [[[127, -127, 64]]])


def test_blocks_have_powers_of_two():
    x = np.zeros((1, 1, 40))
    x[0, 0, 0], x[0, 0, 1], x[0, 0, 33] = 5.0, 0.6, 0.05
    found = rounded(x, "int4-block32")[0, 0]
    assert found.shape == (40,) and found[0] == 5 and found[1] == 1, "scale 1 for a peak of 4 to 8"
    assert found[33] == np.float32(6 / 128), "a scale of its own: 2^-7 for a peak of 2^-5 to 2^-4"
    assert np.array_equal(rounded(np.zeros((1, 2, 8)), "int4-block32"), np.zeros((1, 2, 8)))


@pytest.mark.parametrize("name", ["int4-g32", "int4-mx32"])
def test_group_schemes_have_sixteen_levels_a_group(name):
    w = np.random.default_rng(0).normal(size=(5, 70)).astype(np.float32) * np.logspace(0, -2, 70).astype(np.float32)
    stored = weight_schemes()[name].quantize(w, None, "min-max")
    back = stored.dequantized()
    assert back.shape == w.shape and stored.stored_bytes < w.size
    for start in (0, 32, 64):
        group = slice(start, start + 32)
        peak = np.abs(w[:, group]).max(axis=1)
        assert (np.abs(back[:, group] - w[:, group]).max(axis=1) <= peak / 7 * 1.01).all()
        assert all(len(np.unique(row[group])) <= 16 for row in back)


@pytest.mark.parametrize("precision", ["int4-g32", "int2-g32"])
def test_weights_come_back_from_the_store_as_they_were(precision, tmp_path):
    """Error feedback is done once, then read from the store; heads that a precision stores otherwise are no exception."""
    data, calibration = split("test").take(4), split("train").take(8)
    found = []
    for _ in range(2):
        bench = Workbench(sudoku4(), data, calibration, store=Store(tmp_path))
        found.append(bench.model(Variant(precision, steps=1).resolved(sudoku4().config)))
    assert Variant(precision).resolved(sudoku4().config).engine == "device"
    for name, w in found[0].weights.items():
        again = found[1].weights[name]
        assert again.form == w.form and (again.integers == w.integers).all() and (again.scale == w.scale).all()
    assert found[0].layers == found[1].layers and found[0].precision is found[1].precision is precision_named(precision)


@pytest.mark.parametrize("layers", [(), (("lm_head.weight", "int2"), ("q_head.weight", "int8"))])
def test_heads_are_those_of_a_build(layers):
    """A variant's weights are what `quantize` gives for the same precision, calibration and layers."""
    bench = workbench(4)
    variant = bench.resolve(Variant("int2", layers=layers))
    built = quantize_model(sudoku4(), precision_named("int2"), bench.calibration(), layer_precisions=dict(layers))
    found = bench.model(variant)
    assert found.layers == built.layers and found.forms == built.forms
    assert all((found.weights[name].integers == w.integers).all() for name, w in built.weights.items())


def test_unknown_and_impossible_variants_are_refused():
    bench = workbench(4)
    for variant, word in (
        (Variant("int5"), "int5"),
        (Variant(activations="int9"), "int9"),
        (Variant(transform="x"), "'x'"),
        (Variant("int8", "int4-row", engine="device"), "int4-row"),
    ):
        with pytest.raises(UsageError, match=word):
            bench.resolve(variant)
    with pytest.raises(UsageError, match="calibration data"):
        Workbench(sudoku4(), split("test").take(4)).resolve(Variant(activations="int8-static"))


# -- results ------------------------------------------------------------------------------------------------------------


def test_one_run_has_all_smaller_numbers_of_steps():
    variant = Variant("int4", "int8-tensor", method="min-max")
    bench = workbench()
    deep, shallow = (bench.evaluate([Variant(**{**vars(variant), "steps": s})])[0] for s in (5, 2))
    cut = deep.until(2)
    for name in ("right", "margins", "same", "phi", "flat", "kept"):
        assert np.array_equal(getattr(cut.part, name), getattr(shallow.part, name)), name
    assert cut.as_dict() == shallow.as_dict()
    assert cut.macs * 5 == deep.macs * 2
    with pytest.raises(ValueError):
        deep.until(6)


def test_halting_takes_the_first_stop_within_the_steps():
    ones = np.ones((3, 2), dtype=np.float32)
    part = Part(
        right=np.array([[4, 2], [4, 4], [3, 4]], dtype=np.uint16),
        cells=np.array([4, 4], dtype=np.uint16),
        margins=np.array([[1, -1], [-1, -1], [-1, -1]], dtype=np.float32),
        same=np.ones((3, 2), dtype=np.uint16),
        phi=ones,
        flat=ones,
        kept=ones > 0,
        **dict(zip(("taken", "believed", "correct"), not_asked(2))),
    )
    from recurc.study.variants import Outcome

    outcome = Outcome(Variant().resolved(sudoku4().config), part, 10, 1)
    assert outcome.mean_steps == 2 and outcome.halted_exact == 1 and outcome.exact == 0.5 and outcome.halted_macs == 20
    assert outcome.until(2).mean_steps == 1.5 and outcome.until(1).halted_exact == 0.5


def test_transformed_models_are_compared_with_the_checkpoint():
    from recurc.study.ladder import noisy_copy

    bench = workbench(subjects={"noise": noisy_copy(sudoku4(), 0.9)})
    plain, noise = bench.evaluate([Variant("fp32", "fp32", steps=1), Variant("fp32", "fp32", steps=1, transform="noise")])
    assert 0.1 < noise.phi_first < 0.9 and plain.phi_first == 1 and noise.kept < 1


def test_chunks_stay_small():
    config = sudoku4().config
    assert chunk_size(config, 1) == 64
    big = random_reasoner("attention", seq=900, hidden=512, heads=8, layers=0).config
    assert chunk_size(big, 16) * 4 * big.rows * big.hidden_size * 16 <= 64 << 20


# -- the store ----------------------------------------------------------------------------------------------------------

VARIANTS = [Variant("fp32", "fp32", steps=2), Variant("int4", "int8-tensor", steps=2)]


def test_nothing_is_computed_twice(tmp_path, monkeypatch):
    seen = []
    first = workbench(70, store=Store(tmp_path)).evaluate(VARIANTS, progress=seen.append)
    assert sum(seen) == 140

    def never(*_, **__):  # calibrate is called with keywords, and may come first
        raise AssertionError("computed again")

    monkeypatch.setattr(units, "run_part", never)
    monkeypatch.setattr(workbench_module, "calibrate", never)
    again = workbench(70, store=Store(tmp_path)).evaluate(VARIANTS)
    assert [o.as_dict() for o in again] == [o.as_dict() for o in first]
    with pytest.raises(AssertionError):
        workbench(70, store=Store(tmp_path)).evaluate([Variant("int4", "int4-row", steps=2)])
    with pytest.raises(AssertionError, match="again"):
        workbench(70, store=Store(tmp_path), seed=1).evaluate(VARIANTS)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    real, done = units.run_part, []

    def breaks(subject, chunk, progress):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk.key)
        return real(subject, chunk, progress)

    monkeypatch.setattr(units, "run_part", breaks)
    with pytest.raises(KeyboardInterrupt), Threads(1) as one:
        workbench(140, store=Store(tmp_path)).evaluate(VARIANTS, one)
    monkeypatch.setattr(units, "run_part", lambda s, c, p: (done.append(c.key), real(s, c, p))[1])
    found = workbench(140, store=Store(tmp_path)).evaluate(VARIANTS)
    assert len(done) <= 6 + 1 and found[0].n == 140, "three chunks of two variants, and at most one twice"


def test_what_runs_when_interrupted_is_kept(tmp_path, monkeypatch):
    real, begun, interrupted = units.run_part, [], threading.Event()

    def waits(subject, chunk, progress):
        begun.append(chunk.key)
        if len(begun) == 2:
            assert interrupted.wait(60)
        return real(subject, chunk, progress)

    def interrupt(_):
        while len(begun) < 2:
            time.sleep(0.01)
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(units, "run_part", waits)
    with pytest.raises(KeyboardInterrupt), Threads(2) as two:
        workbench(140, store=Store(tmp_path)).evaluate(VARIANTS, two, interrupt)
    assert 2 <= len(begun) < 6
    assert workbench(140, store=Store(tmp_path)).evaluate(VARIANTS)[0].n == 140
    assert len(begun) == 6, "three chunks of two variants, none twice"


def test_content_tells_models_apart():
    other = random_reasoner(seed=3)
    assert content(sudoku4()) == content(sudoku4()) != content(other)
    tensors = {**other.tensors, "H_init": other.tensors["H_init"] + 1}
    assert content(type(other)(other.config, tensors, "random", other.sha256)) != content(other)


def test_memo_makes_each_value_once():
    made = []
    memo = Memo(2)
    for key in "abab":
        memo.get(key, lambda key=key: made.append(key))
    memo.get("c", lambda: made.append("c"))
    memo.get("a", lambda: made.append("a"))
    assert "".join(made) == "abca"


def test_layers_behind_a_low_phi_are_found_by_trying_each():
    model, name = sudoku4(), "L_level.layers.1.mlp.gate_up_proj.weight"
    data = split("test").take(4)
    weights = dict(model.tensors)
    weights = {n: weights[n] for n in model.linear_names()}
    weights[name] = np.rint(weights[name] * 2) / 2
    found = layers_alone(model, weights, data.inputs, data.puzzle_ids, model.config.trained.but(steps=1))
    assert len(found) == len(weights)
    assert found[0][0] == name and found[0][1] < 0.999 and all(phi > 1 - 1e-5 for _, phi in found[1:])


def test_evaluate_variant_alone():
    outcome = evaluate_variant(sudoku4(), Variant("int8", "int8-tensor", steps=1), split("test"), limit=5)
    assert outcome.n == 5 and outcome.steps == 1 and outcome.variant.engine == "fake"


def test_puzzles_asked_again_are_those_that_solving_gives():
    """In the device's arithmetic and in torch, and kept apart from results of puzzles that nobody asked again."""
    forms = draw(named("sudoku:2x2", 16, 6), 2, 0)
    variants = [Variant("int8", steps=3), Variant("fp32", "fp32", steps=3), Variant("int8", "int8-tensor", steps=3)]
    plain = workbench()
    once = plain.evaluate(variants[:1])[0]
    policy = Policy(1, 2, 2, float(np.quantile(once.part.margins[1], 0.7)), 0)  # a threshold that stops some
    bench = workbench(asking=Asking(policy, forms, "sudoku:2x2"))
    outcomes = bench.evaluate(variants)
    engine = units._engine(bench.subject(bench.resolve(variants[0])))
    found = solve_puzzles(engine, bench.data, forms, policy)
    device = outcomes[0]
    assert np.array_equal(device.part.taken, found.steps) and np.array_equal(device.part.believed, found.solved)
    assert np.array_equal(device.part.correct, found.right) and 0 < found.solved.sum() < len(found.solved)
    assert device.asked.as_dict() == {
        "exact": found.scores.exact, "exact_error": found.scores.exact_error, "mean_steps": found.mean_steps,
        "solved": int(found.solved.sum()), "wrong_solved": found.wrong_solved,
    }  # fmt: skip
    assert all(o.asked is not None and o.asked.mean_steps > 1 for o in outcomes)
    assert once.asked is None and plain.key(bench.resolve(variants[0])) != bench.key(bench.resolve(variants[0]))
    other = workbench(asking=Asking(policy, forms[:1], "sudoku:2x2"))
    assert other.key(bench.resolve(variants[0])) != bench.key(bench.resolve(variants[0]))
