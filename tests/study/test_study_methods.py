"""Methods: pruned rows, linear attention, the student, peers, which apply, and the study of the tests' own checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recurc.errors import UsageError
from recurc.evaluate.runs import Kept, record
from recurc.evaluate.stepping import TorchStepper
from recurc.models.reference import Reference
from recurc.models.shapes import model_tensors
from recurc.ops.attention import reference as attention
from recurc.quant.weights import precisions, register, unregister
from recurc.study.compressions import linear_attention, pruned, student
from recurc.study.fake import FakeModel, weight_schemes
from recurc.study.methods import FP32, METHODS, chosen, definition, methods
from recurc.study.peers import fp32_model, onnx_stepper, quantized_by_onnxruntime
from recurc.study.store import Store
from recurc.study.study import Puzzles, as_csv, study, work
from recurc.study.workbench import Means
from tests.models.tolerances import Rounding
from tests.randmodels import random_inputs, random_reasoner, sudoku4
from tests.study.bench import split


def test_a_quarter_of_the_rows_with_the_least_norm_is_zero():
    model = random_reasoner("mlp_t")
    copy = pruned(model)
    for name in model.linear_names():
        w, cut = model.tensors[name], copy.tensors[name]
        zero = ~cut.any(axis=1) & w.any(axis=1)  # the halting head has a row of zeros anyway
        assert zero.sum() == round(0.25 * len(w)) and np.array_equal(cut[~zero], w[~zero])
        if zero.any():
            assert np.linalg.norm(w[zero], axis=1).max() <= np.linalg.norm(w[~zero], axis=1).min()
    assert copy.sha256 != model.sha256 and np.array_equal(copy.tensors["H_init"], model.tensors["H_init"])
    assert np.array_equal(pruned(model, 0).tensors["lm_head.weight"], model.tensors["lm_head.weight"])


def test_linear_attention_is_its_formula():
    model = linear_attention(random_reasoner("attention", seq=9, hidden=32, heads=4))
    fake, reference = FakeModel(model, {}, "fp32", attention="linear"), Reference(model)
    h, (s, heads) = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(0)), (10, 4)
    prefix = "L_level.layers.0.self_attn"
    q, k, v = (h @ reference.w[f"{prefix}.qkv_proj.weight"].T).view(2, s, 3, heads, 8).unbind(2)
    op = reference.blocks["L_level"].ops[0]
    q, k = (reference.rotate(x, *attention.tables(reference, op)) for x in (q, k))
    out = torch.zeros(2, s, heads, 8)

    def phi(x):
        return torch.where(x > 0, x + 1, x.exp())

    for n in range(2):
        for head in range(heads):
            for i in range(s):
                weight = [float(phi(q[n, i, head]) @ phi(k[n, j, head])) for j in range(s)]
                out[n, i, head] = sum(w * v[n, j, head] for j, w in enumerate(weight)) / sum(weight)
    expected = out.reshape(2, s, 32) @ reference.w[f"{prefix}.o_proj.weight"].T
    assert torch.allclose(attention.attended(fake, op, h), expected, atol=1e-4)
    assert not torch.allclose(attention.attended(reference, op, h), expected, atol=1e-2)


@pytest.mark.parametrize(
    "model",
    [
        random_reasoner("mlp_t", ndim=48, plen=3),
        random_reasoner("attention", ndim=0, plen=0),
        random_reasoner("attention", pos="learned", h_layers=2),
    ],
    ids=["mlp", "attention", "hrm"],
)
def test_the_student_is_smaller_and_runs(model):
    pupil = student(model)
    c = pupil.config
    assert (c.hidden_size, c.L_layers, c.H_cycles, c.rows) == (model.config.hidden_size // 2, 1, 1, model.config.rows)
    assert {n: t.shape for n, t in pupil.tensors.items()} == model_tensors(c) and pupil.parameters < model.parameters
    inputs, ids = random_inputs(model, 2)
    state = next(iter(Reference(pupil).steps(inputs, ids, 1)))
    assert state.logits.shape == (2, c.seq_len, c.vocab_size) and torch.isfinite(state.logits).all()


def test_symmetric_int4_has_a_scale_a_channel():
    w = np.array([[7, 3.4, -0.4], [0.07, -0.07, 0.02], [0, 0, 0]], np.float32)
    found = weight_schemes()["int4-symmetric"].quantize(w, None, "none").dequantized()
    assert np.allclose(found, [[7, 3, 0], [0.07, -0.07, 0.02], [0, 0, 0]])


# -- which apply --------------------------------------------------------------------------------------------------------


def test_methods_by_name_group_and_model():
    mlp, attention = random_reasoner("mlp_t"), random_reasoner("attention")
    assert len({m.slug for m in METHODS}) == len(METHODS) and all(definition(m) for m in METHODS)
    built = {p.name for p in precisions().values() if not p.lossy}
    assert built <= {m.precision for m in methods()}, "what a build can have is studied unasked"
    assert {m.name for m in chosen([], attention)} - {m.name for m in chosen([], mlp)} == {
        "linear attention",
        "linear attention + training",
    }
    assert [m.slug for m in chosen(["int8", "INT4 naive"], mlp)] == ["fp32", "int8", "int4-naive"]
    assert [m.slug for m in chosen(["structure"], mlp)] == ["fp32", "pruned-25"]
    assert not any(m.needs_data for m in chosen([], mlp, data=False)) and len(chosen([], mlp, data=False)) > 5
    for names, data, words in (
        (["int4-naif"], True, "Did you mean int4-naive?"),
        (["linear-attention"], True, "MLP"),
        (["int4-calibrated"], False, "learning= with a train folder"),
    ):
        with pytest.raises(UsageError) as error:
            chosen(names, mlp, data=data)
        assert words in error.value.paragraph()


def test_a_precision_that_others_bring_is_studied_unasked():
    mlp = random_reasoner("mlp_t")
    for best, data in (("gptq", False), ("none", True)):
        register(replace(precisions()["int8"], name="brought", methods=(best,), summary="of others"))
        try:
            (method,) = [m for m in chosen([], mlp) if m.name == "brought"]
            assert (method.group, method.precision, method.activations) == ("weights", "brought", "int8-row")
            assert definition(method).startswith("of others; activations int8") and method.variant(1).precision == "brought"
            assert ("brought" in {m.name for m in chosen([], mlp, data=False)}) == data
            assert [m.name for m in chosen(["brought"], mlp)] == ["fp32", "brought"]
        finally:
            unregister("brought")


def test_updates_are_those_of_the_longest():
    given = {m.slug: m.updates for m in chosen(["training"], random_reasoner("mlp_t"))}
    assert given["int4-naive-qat-short"] == 100 < given["int4-naive-qat-long"]
    for updates in (7, 5000):
        told = {m.slug: m.updates for m in chosen(["training"], random_reasoner("mlp_t"), updates)}
        assert told["int4-naive-qat-long"] == updates and told["int4-naive-qat-short"] == min(100, updates)
    assert "learning rate" in definition(next(m for m in METHODS if m.updates))


# -- the study itself ---------------------------------------------------------------------------------------------------


def test_study_of_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("recurc.study.workbench.can_compile", lambda: False)  # the device's code has its tests
    model, done, again = sudoku4(), [], []
    methods = chosen(["int8", "int4-naive", "int8-x-static-int8", "pruned-25", "distilled", "int4-naive-qat-short"], model, 3)

    def run(progress):
        return study(
            model,
            Puzzles(split("test").take(12), split("train").take(16)),
            methods,
            steps=2,
            means=Means(store=Store(tmp_path)),
            progress=progress.append,
        )

    rows = run(done)
    assert [r.method for r in rows] == methods and rows[0].method is FP32 and rows[0].loss == 0
    assert sum(done) == work(methods, 12, 16) == 7 * 12 + 2 * 3 + 3 * 16
    by = {r.method.slug: r for r in rows}
    assert by["fp32"].engine == "reference" and by["int8"].engine == by["pruned-25"].engine == "fake"
    assert by["distilled"].as_dict()["phi_first"] is None and by["distilled"].parameters < model.parameters
    assert len(by["int4-naive-qat-short"].losses) == 3 and by["int4-naive-qat-short"].seen.n == 16
    assert by["int8"].seen is None and by["int8"].fits(4 << 20) and not by["int8"].fits(32 << 10)
    assert by["int8-x-static-int8"].outcome.phi_first < by["int8"].outcome.phi_first
    assert as_csv(rows).count("\n") == 8
    kept = run(again)
    assert [r.outcome.exact for r in kept] == [r.outcome.exact for r in rows] and sum(again) == sum(done)


def test_peers_run_the_same_model_in_integers(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from recurc.exchange.onnx_export import export_onnx
    from recurc.exchange.onnx_loop import OnnxLoop

    model, test = sudoku4(), split("test").take(3)
    kept = Kept((1, 2))
    reference = record(TorchStepper(Reference(model)), test.inputs, test.puzzle_ids, 2, kept=kept)
    export_onnx(fp32_model(model), tmp_path / "fp32")
    stepper = onnx_stepper(OnnxLoop(tmp_path / "fp32", optimized=True), fp32_model(model))
    plain = record(stepper, test.inputs, test.puzzle_ids, 2, kept=kept)
    rounding = Rounding(model, test.inputs, test.puzzle_ids, 2)
    for step in (1, 2):
        rounding.check("z_H", step, plain.z_H[step - 1])
    clear = np.abs(reference.margins) > 2 * rounding.tolerance("q", -1)
    assert clear.any() and np.array_equal(plain.margins[clear] > 0, reference.margins[clear] > 0)
    for method in (m for m in METHODS if m.peer):
        folder = tmp_path / method.slug
        stepper = quantized_by_onnxruntime(model, method.peer, split("train").take(4), folder)
        run = record(stepper, test.inputs, test.puzzle_ids, 1, kept=Kept((1,)))
        error = np.abs(run.z_H[0] - reference.z_H[0]).max()
        assert 1e-3 < error < 2, "rounded, and still the same model"
        assert (folder / "block_L_level.onnx").stat().st_size < 0.6 * (folder / "block_L_level.fp32.onnx").stat().st_size


def test_a_peer_that_is_not_installed_is_left_out_with_a_remark(monkeypatch):
    from recurc.errors import ToolchainError

    def missing():
        raise ToolchainError("onnxruntime is not installed")

    monkeypatch.setattr("recurc.study.study.peer_version", missing)
    said = []
    rows = study(
        sudoku4(),
        Puzzles(split("test").take(4), split("train")),
        chosen(["toolchains", "pruned-25"], sudoku4()),
        steps=1,
        note=said.append,
    )
    assert [r.method.slug for r in rows] == ["fp32", "pruned-25"] and len(said) == 2 and "not installed" in said[0]
