"""A configuration, or a table that follows from one, that lies elsewhere than beside the checkpoint: never passed over."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from recurc.models.checkpoint import load
from tests.models.builders import PREFIX, arch
from tests.models.silent import write_config
from tests.models.test_right_model import TENSORS, checkpoint, notes, refused, same


@pytest.mark.parametrize("metadata", [{"config": json.dumps({"arch": {"H_cycles": 3}})}, {"H_cycles": "3", "format": "pt"},
                                      {"hyper": json.dumps({"H_cycles": 3, "L_cycles": 2})}])
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
