"""A model whose layers differ in precision, two, three bits and groups among them, on emulated boards, bit for bit."""

from __future__ import annotations

import pytest

import recurc
from recurc.emit.readback import read_model
from tests.build.conftest import GOOD
from tests.tools import need

LAYERS = {"*.mlp*.down_proj.weight": "int8", "L_level.layers.0.mlp.gate_up*": "int4", "q_head.weight": "fp32"}


@pytest.mark.parametrize("precision", ["int3", "int2", "int4-g32", "int2-g32"])
@pytest.mark.parametrize("board", ["mps2-an500", "mps3-an547", "riscv32-v-virt"])
def test_layers_of_different_widths_run_on_emulated_boards(board, precision, model, data, tmp_path):
    need(board)
    need("host")
    quantized = model.quantize(precision, recurc.load_dataset(data, "train"), layers=LAYERS, puzzles=8)
    build = quantized.build(board, tmp_path / "out", gate=GOOD)
    fours = "2 layers int4" if precision in ("int2", "int2-g32") else "1 layer int4"  # lm_head too
    others = {precision, *build.details["label"].removesuffix(" (gptq)").split(", ")[1:]}
    assert others == {precision, "2 layers int8", fours, "1 layer fp32"}
    stored = read_model(build)
    assert stored.forms == quantized.model.forms
    for name, w in quantized.model.weights.items():
        assert (stored.weights[name].dequantized() == w.dequantized()).all(), name
    verified = recurc.verify(build, on="qemu", dataset=recurc.load_dataset(data, "test"), limit=1)
    assert verified.bit_exact and verified.n == 1
