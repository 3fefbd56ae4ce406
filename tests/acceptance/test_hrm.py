"""HRM from a checkpoint of the original code to firmware: inspect, eval, build, verify in the emulators."""

from __future__ import annotations

import json

import numpy as np
import pytest

import recurc
from recurc.api import Gate, Model, Quantized
from recurc.cli.main import main
from recurc.dataset import Dataset
from recurc.evaluate.fidelity import carry_fidelity
from recurc.quant.twin import Twin
from tests.codegen.builder import compile_model
from tests.models.builders import write_dataset
from tests.models.hrm_cases import IDENTIFIERS, RECORDED, SEQ, VOCAB, puzzles
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

CHECKPOINT = RECORDED / "checkpoint"  # as the original code wrote it


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), seq_len=SEQ, vocab=VOCAB, identifiers=IDENTIFIERS, n=12)


@pytest.fixture(scope="module")
def models() -> dict[str, Quantized]:
    """Two random models, whose engines are compiled once."""
    need("host")
    shape = {"hidden": 48, "heads": 2, "ndim": 72, "seq": 12, "cycles": (2, 3)}
    rope = Model(random_reasoner(layers=2, h_layers=1, **shape), "rope").quantize("int4", method="min-max")
    learned = Model(random_reasoner(pos="learned", layers=1, h_layers=2, **shape), "learned").quantize("int8", carry="int8")
    return {"int4, rope": rope, "int8, learned": learned}


@pytest.mark.parametrize(
    "board, name",
    [
        ("mps2-an500", "int4, rope"),
        ("mps3-an547", "int4, rope"),
        ("mps2-an505", "int8, learned"),
        ("riscv32-virt", "int8, learned"),
    ],
)
def test_bit_exact_on_every_core(board, name, models, tmp_path):
    need(board)
    quantized = models[name]
    reasoner = quantized.source.reasoner
    inputs, ids = random_inputs(reasoner, 2)
    c, engine = reasoner.config, quantized.engine
    build = quantized.build(board, tmp_path / "b", gate=Gate(1.0, 1, "random inputs", ()))
    unlabelled = Dataset(
        inputs, inputs.astype(np.int32), ids, c.seq_len, c.vocab_size, c.num_puzzle_identifiers, None, None, "test"
    )
    result = recurc.verify(build, on="qemu", dataset=unlabelled, steps=2)
    assert engine and result.bit_exact and result.n == 2 and result.steps == 4, result.first_difference


@pytest.mark.parametrize("name", ["int4, rope", "int8, learned"])
def test_the_host_engine_equals_the_twin(name, models):
    quantized = models[name]
    inputs, ids = random_inputs(quantized.source.reasoner, 2)
    twin = Twin(quantized.model)
    twin.begin(inputs, ids)
    twin.step()
    outputs = quantized.run(inputs, ids, steps=1)
    assert twin.z_H.tobytes() == outputs.z_H.tobytes() and twin.q.tobytes() == outputs.q[0].tobytes()
    if "int8" in name:  # 4 bits say little on random weights
        exact = quantized.source.run(inputs, ids, steps=1)
        assert carry_fidelity(outputs.z_H, exact.z_H).mean() > 0.99


def test_a_checkpoint_of_the_original_code_to_the_emulated_target(data, tmp_path, capsys):
    """The commands as a user runs them; halting is by q_halt > q_continue on the host and on the device."""
    need("mps2-an500")

    def run(*args: str) -> dict:
        assert main([*args, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert run("inspect", str(CHECKPOINT))["halt_rule"] == "q_halt>q_continue"
    scored = run("eval", str(CHECKPOINT), "--data", str(data), "--precision", "int8", "--halt")
    assert scored["n"] == 12 and scored["fidelity"] > 0.9 and 1 <= scored["mean_steps"] <= 4
    out = str(tmp_path / "b")
    built = run("build", str(CHECKPOINT), "--data", str(data), "--target", "stm32h7", "--precision", "int8", "--out", out)
    assert built["fits"]
    verified = run("verify", out, "--on", "qemu", "--data", str(data), "--limit", "4")
    assert verified["bit_exact"] and verified["matched"] == 4
    report = run("report", out)
    assert set(report["model"]["macs_by_block"]) == {"L_level", "H_level"}
    halted = run("verify", out, "--on", "qemu", "--data", str(data), "--limit", "4", "--halt")
    assert halted["bit_exact"]


def test_the_halting_head_is_the_originals(data, tmp_path):
    """Where the original's q_halt is above its q_continue, fp32 in the device's arithmetic halts."""
    need("host")
    q = np.load(RECORDED / "checkpoint.npz")["q"]
    inputs, ids = puzzles()
    engine = compile_model(tmp_path, recurc.load(CHECKPOINT, data).quantize("fp32").model)
    for i, (row, puzzle) in enumerate(zip(inputs, ids)):
        engine.begin(row.astype(np.uint8), int(puzzle))
        for step in range(4):
            engine.step()
            # Both are the same on every processor: the recording is fp64, the engine's order of sums is laid down.
            np.testing.assert_allclose(engine.tensor("q"), q[step, i], rtol=0, atol=1e-4)
            assert engine.halts() == (q[step, i, 0] > q[step, i, 1])
