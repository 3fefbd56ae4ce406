"""Forks that write tensors otherwise: adapters beside their layers, a q_head that learned to stop only."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import recurc
from recurc.cli.main import main
from recurc.errors import InputError, RecurcWarning
from recurc.models.checkpoint import load
from tests.models.builders import arch, state_dict, write_checkpoint

MLP = {"mlp_t": True, "pos_encodings": "none"}
LAYER = "L_level.layers.0.mlp.down_proj"


def adapted(rank: int = 3) -> dict[str, torch.Tensor]:
    state = state_dict(arch(**MLP))
    out, inner = state[LAYER + ".weight"].shape
    state[LAYER + "._lora_A"] = torch.randn(rank, inner, generator=torch.Generator().manual_seed(1)) * 0.1
    state[LAYER + "._lora_B"] = torch.randn(out, rank, generator=torch.Generator().manual_seed(2)) * 0.1
    return state


def test_adapters_are_folded_into_their_layers(tmp_path):
    state = adapted()
    reasoner = load(write_checkpoint(tmp_path, arch(**MLP, lora_alpha=6, lora_rank=3), state))
    wanted = state[LAYER + ".weight"].double() + 2.0 * state[LAYER + "._lora_B"].double() @ state[LAYER + "._lora_A"].double()
    assert np.array_equal(reasoner.tensors[LAYER + ".weight"], wanted.float().numpy())
    assert any("adapters (rank 3, lora_alpha 6) of 1 layers" in note for note in reasoner.notes)
    assert not any("unknown" in note for note in reasoner.notes), reasoner.notes


@pytest.mark.parametrize(
    "fields, change, words",
    [({}, {}, "lora_alpha"), ({"lora_alpha": 6}, {"_lora_A": None}, "belong together"),
     ({"lora_alpha": 6}, {"_lora_A": torch.zeros(3, 5)}, "3x5"), ({"lora_alpha": "much"}, {}, "not a number"),
     ({"lora_alpha": 6}, {".weight": None}, "belong together"), ({"lora_alpha": 6}, {"_lora_A": torch.zeros(3)}, "belong")],
)  # fmt: skip
def test_half_an_adapter_is_refused(fields, change, words, tmp_path):
    state = adapted()
    for end, value in change.items():
        name = next(n for n in state if n.startswith(LAYER) and n.endswith(end))
        state.pop(name)
        if value is not None:
            state[name] = value
    with pytest.raises(InputError, match=words):
        load(write_checkpoint(tmp_path, arch(**MLP, **fields), state))


def one_row(state: dict) -> dict:
    return state | {"q_head.weight": state["q_head.weight"][:1].clone(), "q_head.bias": state["q_head.bias"][:1].clone()}


def test_a_q_head_of_one_row_stops_where_the_original_does(tmp_path):
    state = state_dict(arch(**MLP))
    two, one = (
        load(write_checkpoint(tmp_path / "two", arch(**MLP), state)),
        load(write_checkpoint(tmp_path / "one", arch(**MLP), one_row(state))),
    )
    assert np.array_equal(one.tensors["q_head.weight"][0], two.tensors["q_head.weight"][0])
    assert not one.tensors["q_head.weight"][1].any() and one.tensors["q_head.bias"][1] == 0
    assert any("one row" in note for note in one.notes) and not any("one row" in note for note in two.notes)


def test_a_q_head_of_one_row_that_compares_two_is_refused(tmp_path):
    from tests.models.hrm_cases import CASES
    from tests.models.recorded import recorded_state, written

    with pytest.raises(InputError, match="q_head.weight is 1x16, expected 2x16"):
        load(written(tmp_path, CASES["rope"].arch, one_row(recorded_state("rope"))))


def bare(tmp_path):
    """Attention without a configuration or dataset: nothing tells its length."""
    path = write_checkpoint(tmp_path, arch(), state_dict(arch()))
    (path.parent / "all_config.yaml").unlink(missing_ok=True)
    return path


def test_what_no_file_says_the_caller_may(tmp_path, capsys):
    path = bare(tmp_path)
    with pytest.raises(InputError, match="sequence length is unknown"):
        load(path)
    reasoner = load(path, told={"seq_len": 9, "num_heads": 2, "pos_encodings": "none"})
    c = reasoner.config
    assert (c.seq_len, c.num_heads, c.pos_encodings) == (9, 2, "none")
    assert not any("num_heads is not given" in note or "pos_encodings is not given" in note for note in reasoner.notes)
    options = ["--seq-len", "9", "--heads", "2", "--pos", "none"]
    assert main(["inspect", str(path), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seq_len"] == 9
    assert main(["convert", str(path), str(tmp_path / "out"), *options]) == 0
    assert load(tmp_path / "out").config == c
    with pytest.warns(RecurcWarning):
        assert recurc.load(path, seq_len=9, num_heads=2, pos_encodings="none").reasoner.config == c


def test_what_a_file_says_otherwise_is_refused(tmp_path, capsys):
    path = write_checkpoint(tmp_path, arch(seq_len=9), state_dict(arch()))
    assert main(["inspect", str(path), "--seq-len", "9"]) == 0
    assert main(["inspect", str(path), "--heads", "2"]) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "num_heads is 4 in" in told and "Leave it out" in told
    assert "num_heads is 4 in" in told and "2 in --heads" in told


def test_what_is_told_hides_no_configuration_of_the_folder_above(tmp_path):
    path = write_checkpoint(tmp_path / "run" / "deep", arch(H_cycles=2, L_cycles=5, halt_max_steps=7), state_dict(arch()))
    (path.parent / "all_config.yaml").rename(tmp_path / "run" / "all_config.yaml")
    c = load(path, told={"seq_len": 9}).config
    assert (c.H_cycles, c.L_cycles, c.halt_max_steps, c.num_heads) == (2, 5, 7, 4)
    with pytest.raises(InputError, match="num_heads is 4 in .*2 in"):
        load(path, told={"seq_len": 9, "num_heads": 2})


def test_a_configuration_that_only_the_caller_gives_is_still_told_as_inferred(tmp_path):
    notes = load(bare(tmp_path), told={"seq_len": 9}).notes
    assert any("no configuration file" in note for note in notes) and any("num_heads is not given" in note for note in notes)
