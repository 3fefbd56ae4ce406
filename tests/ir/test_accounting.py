"""Multiply-adds and bytes against the figures counted on the original model at its published shapes."""

import numpy as np
import pytest

from recurc.ir.accounting import cost, linear_weights
from recurc.models.hrm import HALT_RULE
from recurc.models.reasoner import Reasoner, ReasonerConfig
from recurc.models.shapes import model_tensors
from recurc.quant.weights import weight_bytes


def published(mixer: str, seq_len: int, vocab: int, l_cycles: int) -> Reasoner:
    config = ReasonerConfig(
        family="trm", mixer=mixer, seq_len=seq_len, vocab_size=vocab, num_puzzle_identifiers=1, hidden_size=512,
        expansion=4.0, num_heads=8, L_layers=2, H_cycles=3, L_cycles=l_cycles, halt_max_steps=16,
        pos_encodings="none" if mixer == "mlp_t" else "rope", puzzle_emb_ndim=512, puzzle_emb_len=16,
    )  # fmt: skip
    return reasoner(config)


def published_hrm(seq_len: int, vocab: int) -> Reasoner:
    config = ReasonerConfig(
        family="hrm", mixer="attention", seq_len=seq_len, vocab_size=vocab, num_puzzle_identifiers=1, hidden_size=512,
        expansion=4.0, num_heads=8, L_layers=4, H_layers=4, H_cycles=2, L_cycles=2, halt_max_steps=16, pos_encodings="rope",
        puzzle_emb_ndim=512, puzzle_emb_len=0, halt_rule=HALT_RULE,
    )  # fmt: skip
    return reasoner(config)


def reasoner(config: ReasonerConfig) -> Reasoner:
    tensors = {name: np.broadcast_to(np.float32(0), shape) for name, shape in model_tensors(config).items()}
    return Reasoner(config, tensors, "", "")


CASES = {  # parameters, linear weights, channels, M MACs a call, G MACs a step, G MACs in all, int8 MB, int4 MB
    "sudoku-mlp": (("mlp_t", 81, 11, 6), 5_028_866, 5_023_232, 9_423, 610.3, 12.82, 205, (5.023, 0.038), (2.513, 0.047)),
    "sudoku-att": (("attention", 81, 11, 6), 6_828_034, 6_822_400, 11_277, 680.4, 14.29, 229, (6.822, 0.045), (3.411, 0.056)),
    "maze-att": (("attention", 900, 6, 4), 6_822_914, 6_819_840, 11_272, 7961.6, 119.4, 1911, (6.820, 0.045), (3.410, 0.056)),
    "arc1-att": (("attention", 900, 12, 4), 6_829_058, 6_822_912, 11_278, 7961.6, 119.4, 1911, (6.823, 0.045), (3.411, 0.056)),
}


@pytest.mark.parametrize("name", CASES)
def test_published_shapes(name):
    shape, parameters, weights, channels, call, step, total, int8, int4 = CASES[name]
    model = published(*shape)
    work, linear = cost(model.config), linear_weights(model)
    assert (model.parameters, linear.weights, linear.channels) == (parameters, weights, channels)
    assert work.macs_per_call / 1e6 == pytest.approx(call, abs=0.05)
    assert work.macs_per_step / 1e9 == pytest.approx(step, rel=1e-3)
    assert work.macs_per_puzzle / 1e9 == pytest.approx(total, rel=3e-3)
    sizes = weight_bytes(linear.blocks, linear.heads)
    assert sizes["fp32"] == 4 * weights
    assert sizes["int8"] / 1e6 == pytest.approx(sum(int8), abs=1.1e-3)
    assert sizes["int4"] / 1e6 == pytest.approx(sum(int4), abs=1.1e-3)
    assert work.calls_per_step == 3 * (shape[3] + 1)


@pytest.mark.parametrize(
    "seq_len, vocab, parameters, weights, channels, call, step",
    [(81, 11, 27_275_266, 27_269_632, 45_069, 1145.3, 6.87), (900, 6, 27_270_146, 27_267_072, 45_064, 15_607, 93.6)],
)
def test_published_hrm_shapes(seq_len, vocab, parameters, weights, channels, call, step):
    model = published_hrm(seq_len, vocab)
    work, linear = cost(model.config), linear_weights(model)
    assert (model.parameters, linear.weights, linear.channels) == (parameters, weights, channels)
    assert len(model.linear_names()) == 34 and len(model.tensors) == 39
    assert work.macs_by_block == {"L_level": work.macs_per_call, "H_level": work.macs_per_call}
    assert work.macs_per_call / 1e6 == pytest.approx(call, rel=1e-4)
    assert work.macs_per_step / 1e9 == pytest.approx(step, rel=1e-3)
    assert work.calls_per_step == 2 * (2 + 1)
