"""Every kind of bad checkpoint ends in an InputError that says what, where, why and what next, and runs no code."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from recurc.errors import InputError
from recurc.models.checkpoint import load, save
from tests.models.builders import PREFIX, arch, state_dict, write_checkpoint, write_dataset, write_model

MLP = arch(mlp_t=True, pos_encodings="none")


def refused(path, *words: str) -> InputError:
    with pytest.raises(InputError) as caught:
        load(path)
    error = caught.value
    assert error.exit_code == 3 and error.what and error.next
    for word in words:
        assert word in str(error), str(error)
    return error


FOREIGN = {
    "text": (b"hello, this is no checkpoint\n", "text file"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
    "empty": (b"", "empty"),
    "html": (b"<!DOCTYPE html><html>", "HTML"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(64), "ELF"),
    "bytes": (bytes(range(256)), "starts with bytes"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_not_a_checkpoint(tmp_path, kind):
    content, word = FOREIGN[kind]
    (tmp_path / "step_10").write_bytes(content)
    refused(tmp_path / "step_10", "not a checkpoint", "step_10", word)
    refused(tmp_path, "not a checkpoint", word)


def test_nothing_there(tmp_path):
    refused(tmp_path / "missing", "missing", "no such file")
    refused(tmp_path, "no checkpoint in this folder", "empty")
    (tmp_path / "notes.md").write_text("x")
    refused(tmp_path, "no checkpoint in this folder", "notes.md")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_truncated(tmp_path, keep, legacy):
    file = write_checkpoint(tmp_path, MLP, state_dict(MLP), _use_new_zipfile_serialization=not legacy)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    refused(file, "cannot be read", "truncated")


def test_other_zip_and_other_pickle(tmp_path):
    with zipfile.ZipFile(tmp_path / "a", "w") as z:
        z.writestr("x.txt", "hello")
    refused(tmp_path / "a")
    torch.save([1, 2], tmp_path / "b")
    refused(tmp_path / "b", "list, not a state dict")
    torch.save({"epoch": 3}, tmp_path / "c")
    refused(tmp_path / "c", "no tensors", "epoch")
    torch.save({}, tmp_path / "d")
    refused(tmp_path / "d", "empty")


class Evil:
    """Pickles to a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle", "beside tensors"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, form):
    mark = tmp_path / "executed"
    evil = Evil(f"touch {mark}")
    if form == "bare pickle":
        (tmp_path / "step_1").write_bytes(pickle.dumps(evil))
    elif form == "beside tensors":
        torch.save({"model": state_dict(MLP), "args": evil}, tmp_path / "step_1")
    else:
        torch.save(evil, tmp_path / "step_1", _use_new_zipfile_serialization=form == "zip")
    refused(tmp_path / "step_1", "code", "system")
    assert not mark.exists()
    pickle.loads(pickle.dumps(evil))  # the proof that the command would have left its mark
    assert mark.exists()


def test_missing_and_misspelt_names_are_listed_at_once(tmp_path):
    sd = state_dict(MLP)
    sd["lm_head.weigth"] = sd.pop("lm_head.weight")
    sd["L_level.layers.1.mlp.gate_up.weight"] = sd.pop("L_level.layers.1.mlp.gate_up_proj.weight")
    del sd["q_head.bias"]
    sd["extra.thing"] = torch.zeros(3)
    error = refused(write_checkpoint(tmp_path, MLP, sd), "extra.thing", "missing q_head.bias")
    assert "missing lm_head.weight (there is lm_head.weigth" in error.why
    assert "gate_up_proj.weight (there is L_level.layers.1.mlp.gate_up.weight" in error.why


@pytest.mark.parametrize("name", list(state_dict(MLP)) + ["embed_pos.embedding_weight"])
def test_any_missing_tensor_is_named(tmp_path, name):
    a = MLP if not name.startswith("embed_pos") else MLP | {"pos_encodings": "learned"}
    sd = state_dict(a)
    del sd[name]
    refused(write_checkpoint(tmp_path, a, sd), name)


def test_all_wrong_shapes_are_listed(tmp_path):
    sd = state_dict(MLP)
    sd["q_head.weight"] = torch.zeros(3, 32)
    sd["L_level.layers.0.mlp.down_proj.weight"] = torch.zeros(32, 100)
    file = write_checkpoint(tmp_path, MLP, sd)
    refused(file, "q_head.weight is 3x32, expected 2x32", "down_proj.weight is 32x100, expected 32x256")


def test_configuration_of_another_size(tmp_path):
    write_dataset(tmp_path / "data")
    refused(write_checkpoint(tmp_path, arch(hidden_size=64), state_dict(arch())), "H_init is 32, expected 64", "o_proj")


def test_nan_and_inf_are_named_with_their_index(tmp_path):
    sd = state_dict(MLP)
    sd["lm_head.weight"][2, 5] = float("nan")
    sd["L_level.layers.0.mlp.down_proj.weight"][1, 7] = float("inf")
    sd["L_level.layers.0.mlp.down_proj.weight"][3, 0] = -float("inf")
    file = write_checkpoint(tmp_path, MLP, sd)
    refused(file, "lm_head.weight[2, 5] is nan", "down_proj.weight[1, 7] is inf (2 such values)")


def test_things_that_are_no_float_tensors(tmp_path):
    sd = state_dict(MLP)
    sd["q_head.bias"] = torch.tensor([1, 2])
    refused(write_checkpoint(tmp_path, MLP, sd), "q_head.bias is int64")


def test_the_same_tensor_twice(tmp_path):
    sd = {PREFIX + k: v for k, v in state_dict(MLP).items()}
    torch.save(sd | {"inner.H_init": torch.zeros(32)}, tmp_path / "step_1")
    refused(tmp_path / "step_1", "twice", "inner.H_init")


@pytest.mark.parametrize("module", ["trm_singlez", "trm_hier6", "my_own"])
def test_other_modules_with_trms_class_name(tmp_path, module):
    a = MLP | {"name": f"recursive_reasoning.{module}@TinyRecursiveReasoningModel_ACTV1"}
    refused(write_checkpoint(tmp_path, a, state_dict(MLP)), "not supported", module)


def test_names_of_nothing_known(tmp_path):
    torch.save({"encoder.weight": torch.zeros(3), "decoder.weight": torch.zeros(3)}, tmp_path / "step_1")
    refused(tmp_path / "step_1", "no model family", "decoder.weight")


@pytest.mark.parametrize("content", ["arch: [", "just text", "- a\n- b", "arch:\n  hidden_size: {a: 1}\n"])
def test_bad_yaml(tmp_path, content):
    file = write_model(tmp_path, MLP)
    (tmp_path / "all_config.yaml").write_text(content)
    refused(file, "all_config.yaml")


@pytest.mark.parametrize("damage", ["truncated", "header", "short", "offsets", "dtype"])
def test_damaged_safetensors(tmp_path, damage):
    write_checkpoint(tmp_path, MLP, state_dict(MLP))
    save(load(tmp_path), tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    data = file.read_bytes()
    if damage == "truncated":
        data = data[:-100]
    elif damage == "header":
        data = data[:8] + b"\xff" + data[9:]
    elif damage == "short":
        data = data[:5]
    elif damage == "offsets":
        data = data.replace(b'"data_offsets":[0,', b'"data_offsets":[4,', 1)
    else:
        data = data.replace(b'"F32"', b'"X32"', 1)
    file.write_bytes(data)
    refused(tmp_path / "out", "safetensors", "Copy or export")


def test_nan_in_a_bf16_file_is_found(tmp_path):
    write_checkpoint(tmp_path, MLP, state_dict(MLP))
    save(load(tmp_path), tmp_path / "out", "bf16")
    file = tmp_path / "out" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2:] = np.array([0x7FC0], "<u2").tobytes()
    file.write_bytes(data)
    refused(tmp_path / "out", "nan")
