"""A configuration, or a table that follows from one, that lies elsewhere than beside the checkpoint: never passed over."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from recurc.errors import InputError
from recurc.models.checkpoint import load, save
from tests.models.builders import PREFIX, arch
from tests.models.rightly import TENSORS, checkpoint, notes, refused, same
from tests.models.silent import write_config


@pytest.mark.parametrize(
    "metadata",
    [
        {"config": json.dumps({"arch": {"H_cycles": 3}})},
        {"H_cycles": "3", "format": "pt"},
        {"hyper": json.dumps({"H_cycles": 3, "L_cycles": 2})},
    ],
)
def test_the_metadata_of_safetensors_is_a_configuration(metadata, tmp_path):
    checkpoint(tmp_path).unlink()
    safetensors.torch.save_file(TENSORS, str(tmp_path / "model.safetensors"), metadata)
    refused(tmp_path, "contradict each other", "H_cycles is", "all_config.yaml", "model.safetensors[")
    (tmp_path / "all_config.yaml").unlink()
    assert load(tmp_path).config.H_cycles == 3
    assert "the configuration in the file's metadata is read" in notes(tmp_path)
    safetensors.torch.save_file(TENSORS, str(tmp_path / "model.safetensors"), {"format": "pt", "config": "{"})
    assert "no JSON" in notes(tmp_path) and "H_cycles (3)" in notes(tmp_path)


def test_the_configuration_of_the_folder_above_is_found_as_the_dataset_is(tmp_path):
    path = checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "trm"}')
    (tmp_path / "checkpoints").mkdir()
    path = path.rename(tmp_path / "checkpoints/step_10")
    assert load(path).config.H_cycles == 2 and "all_config.yaml, of the folder above" in notes(path)
    write_config(tmp_path / "checkpoints/all_config.yaml", {"arch": arch(H_cycles=3)})
    assert load(path).config.H_cycles == 3 and "folder above" not in notes(path)
    (tmp_path / "checkpoints/all_config.yaml").unlink()
    write_config(tmp_path / "hparams.yaml", {"H_cycles": 4})
    refused(path, "contradict each other", "all_config.yaml", "hparams.yaml")


def rotary(theta: float, width: int = 8, rows: int = 12) -> dict[str, torch.Tensor]:
    """The original's buffers."""
    frequencies = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width))
    angles = torch.outer(torch.arange(rows, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return {"rotary_emb.inv_freq": frequencies, "rotary_emb.cos_cached": angles.cos(), "rotary_emb.sin_cached": angles.sin()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", rotary(1.0))
def test_a_saved_rotary_table_that_contradicts_the_configuration_is_refused(name, dtype, tmp_path):
    path = checkpoint(tmp_path)

    def write(tables):
        both = {**TENSORS, name: tables[name].to(dtype)}
        torch.save({PREFIX + n: t for n, t in both.items()}, path)
        safetensors.torch.save_file(both, str(tmp_path / "a.safetensors"))
        return path, tmp_path / "a.safetensors"

    for file in write(rotary(10000.0)):
        same(file)
        assert load(file).notes == ()
    for file in write(rotary(500.0)):
        refused(file, "contradict", name, "is that of rope_theta", "and rope_theta is 10000", "all_config.yaml")
    write_config(tmp_path / "all_config.yaml", {"arch": arch(rope_theta=500.0), "data_paths": ["data"]})
    for file in write(rotary(500.0)):
        assert load(file).notes == ()
    for file in write(rotary(500.0, width=16)):
        refused(file, "contradict", name, "4 heads of 32")
    write_config(tmp_path / "all_config.yaml", {"arch": arch(pos_encodings="none"), "data_paths": ["data"]})
    for file in write(rotary(10000.0)):
        refused(file, "contradict", "pos_encodings is none")


def test_a_configuration_changed_by_hand_since_the_conversion_is_told(tmp_path):
    save(load(checkpoint(tmp_path)), tmp_path / "out")
    assert load(tmp_path / "out").notes == ()
    file = tmp_path / "out/config.json"
    document = json.loads(file.read_text())
    write_config(file, {**document, "H_cycles": 3})
    assert "config.json was changed by hand since the conversion" in notes(tmp_path / "out")
    write_config(file, {n: v for n, v in document.items() if n != "rope_theta"})
    assert "changed by hand" in notes(tmp_path / "out")
    write_config(file, dict(reversed(document.items())))
    assert load(tmp_path / "out").notes == ()
    write_config(file, {n: v for n, v in document.items() if n != "fields_sha256"})
    assert load(tmp_path / "out").notes == ()  # of before the digest


@pytest.mark.parametrize("place", [("trainer", "arch"), ("model",), ("cfg", "experiment", "net")])
def test_an_architecture_that_stands_deeper_is_found(place, tmp_path):
    path = checkpoint(tmp_path)
    inner = arch(H_cycles=3)
    for name in reversed(place):
        inner = {name: inner}
    write_config(tmp_path / "all_config.yaml", {**inner, "lr": 1e-4, "data_paths": ["data"]})
    assert load(path).config.H_cycles == 3
    assert f"the architecture is read from {'.'.join(place)}" in notes(path) and "says nothing" not in notes(path)
    write_config(tmp_path / "all_config.yaml", {**inner, "arch": arch(), "data_paths": ["data"]})
    refused(path, "contradicts itself", f"H_cycles is 2 in arch and 3 in {'.'.join(place)}")


# -- files that are no weights, or not all of them --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "held, words",
    [
        ({"preds": torch.zeros(3)}, "predictions"),
        ({"exp_avg": TENSORS}, "optimizer"),
        ({"state": {}, "param_groups": []}, "optimizer"),
    ],
)
def test_a_newer_step_without_weights_is_passed_over(held, words, tmp_path):
    path = checkpoint(tmp_path, name="step_10")
    torch.save(held, tmp_path / "step_20")
    assert load(tmp_path).source == str(path) and "step_20 is passed over" in notes(tmp_path) and words in notes(tmp_path)
    refused(tmp_path / "step_20", "not a checkpoint", words)
    path.unlink()
    refused(tmp_path, "not a checkpoint", words)


@pytest.mark.parametrize("protocol", [2, 5])
def test_weights_that_are_numpy_arrays_are_called_so(protocol, tmp_path):
    arrays = {name: tensor.float().numpy() for name, tensor in TENSORS.items()}
    for saved in (arrays, {"model": arrays, "step": 3}):
        path = checkpoint(tmp_path)
        torch.save(saved, path, pickle_protocol=protocol)
        refused(path, "the weights are NumPy arrays", "torch.from_numpy")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
def test_a_type_that_is_not_read_is_named_first(dtype, tmp_path):
    checkpoint(tmp_path).unlink()
    safetensors.torch.save_file({n: t.to(dtype) for n, t in TENSORS.items()}, str(tmp_path / "model.safetensors"))
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert "of a type that recurc does not read" in caught.value.what
    assert {torch.int8: "I8", torch.float8_e4m3fn: "F8_E4M3"}[dtype] in caught.value.why


def test_a_shard_of_torch_is_called_one(tmp_path):
    checkpoint(tmp_path).unlink()
    name = "pytorch_model-0000{}-of-00002.bin"
    for i in (1, 2):
        torch.save(dict(list(TENSORS.items())[i - 1 :: 2]), tmp_path / name.format(i))
    refused(tmp_path, "shard 1 of 2", "Join them")
    refused(tmp_path / name.format(2), "shard 2 of 2")


def test_layers_by_another_name_are_named(tmp_path):
    path = checkpoint(tmp_path, **{n.replace(".layers.", ".blocks."): t for n, t in TENSORS.items()})
    refused(path, "0 layers of L_level", "L_level.layers.0.", "L_level.blocks.0.mlp.down_proj.weight")
