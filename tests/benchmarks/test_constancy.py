"""A step's instructions do not depend on the puzzle; it and the hook take no longer than is said beforehand."""

from __future__ import annotations

import numpy as np

from benchmarks.constancy import count
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from tests.benchmarks.compilers import need_same_compiler
from tests.randmodels import random_inputs, random_reasoner


def test_counts_are_as_said_whatever_the_puzzle(tmp_path):
    need_same_compiler("mps2-an500")
    reasoner = random_reasoner("mlp_t", pos="none", seq=16, hidden=128, ndim=128, plen=1)
    puzzles = np.concatenate([random_inputs(reasoner, 2)[0], np.zeros((1, 16))]).astype(np.uint8)
    found = count(load_board("mps2-an500"), quantize_model(reasoner, precision_named("int4")), puzzles, tmp_path)
    assert found.steps.shape == (3, 2) and found.spread < 1e-4  # a small model: 1e-5 of one that is of use
    assert found.steps.max() <= found.most and found.hook <= found.hook_most
