"""The committed page is what its figures say, and the hand-written ONNX graph is the block that we compute."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from benchmarks import host
from benchmarks.common import ROOT, ready_peer_python
from recurc.api import Model
from recurc.models.reasoner import Reasoner
from tests.models.tolerances import Rounding
from tests.randmodels import random_reasoner


def measured() -> dict:
    return json.loads(host.MEASURED.read_text(encoding="utf-8"))


def test_the_committed_page_is_written_from_the_figures():
    assert host.page(measured()) == host.PAGE.read_text(encoding="utf-8"), "run: python benchmarks/host.py --no-measure"


def test_ratios_are_to_the_faster_of_the_two_int8_variants():
    figures = measured()["steps"]["steps"]
    case = host.key(1, 1)
    best = min(figures[f"onnxruntime {n}"][case]["cpu"] for n in ("int8 dynamic", "int8 static"))
    assert host.best_int8(figures, case, "cpu") == best
    assert f"{figures['recurc int8'][case]['cpu'] / best:.2f} x" in host.page(measured())


def test_what_is_handed_to_the_peer(tmp_path):
    reasoner = _small()
    inputs, ids = np.zeros((2, reasoner.config.seq_len), np.uint8), np.zeros(2, np.int64)
    host.export(Model(reasoner, "small"), inputs, ids, tmp_path)
    with np.load(tmp_path / "model.npz") as stored:
        assert stored["x"].shape == (2, reasoner.config.rows, reasoner.config.hidden_size)
        assert tuple(stored["cycles"]) == tuple(host.CYCLES.values())
        assert (stored["1.token_down"] == reasoner.tensors["L_level.layers.1.mlp_t.down_proj.weight"]).all()


def test_the_exported_graph_is_the_block(tmp_path):
    """z_H of one step, through onnxruntime, beside the torch reference."""
    python = ready_peer_python("onnxruntime")
    if python is None:
        pytest.skip("the peer's environment is not set up (make bench-host)")
    reasoner = _small()
    inputs = np.random.default_rng(1).integers(0, reasoner.config.vocab_size, (2, reasoner.config.seq_len)).astype(np.uint8)
    ids = np.zeros(2, np.int64)
    model = Model(reasoner, "small")
    host.export(model, inputs, ids, tmp_path)
    order = json.dumps({"run": "fp32", "threads": 1, "puzzles": 2}) + "\n"
    done = subprocess.run(
        [str(python), "-W", "ignore", "-m", "benchmarks.onnx_worker", str(tmp_path)],
        cwd=ROOT,
        input=order,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    about, times = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert set(host.BEST_INT8) < set(about["variants"]) and times["wall"] > 0
    rounding = Rounding(reasoner, inputs[:1], ids[:1], reasoner.config.trained.but(steps=1, **host.CYCLES))
    with np.load(tmp_path / "results.npz") as results:
        rounding.check("z_H", 1, results["fp32"], expected=rounding.exact["z_H"][0, 0])


def _small() -> Reasoner:
    return random_reasoner("mlp_t", hidden=40, ndim=40, seq=12)
