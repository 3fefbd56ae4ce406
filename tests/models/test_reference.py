"""The reference equals the original model: its recorded outputs, and an independent forward pass, in fp64 and in fp32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recurc.dataset import load_dataset
from recurc.models.checkpoint import load
from recurc.models.reference import Reference
from tests.models.builders import arch, state_dict, write_checkpoint, write_dataset
from tests.models.plain_numpy import PlainTRM
from tests.models.tolerances import UNIT, Rounding

SUDOKU4 = Path(__file__).parents[1] / "data" / "trm_mlp_sudoku4"


def test_equals_the_original_models_outputs():
    """Trained, over all 16 steps: 32 puzzles in fp64, two of them in fp32 too."""
    recorded = np.load(SUDOKU4 / "reference_outputs.npz")
    test = load_dataset(SUDOKU4 / "data", "test")
    reasoner = load(SUDOKU4 / "checkpoint")
    two = test.take(2)
    rounding = Rounding(reasoner, two.inputs, two.puzzle_ids)
    for n, dtype in ((32, torch.float64), (2, torch.float32)):
        some = test.take(n)
        for step in Reference(reasoner, dtype=dtype).steps(some.inputs, some.puzzle_ids):
            rounding.check("q", step.step, step.q, dtype, recorded["q"][step.step - 1, :n])
            for last, name in ((1, "first"), (16, "last")):
                if step.step == last:
                    rounding.check("logits", step.step, step.logits, dtype, recorded[f"logits_{name}"][:n])
                    rounding.check("z_H", step.step, step.z_H[:4], dtype, recorded[f"z_H_{name}"][:n])
        assert step.step == 16


VARIANTS = {
    "attention-rope": arch(),
    "attention-rope-two-heads": arch(num_heads=2, L_layers=1),
    "attention-learned-short-embedding": arch(pos_encodings="learned", puzzle_emb_ndim=48),
    "attention-none": arch(pos_encodings="none"),
    "attention-ndim-2d-len-0": arch(puzzle_emb_ndim=64, puzzle_emb_len=0),
    "attention-no-embedding": arch(puzzle_emb_ndim=0, puzzle_emb_len=0),
    "mlp-t": arch(mlp_t=True, pos_encodings="none"),
    "mlp-t-learned": arch(mlp_t=True, pos_encodings="learned", puzzle_emb_ndim=64, puzzle_emb_len=0),
    "mlp-t-no-embedding": arch(mlp_t=True, pos_encodings="none", puzzle_emb_ndim=0, puzzle_emb_len=0),
    "fractional-expansion": arch(expansion=13.5, hidden_size=64, puzzle_emb_ndim=64),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_agrees_with_an_independent_forward(name, tmp_path):
    a = VARIANTS[name]
    sd = state_dict(a, seed=3)
    write_dataset(tmp_path / "data")
    reasoner = load(write_checkpoint(tmp_path, a, sd))
    assert (reasoner.config.seq_len, reasoner.config.mixer) == (9, "mlp_t" if a["mlp_t"] else "attention")
    rng = np.random.default_rng(1)
    tokens, ids = rng.integers(0, 7, (3, 9)), np.array([0, 4, 2])
    plain = PlainTRM(a, sd, 9)
    expected = [list(plain.run(tokens[i], ids[i], 2)) for i in range(3)]
    rounding = Rounding(reasoner, tokens, ids, 2)
    for dtype in UNIT:
        for step in Reference(reasoner, dtype=dtype).steps(tokens, ids, 2):
            for k, tensor in enumerate(("z_H", "logits", "q")):
                wanted = np.stack([e[step.step - 1][k] for e in expected])
                rounding.check(tensor, step.step, getattr(step, tensor), dtype, wanted)


def test_puzzle_identifier_and_trained_depth_matter(tmp_path):
    a = arch()
    write_dataset(tmp_path / "data")
    model = Reference(load(write_checkpoint(tmp_path, a, state_dict(a))))
    tokens = np.zeros((1, 9), dtype=np.uint8)
    one, two = (list(model.steps(tokens, np.array([i])))[-1].logits.numpy() for i in (0, 1))
    assert len(list(model.steps(tokens))) == 4
    assert np.abs(one - two).max() > 1e-3
