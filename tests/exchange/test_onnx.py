"""ONNX export: one block call is the twin's up to the order of sums, and a build's stored model agrees over whole steps."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import recurc
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.emit.readback import read_model
from recurc.errors import InputError
from recurc.evaluate.fidelity import carry_fidelity
from recurc.exchange.onnx_export import LOOP_FILE, export_onnx
from recurc.exchange.onnx_loop import OnnxLoop
from recurc.exchange.onnx_verify import TOLERANCE, verify_onnx
from recurc.quant.model import quantize_model
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named
from tests.models.tolerances import outcome_and_tolerance
from tests.randmodels import random_reasoner

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODELS = Path(__file__).parents[2] / "examples" / "models"
SHAPES = {
    "mlp": dict(mixer="mlp_t", seq=9, hidden=16, ndim=16, plen=2, pos="none"),
    "rope": dict(mixer="attention", seq=10, hidden=24, heads=3, pos="rope", ndim=24, plen=1),
    "hrm": dict(mixer="attention", seq=8, hidden=16, heads=2, pos="rope", ndim=24, layers=1, h_layers=2),
    "learned": dict(mixer="attention", seq=7, hidden=16, heads=2, pos="learned", ndim=0, plen=0),
}


def model_of(name: str, precision: str, carry: str):
    return quantize_model(random_reasoner(seed=3, **SHAPES[name]), precision_named(precision), carry=carry, name=name)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "precision, carry", [("fp32", "fp32"), ("int8", "fp32"), ("int4", "fp16"), ("int4", "int8"), ("int4-g32", "fp32")]
)
def test_a_block_call_is_the_twins(tmp_path, name, precision, carry):
    model, reasoner = model_of(name, precision, carry), random_reasoner(seed=3, **SHAPES[name])
    export_onnx(model, tmp_path / "x")
    loop, twin = OnnxLoop(tmp_path / "x"), Twin(model)
    c, rng = model.config, np.random.default_rng(1)
    tokens, puzzle = rng.integers(0, c.vocab_size, c.seq_len), c.num_puzzle_identifiers - 1
    loop.begin(tokens, puzzle)
    twin.begin(tokens[None], np.array([puzzle]))
    assert np.array_equal(loop.state["X"], twin.X[0])
    for state in ("z_H", "z_L"):
        assert np.array_equal(loop.state[state], getattr(twin, state)[0])
    z, added = (rng.standard_normal((c.rows, c.hidden_size)).astype(np.float32) for _ in range(2))
    for block in model.program.blocks:
        got = loop._blocks[block.name].run(["next"], {"z": z, "added": added})[0]
        expected = (z + added)[None]
        for op in block.ops:
            expected = twin.op(op, expected)
            swap = (0, 2, 1) if op.kind == "token_mix" else (0, 1, 2)
            expected = twin.stored(expected.transpose(swap)).transpose(swap)
        # A value in the middle between two integers may go either way; all others differ by the order of sums.
        start = torch.from_numpy((z + added)[None]).double()
        _, rounding = outcome_and_tolerance(reasoner, lambda m, name=block.name, h=start: m.net(name, h))
        near = np.abs(got - expected[0]) < rounding
        assert near.mean() == 1.0 if precision == "fp32" else near.mean() > 0.9
        tolerance = TOLERANCE["fp32" if precision == "fp32" else "quantized"]
        assert 1.0 - float(carry_fidelity(got[None], expected).mean()) < tolerance


@pytest.mark.parametrize("name", SHAPES)
def test_weights_are_constants_of_their_width(tmp_path, name):
    for precision, kind in (
        ("int8", onnx.TensorProto.INT8),
        ("int4", onnx.TensorProto.UINT4),
        ("int4-g32", onnx.TensorProto.INT4),
        ("int2-g32", onnx.TensorProto.INT4),
    ):
        model = model_of(name, precision, "fp32")
        document = export_onnx(model, tmp_path / precision)
        stored = {
            t.name: t
            for entry in (*document["blocks"].values(), document["heads"])
            for t in onnx.load(tmp_path / precision / entry["file"]).graph.initializer
        }
        heads = onnx.TensorProto.UINT4 if precision == "int2-g32" else kind  # whose heads stay at four bits
        for ref in model.program.linears:
            wanted = heads if ref.name in ("lm_head.weight", "q_head.weight") else kind
            assert (stored[ref.name].data_type, list(stored[ref.name].dims)) == (wanted, [ref.k, ref.n])


def build(tmp_path: Path, *options: str) -> Path:
    assert main(["build", "sudoku4-tiny", "--target", "host", "--out", str(tmp_path / "b"), *options]) == 0
    return tmp_path / "b"


@pytest.mark.parametrize(
    "options",
    [
        ("--precision", "fp32"),
        ("--precision", "int8", "--carry", "int8"),
        ("--precision", "int4", "--calibration", "min-max"),
        ("--precision", "int4-g32", "--calibration", "min-max"),
    ],
)
def test_a_builds_image_reads_back_as_what_was_quantized(tmp_path, options):
    folder = load_build(build(tmp_path, *options))
    read, name = read_model(folder), options[1]
    carry = dict(zip(options[::2], options[1::2])).get("--carry", "fp32")
    meant = recurc.load("sudoku4-tiny").quantize(name, method="min-max" if name.startswith("int4") else None, carry=carry).model
    assert read.program == meant.program
    for ref in meant.program.linears:
        a, b = read.weights[ref.name], meant.weights[ref.name]
        fields = vars(b).keys() - {"bits"}
        assert all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields)
    for group in ("tables", "vectors"):
        assert all(np.array_equal(getattr(read, group)[k], v) for k, v in getattr(meant, group).items())


def test_another_builds_image_is_refused(tmp_path):
    folder = load_build(build(tmp_path))
    other = quantize_model(random_reasoner(seed=1, **SHAPES["mlp"]), precision_named("int8"))
    with pytest.raises(InputError, match="does not belong"):
        read_model(replace(folder, config=other.config))


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_the_engine_agrees_with_onnxruntime(tmp_path, precision):
    made = load_build(build(tmp_path, "--precision", precision))
    data = recurc.load_dataset(MODELS / "sudoku4-tiny" / "data", "test").take(4)
    seen = []
    result = verify_onnx(made, data, 3, progress=lambda puzzle, step: seen.append((puzzle, step)))
    assert result.agrees and result.n == 4 and seen[-1] == (3, 3)
    # The torch reference, another program again, gives the same carry where nothing is quantized.
    if precision == "fp32":
        export_onnx(read_model(made), tmp_path / "x")
        loop = OnnxLoop(tmp_path / "x")
        loop.begin(data.inputs[0], int(data.puzzle_ids[0]))
        for _ in range(3):
            loop.step()
        reference = recurc.load("sudoku4-tiny").run(data.inputs[:1], data.puzzle_ids[:1], 3)
        assert np.abs(loop.state["z_H"] - reference.z_H[0]).max() < 1e-4


def test_verify_command(tmp_path, capsys, monkeypatch):
    folder = build(tmp_path, "--precision", "int8")
    capsys.readouterr()
    arguments = ["verify", str(folder), "--on", "onnxruntime", "--limit", "2", "--steps", "2", "--json"]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["on"], document["n"], document["matched"]) == ("recurc/verify/1", "onnxruntime", 2, 2)
    monkeypatch.setitem(TOLERANCE, "quantized", -1.0)
    assert main(arguments) == 8


def test_a_wrong_zero_point_is_found(tmp_path, monkeypatch):
    made = load_build(build(tmp_path, "--precision", "int4"))
    data = recurc.load_dataset(MODELS / "sudoku4-tiny" / "data", "test").take(1)

    def shifted(b):
        model = read_model(b)
        name = model.program.linears[0].name
        weights = {**model.weights, name: replace(model.weights[name], zero=(model.weights[name].zero + 1) % 16)}
        return replace(model, weights=weights)

    monkeypatch.setattr("recurc.exchange.onnx_verify.read_model", shifted)
    assert not verify_onnx(made, data, 2).agrees


def test_export_command(tmp_path, capsys):
    assert main(["export", "sudoku4-tiny", "--precision", "int8", "--onnx", str(tmp_path / "x"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "recurc/export/1" and (tmp_path / "x" / LOOP_FILE).is_file()
    assert set(document["files"]) == {"start.onnx", "block_L_level.onnx", "heads.onnx"}
    assert main(["export", "sudoku4-tiny", "--onnx", str(tmp_path / "x"), "--calibration", "min-max"]) == 0  # over an older one
    before = {p.name: p.read_bytes() for p in (tmp_path / "x").iterdir()}
    (tmp_path / "x" / "notes.txt").write_text("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        assert main(["export", "sudoku4-tiny", "--precision", "int8", "--onnx", str(tmp_path / "x")]) == 3
    assert "No space left" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (tmp_path / "x").iterdir()} == {**before, "notes.txt": b"mine"}
    OnnxLoop(tmp_path / "x")
    (tmp_path / "x" / "heads.onnx").write_bytes(before["start.onnx"])
    with pytest.raises(InputError, match="not the one that loop.json names"):
        OnnxLoop(tmp_path / "x")
    document = json.loads(before[LOOP_FILE])
    document["blocks"] = {}
    (tmp_path / "x" / LOOP_FILE).write_text(json.dumps(document))
    assert main(["export", "sudoku4-tiny", "--onnx", str(tmp_path / "x")]) == 2  # a block_L_level.onnx that nobody exported
    assert "block_L_level.onnx" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert main(["export", "sudoku4-tiny", "--onnx", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(InputError):
        OnnxLoop(tmp_path)
    (tmp_path / LOOP_FILE).write_text('{"schema": "else/1"}')
    with pytest.raises(InputError, match="else/1"):
        OnnxLoop(tmp_path)
