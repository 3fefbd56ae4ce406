"""nano-trm's checkpoints: what its own code and Lightning wrote, its outputs, and what is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recurc.errors import InputError
from recurc.models.checkpoint import load, save
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from tests.models.nano_cases import CASES, FILE_CASE, RECORDED, puzzles, weights
from tests.models.tolerances import UNIT, Rounding

NAMES = json.loads((RECORDED / "names.json").read_text())


def lightning(path, case: dict, state: dict, averaged: dict | None = None, **more):
    """What Lightning's trainer writes, without what training alone needs."""
    callbacks = {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "dirpath": "somewhere"}}
    if averaged is not None:
        callbacks["EMACallback"] = {"shadow": averaged, "decay": 0.999}
    torch.save(
        {
            "epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.6.6", "state_dict": state,
            "loops": {"fit_loop": {}}, "callbacks": callbacks, "optimizer_states": [{"state": {}, "param_groups": []}],
            "lr_schedulers": [],
            "hparams_name": "kwargs",
            "hyper_parameters": {**case, "output_dir": "None", "forward_dtype": torch.float32, **more},
        },
        path,
    )  # fmt: skip
    return path


def made(name: str) -> dict[str, torch.Tensor]:
    return weights({tensor: tuple(shape) for tensor, shape in NAMES[name]})


def check_outputs(reasoner: Reasoner, case: dict, name: str) -> None:
    """What nano-trm computes in fp64: in fp64 to its last digits, in fp32 to what fp32 can."""
    expected = np.load(RECORDED / f"{name}.npz")
    inputs, ids = puzzles(case)
    rounding = Rounding(reasoner, inputs, ids)
    for dtype in UNIT:
        states = list(Reference(reasoner, dtype=dtype).steps(inputs, ids))
        assert len(states) == len(expected["logits"]) == case["N_supervision_val"]
        for state in states:
            rounding.check("logits", state.step, state.logits, dtype, expected["logits"][state.step - 1])
            q = torch.from_numpy(np.stack([expected["q"][state.step - 1], np.zeros(len(inputs))], 1))
            rounding.check("q", state.step, state.q, dtype, q.numpy())
        for carry in ("z_H", "z_L"):
            rounding.check(carry, -1, getattr(states[-1], carry), dtype, expected[carry])


@pytest.mark.parametrize("name", CASES)
def test_equals_nano_trms_outputs(name, tmp_path):
    reasoner = load(lightning(tmp_path / "last.ckpt", CASES[name], made(name)))
    case, c = CASES[name], reasoner.config
    assert (c.family, c.L_layers, c.H_cycles, c.L_cycles) == ("trm", 2, 2, case["L_cycles"])
    assert c.pos_encodings == {"mlp": "none", "rope": "rope"}.get(name, "rope2d-nano")
    told = " ".join(reasoner.notes)
    assert "in the words of nano-trm" in told and "one row" in told
    assert "assumed" not in told and "unknown" not in told, told
    check_outputs(reasoner, case, name)


def test_a_file_that_lightning_wrote_gives_the_averaged_models_outputs():
    reasoner = load(RECORDED / "last.ckpt")
    assert any("EMACallback.shadow" in note and "H_init" in note for note in reasoner.notes), reasoner.notes
    check_outputs(reasoner, FILE_CASE, "last")


def test_the_hyper_parameters_may_lie_beside_it(tmp_path):
    torch.save(made("grid"), tmp_path / "model.pt")
    (tmp_path / "hparams.yaml").write_text("".join(f"{k}: {v}\n" for k, v in CASES["grid"].items()))
    reasoner = load(tmp_path / "model.pt")
    assert reasoner.config.pos_encodings == "rope2d-nano" and reasoner.config.rope_theta == 1000
    check_outputs(reasoner, CASES["grid"], "grid")


def test_converted_it_is_the_same_model(tmp_path):
    first = load(lightning(tmp_path / "last.ckpt", CASES["grid"], made("grid")))
    save(first, tmp_path / "out")
    second = load(tmp_path / "out")
    assert second.config == first.config
    assert all(np.array_equal(second.tensors[name], tensor) for name, tensor in first.tensors.items())


@pytest.mark.parametrize(
    "change, words",
    [({"use_conv_swiglu": True}, "use_conv_swiglu"), ({"use_board_swiglu": True}, "use_board_swiglu"),
     ({"pos_emb_type": "3d"}, "3d"), ({"seq_len": 8}, "square")],
)  # fmt: skip
def test_what_it_does_not_compute_is_refused_by_name(change, words, tmp_path):
    path = lightning(tmp_path / "last.ckpt", {**CASES["grid"], **change}, made("grid"))
    with pytest.raises(InputError, match=words):
        load(path)


def test_a_tensor_in_both_projects_words_is_refused(tmp_path):
    state = made("rope")
    state["H_init"] = state["z_H_init"]
    with pytest.raises(InputError, match="twice"):
        load(lightning(tmp_path / "last.ckpt", CASES["rope"], state))


def test_hyper_parameters_that_hold_themselves_are_looked_into_once(tmp_path):
    itself = dict(CASES["rope"])
    itself["me"] = itself
    assert load(lightning(tmp_path / "last.ckpt", itself, made("rope"))).config.L_cycles == 3


def test_steps_of_training_count_where_those_of_evaluation_are_not_said(tmp_path):
    case = {**CASES["rope"], "N_supervision_val": None, "N_supervision": 5}
    assert load(lightning(tmp_path / "last.ckpt", case, made("rope"))).config.halt_max_steps == 5
