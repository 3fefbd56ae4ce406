"""`python -m examples.training.dataset`: a recipe's puzzles, as many as one likes, and none of them held out."""

from examples.training.dataset import main
from recurc.dataset import load_dataset

RECIPE = """
name = "few"
title = "few"
[task]
n = 4
givens = [4, 8]
test_givens = [4, 6]
dig_to = 4
pool = 40
test_pool = 40
[model]
hidden_size = 32
num_heads = 4
H_cycles = 1
L_cycles = 1
L_layers = 1
expansion = 4.0
mlp_t = true
[train]
batch = 8
lr = 1e-3
steps = 1
"""


def test_writes_both_splits(tmp_path, capsys):
    recipe = tmp_path / "few.toml"
    recipe.write_text(RECIPE)
    assert main([str(recipe), str(tmp_path / "data"), "--train", "60", "--test", "10", "--run-dir", str(tmp_path / "run")]) == 0
    train, test = (load_dataset(tmp_path / "data", split) for split in ("train", "test"))
    assert len(train) == 60 and 0 < len(test) <= 10 and train.seq_len == 16
    assert not {bytes(x) for x in train.inputs} & {bytes(x) for x in test.inputs}
    main([str(recipe), str(tmp_path / "again"), "--train", "60", "--test", "10", "--run-dir", str(tmp_path / "run")])
    assert (load_dataset(tmp_path / "again", "train").inputs == train.inputs).all(), "the same seed, the same puzzles"


def test_says_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path / "none.toml"), str(tmp_path)]) == 2 and "none.toml" in capsys.readouterr().err
