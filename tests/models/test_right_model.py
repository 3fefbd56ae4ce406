"""Never a silently different model: what contradicts is refused, what is guessed is said, in every command and from Python."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

import recurc
from recurc.cli.main import main
from recurc.errors import RecurcWarning
from recurc.models.checkpoint import load, save
from recurc.resources import bundled_models
from tests.models.builders import PREFIX, arch, write_dataset
from tests.models.rightly import TENSORS, checkpoint, notes, refused, same
from tests.models.silent import attempts

OTHER = {name: t + 1 for name, t in TENSORS.items()}


# -- configurations ---------------------------------------------------------------------------------------------------------


def test_a_configuration_of_something_else_hides_nothing(tmp_path):
    path = checkpoint(tmp_path)
    want = load(path).config
    save(load(path), tmp_path / "converted")
    (tmp_path / "converted/all_config.yaml").write_text((tmp_path / "all_config.yaml").read_text())
    (tmp_path / "converted/config.json").write_text('{"model_type": "trm", "transformers_version": "4.1"}')
    assert load(tmp_path / "converted").config == want
    assert "config.json says nothing of the model and is not used" in notes(tmp_path / "converted")


@pytest.mark.parametrize(
    "other",
    ["config.json", "config.yaml", "step_1.yaml", "step_1.json", "hparams.yaml", "all_config.yml", ".hydra/config.yaml"],
)
def test_two_configurations_that_contradict_are_refused(other, tmp_path):
    path = checkpoint(tmp_path)
    text = {"arch": {"H_cycles": 3, "num_heads": 4}}
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_text(json.dumps(text) if other.endswith("json") else yaml.dump(text))
    refused(path, "contradict each other", "H_cycles is", "all_config.yaml", other)
    text["arch"]["H_cycles"] = "2.0"
    (tmp_path / other).write_text(json.dumps(text) if other.endswith("json") else yaml.dump(text))
    assert "agrees with it" in notes(path)


def test_a_field_that_stands_twice_with_other_values_is_refused(tmp_path):
    path = checkpoint(tmp_path)
    whole = yaml.safe_load((tmp_path / "all_config.yaml").read_text())
    (tmp_path / "all_config.yaml").write_text(yaml.dump({**whole, "L_cycles": 5}))
    refused(path, "contradicts itself", "L_cycles is 2 in arch and 5 at the top")


@pytest.mark.parametrize("section", ["model", "arch.network", "hparams"])
def test_a_section_beside_the_architecture_is_not_passed_over(section, tmp_path):
    path = checkpoint(tmp_path)
    whole = yaml.safe_load((tmp_path / "all_config.yaml").read_text())

    def write(**fields):
        place, name = (whole["arch"], section[5:]) if section.startswith("arch.") else (whole, section)
        place[name] = {"lr": 1e-4, **fields}
        (tmp_path / "all_config.yaml").write_text(yaml.dump(whole))

    write(H_cycles=2)
    assert load(path).notes == ()
    write(H_cycles=5)
    refused(path, "contradicts itself", f"H_cycles is 2 in arch and 5 in {section}")
    write(rope_theta=500.0)
    assert f"what only stands in {section} is not used: rope_theta (500.0)" in notes(path)


def test_unknown_fields_beside_the_architecture_are_listed(tmp_path):
    path = checkpoint(tmp_path)
    text = (tmp_path / "all_config.yaml").read_text()
    (tmp_path / "all_config.yaml").write_text(text + "lr: 1.0e-4\nsoftmax_temp: 2.0\nloops: 3\n")
    assert "fields that recurc does not know and does not use: softmax_temp, loops" in notes(path)


def test_splits_of_a_dataset_that_contradict_each_other_are_refused(tmp_path):
    path = checkpoint(tmp_path)
    file = tmp_path / "data/train/dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "seq_len": 10}))
    refused(path, "the splits of the dataset contradict each other", "seq_len is 10 in train and 9 in test")


def test_no_change_of_a_folder_makes_another_model_without_a_word():
    count, found = attempts(80, seed=1)
    assert not found and count["refused"] > 20 and count["told"] > 10


def test_the_configuration_of_the_checkpoints_own_name(tmp_path):
    write_dataset(tmp_path / "data")
    for name, cycles in (("a", 2), ("b", 3)):
        torch.save(TENSORS, tmp_path / f"{name}.pt")
        (tmp_path / f"{name}.yaml").write_text(yaml.dump({"arch": arch(H_cycles=cycles)}))
    assert [load(tmp_path / f"{name}.pt").config.H_cycles for name in "ab"] == [2, 3]


def test_a_bundle_holds_its_configuration(tmp_path):
    path = checkpoint(tmp_path, model=TENSORS, config={"arch": arch(H_cycles=3), "lr": 1e-4}, optimizer={"state": {}})
    refused(path, "contradict each other", "H_cycles", "[config]")
    (tmp_path / "all_config.yaml").unlink()
    assert load(path).config.H_cycles == 3 and "read from 'model'" in notes(path)


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("H_cycle", 3, "the nearest known one is H_cycles"),
        ("max_halt_steps", 3, "halt_max_steps"),
        ("num_attention_heads", 8, "num_heads"),
        ("h_cycles", 3, "H_cycles"),
        ("causal", True, "causal is True, which the original code does not have"),
        ("norm_position", "pre", "norm_position"),
        ("activation", "gelu", "activation"),
        ("qqq", 1, "the field 'qqq' (1) is unknown"),
    ],
)
def test_unknown_fields_are_named(field, value, words, tmp_path):
    path = checkpoint(tmp_path, arch(**{field: value}))
    assert words in notes(path)
    flat = {k: v for k, v in arch(**{field: value}).items() if k not in ("name", "loss")}
    if field != "qqq":  # at the top of a file also stands what training needs
        save(load(path), tmp_path / "flat")
        config = json.loads((tmp_path / "flat/config.json").read_text())
        (tmp_path / "flat/config.json").write_text(json.dumps({**config, field: value, "notes": []}))
        assert words in notes(tmp_path / "flat"), flat


def test_a_misspelt_field_says_that_the_right_one_is_missing(tmp_path):
    path = checkpoint(tmp_path, arch(H_cycles=None, H_cycle=2))
    told = notes(path)
    assert "H_cycles, which is missing" in told and "not given, so assumed, the published recipe: H_cycles (3)" in told
    assert "L_cycles" not in told


@pytest.mark.parametrize("field, value", [("causal", False), ("activation", "silu"), ("norm_position", "post")])
def test_switches_that_say_what_the_original_does_are_no_news(field, value, tmp_path):
    assert load(checkpoint(tmp_path, arch(**{field: value}))).notes == ()


def test_unknown_positions_of_attention_are_refused(tmp_path):
    path = checkpoint(tmp_path, arch(pos_encodings="rope2d", causal=True, norm_position="pre"))
    refused(path, "pos_encodings rope2d", "rope, rope2d-nano, learned, none", "causal is True", "norm_position is 'pre'")


# -- which weights ----------------------------------------------------------------------------------------------------------


NO_BUFFERS = {n: t for n, t in OTHER.items() if n not in ("H_init", "L_init", "puzzle_emb.weights")}
MIXED = {**TENSORS, **NO_BUFFERS}


@pytest.mark.parametrize(
    "saved, expected, words",
    [
        ({"ema": TENSORS, "step": 5}, TENSORS, "averaged weights (EMA) are read from 'ema'"),
        ({"model": TENSORS, "ema": {"shadow": OTHER, "mu": 0.9}}, OTHER, "'ema.shadow'"),
        ({"model": TENSORS, "ema": {"shadow": NO_BUFFERS}}, MIXED, "H_init, L_init, puzzle_emb.weights are not averaged"),
        (
            {
                "model": {PREFIX + n: t for n, t in TENSORS.items()},
                "ema_model": {"module." + n: t for n, t in NO_BUFFERS.items()},
            },
            MIXED,
            "not the live ones under 'model'",
        ),
        ({"checkpoint": {"model": TENSORS}, "epoch": 5}, TENSORS, "'checkpoint.model'"),
        ({"state_dict": {"net." + n: t for n, t in TENSORS.items()}}, TENSORS, ""),
        ({n.replace("L_level.", "L_level._orig_mod."): t for n, t in TENSORS.items()}, TENSORS, ""),
        ({"_fsdp_wrapped_module." + n: t for n, t in TENSORS.items()}, TENSORS, ""),
        ({"n_averaged": torch.tensor(5), **{"module." + n: t for n, t in TENSORS.items()}}, TENSORS, ""),
        ({"model": TENSORS, "best": np.float64(0.5), "rng": np.random.RandomState(0).get_state()}, TENSORS, "'model'"),
    ],
)
def test_wrapped_weights(saved, expected, words, tmp_path):
    path = checkpoint(tmp_path)
    torch.save(saved, path)
    same(path, expected)
    assert words in notes(path)


def test_a_newer_pickle(tmp_path):
    path = checkpoint(tmp_path)
    torch.save(TENSORS, path, pickle_protocol=4)
    same(path)


@pytest.mark.parametrize(
    "saved, words",
    [
        ({"a": TENSORS, "b": OTHER}, "weights 2 times"),
        ({"ema": TENSORS, "swa": OTHER}, "averaged weights 2 times"),
        ({"model": TENSORS, "ema_0.999": OTHER, "ema_0.9999": MIXED}, "under ema_0.999, ema_0.9999"),
        ({"model": TENSORS, "ema": {"0.9": OTHER, "0.99": MIXED}}, "under ema.0.9, ema.0.99"),
        ({"inputs": torch.zeros(4, 9), "logits": torch.zeros(4, 9, 7), "q_halt_logits": torch.zeros(4)}, "predictions"),
        ({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}, "optimizer's state"),
        ({"epoch": 3}, "no tensors"),
        ({}, "empty"),
    ],
)
def test_what_is_no_model_is_said_for_what_it_is(saved, words, tmp_path):
    path = checkpoint(tmp_path)
    torch.save(saved, path)
    refused(path, words)


@pytest.mark.parametrize(
    "kept", ["exp_avg", "exp_avg_sq", "optimizer", "momentum_buffer", "grad", "delta", "fisher", "nu", "opt_state"]
)
def test_what_an_optimizer_keeps_of_each_weight_is_no_model(kept, tmp_path):
    path = checkpoint(tmp_path, **{kept: TENSORS})
    refused(path, "not a checkpoint", "optimizer's state", kept, "not weights")
    torch.save({"state": {kept: TENSORS}}, path)
    refused(path, "optimizer's state", kept)
    torch.save({f"{kept}.{n}": t for n, t in TENSORS.items()}, path)
    refused(path, "optimizer's state", kept)
    safetensors.torch.save_file({f"module.{kept}.{n}": t for n, t in TENSORS.items()}, str(tmp_path / "a.safetensors"))
    refused(tmp_path / "a.safetensors", "optimizer's state", kept)
    torch.save({"model": TENSORS, "optimizer": {"state": {kept: OTHER}}}, path)
    same(path)


def test_a_place_of_the_weights_that_is_not_a_usual_one_is_named(tmp_path):
    path = checkpoint(tmp_path, student=TENSORS)
    assert "weights are read from 'student'" in notes(path)
    torch.save({f"module.student.{n}": t for n, t in TENSORS.items()}, path)
    same(path)
    assert "named under 'student.'" in notes(path)
    safetensors.torch.save_file({f"student.{n}": t for n, t in TENSORS.items()}, str(tmp_path / "a.safetensors"))
    assert "named under 'student.'" in notes(tmp_path / "a.safetensors")


@pytest.mark.parametrize("first, second", [("ema.", "online."), ("", "target."), ("model.", "ema_model."), ("a.b.", "module.")])
def test_two_sets_of_weights_in_one_state_dict_are_refused(first, second, tmp_path):
    both = {**{first + n: t for n, t in TENSORS.items()}, **{second + n: t for n, t in OTHER.items()}}
    refused(checkpoint(tmp_path, **both), "the weights are there twice", second.strip(".") if second != "module." else first)


def test_predictions_and_optimizers_beside_a_checkpoint_are_passed_over(tmp_path):
    path = checkpoint(tmp_path, name="step_100")
    for name in ("step_100_all_preds.0", "step_100_train_state.pt", "optimizer.pt", "scheduler.pt"):
        torch.save({"logits": torch.zeros(3), "preds": torch.zeros(3)}, tmp_path / name)
    assert load(tmp_path).source == str(path)
    path.unlink()
    refused(tmp_path, "no checkpoint in this folder", "optimizer")


def test_a_stale_file_beside_a_newer_one_is_not_chosen_silently(tmp_path):
    path = checkpoint(tmp_path, name="step_100")
    save(load(path), tmp_path)
    refused(tmp_path, "several checkpoints", "model.safetensors", "step_100", "Name the file")
    same(tmp_path / "step_100")
    shutil.copy(path, tmp_path / "step_200")
    (tmp_path / "model.safetensors").unlink()
    assert "step_200 is read, the highest step of 2 checkpoints" in notes(tmp_path)


# -- the dataset ------------------------------------------------------------------------------------------------------------


def test_a_dataset_of_another_numbering_is_refused(tmp_path, capsys):
    shutil.copytree(bundled_models()["arc-mini"] / "data", tmp_path / "data")
    for split in ("train", "test"):
        file = tmp_path / "data" / split / "all__puzzle_identifiers.npy"
        np.save(file, np.maximum(np.load(file) - 1, 0))
        meta = tmp_path / "data" / split / "dataset.json"
        fields = json.loads(meta.read_text())
        meta.write_text(json.dumps({**fields, "num_puzzle_identifiers": fields["num_puzzle_identifiers"] - 1}))
    assert main(["run", "arc-mini", "--data", str(tmp_path / "data"), "--steps", "1"]) == 3
    told = capsys.readouterr().err
    assert "puzzle identifiers where the model has" in told and str(tmp_path) in told


# -- said everywhere --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guessed(tmp_path_factory):
    """A folder whose checkpoint has no configuration, made of a bundled model."""
    folder = tmp_path_factory.mktemp("guessed")
    source = bundled_models()["sudoku4-tiny"]
    shutil.copytree(source / "data", folder / "data")
    torch.save({n: torch.from_numpy(np.array(t)) for n, t in load("sudoku4-tiny").tensors.items()}, folder / "step_1")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect",), ("report", "--target", "stm32h7"), ("run", "--steps", "1"),
        ("eval", "--precision", "int8", "--limit", "4", "--steps", "1", "--fidelity-puzzles", "4"),
        ("layers", "--fidelity-puzzles", "1", "--calibration-puzzles", "2"), ("convert", "OUT"),
    ],
    ids=lambda a: a[0],
)  # fmt: skip
def test_every_command_says_what_was_guessed(arguments, guessed, tmp_path, capsys):
    command, *rest = arguments
    line = [command, str(guessed), *(str(tmp_path / "out") if r == "OUT" else r for r in rest)]
    assert main(line) == 0, capsys.readouterr().err
    assert "note: " in (told := capsys.readouterr().err) and "H_cycles" in told
    assert main([*line[:2], *(str(tmp_path / "out2") if r == "OUT" else r for r in rest), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert any("H_cycles" in note for note in document["notes"]), document["notes"]


def test_python_warns(guessed):
    with pytest.warns(RecurcWarning, match="H_cycles"):
        recurc.load(guessed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recurc.load("sudoku4-tiny")


def test_where_fp32_itself_solves_nothing_eval_says_so(guessed, tmp_path, capsys):
    shutil.copytree(guessed, tmp_path / "ck")
    (tmp_path / "ck/all_config.yaml").write_text(yaml.dump({"arch": {"pos_encodings": "none"}}))
    tensors = torch.load(tmp_path / "ck/step_1")
    torch.save({**tensors, "lm_head.weight": -tensors["lm_head.weight"]}, tmp_path / "ck/step_1")
    line = ["eval", str(tmp_path / "ck"), "--precision", "int8", "--limit", "8", "--steps", "1"]
    assert main(line) == 0
    got = capsys.readouterr()
    assert "fp32 itself solves 0 of 8 puzzles" in got.err and "fp32 at this depth, first 8" in got.out
    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["fp32"]["exact"] == 0 and any("fp32 itself" in n for n in document["notes"])
