"""A checkpoint in several safetensors files: joined when the set is whole, refused with the names where it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

import recurc
from recurc.errors import InputError
from recurc.models.checkpoint import load
from tests.models.builders import arch, state_dict, write_checkpoint

ARCH = arch(mlp_t=True, pos_encodings="none")
TENSORS = state_dict(ARCH)
INDEX = "model.safetensors.index.json"
NAMES = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three shards, their index, and the configuration of the original code."""
    made = tmp_path / "sharded"
    write_checkpoint(made, ARCH, TENSORS).unlink()
    write_shards(made)
    return made


def write_shards(folder: Path, prefix: str = "") -> None:
    parts = {name: dict(list(TENSORS.items())[i::3]) for i, name in enumerate(NAMES)}
    for name, part in parts.items():
        safetensors.torch.save_file({prefix + n: t.contiguous() for n, t in part.items()}, str(folder / name))
    total = sum(t.numel() * t.element_size() for t in TENSORS.values())
    weights = {prefix + n: name for name, part in parts.items() for n in part}
    write_index(folder, {"metadata": {"total_size": total}, "weight_map": weights})


def write_index(folder: Path, document: object) -> None:
    (folder / INDEX).write_text(json.dumps(document))


def index(folder: Path) -> dict:
    return json.loads((folder / INDEX).read_text())


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(path)
    assert all(word in caught.value.paragraph() for word in words), caught.value.paragraph()


@pytest.mark.parametrize("prefix", ["", "_orig_mod.model.inner."])
def test_a_set_is_joined_however_it_is_named(folder, prefix):
    write_shards(folder, prefix)
    for path in (folder, folder / INDEX, *(folder / name for name in NAMES)):
        found = load(path)
        assert set(found.tensors) == set(TENSORS)
        assert all(np.array_equal(found.tensors[n], t.float().numpy()) for n, t in TENSORS.items())
        assert found.source == str(folder / INDEX) and load(found.source).sha256 == found.sha256
        assert found.config.H_cycles == ARCH["H_cycles"] and not found.notes
    assert recurc.load(folder / INDEX).name == "sharded"
    with_other_bytes = found.sha256
    changed = {n: t + 1 for n, t in safetensors.torch.load_file(folder / NAMES[2]).items()}
    safetensors.torch.save_file(changed, str(folder / NAMES[2]))
    assert load(folder).sha256 != with_other_bytes


def test_without_an_index_the_names_tell_the_set_and_that_is_said(folder):
    (folder / INDEX).unlink()
    for path in (folder, folder / NAMES[1]):
        assert any("no index" in note for note in load(path).notes) and set(load(path).tensors) == set(TENSORS)
    with pytest.warns(recurc.RecurcWarning, match="no index"):
        assert recurc.load(folder).name == "sharded"
    (folder / NAMES[1]).unlink()
    refused(folder, "missing", NAMES[1])
    refused(folder / NAMES[0], "missing", NAMES[1])


def test_a_missing_shard_is_named(folder):
    (folder / NAMES[2]).unlink()
    for path in (folder, folder / INDEX, folder / NAMES[0]):
        refused(path, "missing", NAMES[2], INDEX)
    for name in NAMES[:2]:
        (folder / name).unlink()
    refused(folder, "missing", *NAMES)


def test_a_tensor_in_two_shards(folder):
    parts = [safetensors.torch.load_file(folder / name) for name in NAMES]
    name = next(iter(parts[0]))
    safetensors.torch.save_file({**parts[1], name: parts[0][name]}, str(folder / NAMES[1]))
    refused(folder, name, NAMES[0], NAMES[1])
    (folder / INDEX).unlink()
    refused(folder, "two", name, NAMES[0], NAMES[1])


def test_a_tensor_in_no_shard(folder):
    parts = safetensors.torch.load_file(folder / NAMES[1])
    name = next(iter(parts))
    del parts[name]
    safetensors.torch.save_file(parts, str(folder / NAMES[1]))
    refused(folder, name, NAMES[1], INDEX)


@pytest.mark.parametrize("change", ["moved", "unnamed", "other count", "unused shard"])
def test_an_index_of_another_set(folder, change):
    document = index(folder)
    weights = document["weight_map"]
    name = next(n for n, file in weights.items() if file == NAMES[0])
    words = [name, NAMES[0]]
    if change == "moved":
        weights[name] = NAMES[1]
    elif change == "unnamed":
        del weights[name]
    elif change == "other count":
        for old in NAMES:
            shutil.copy(folder / old, folder / old.replace("00003", "00004"))
        weights |= {n: f.replace("00003", "00004") for n, f in weights.items() if f == NAMES[0]}
        words = ["of 3", "of 4"]
    else:
        document["weight_map"] = {n: f for n, f in weights.items() if f != NAMES[0]}
        words = [NAMES[0]]
    write_index(folder, document)
    refused(folder / INDEX, INDEX, *words)


def test_sizes_that_differ_are_said(folder):
    document = index(folder)
    document["metadata"]["total_size"] += 4
    write_index(folder, document)
    assert any("total_size" in note for note in load(folder).notes)
    document["metadata"] = None
    write_index(folder, document)
    assert not any("total_size" in note for note in load(folder).notes)


@pytest.mark.parametrize("document", [
    [], {}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../x.safetensors"}},
    {"weight_map": {"a": "/etc/passwd"}}, {"weight_map": {"a": "x.bin"}}, {"weight_map": {"a": "b/x.safetensors"}},
    {"weight_map": {"a": "x\u0000.safetensors"}}, {"weight_map": {"a" * 10_000: NAMES[0]}}])  # fmt: skip
def test_an_index_that_is_none(folder, document):
    write_index(folder, document)
    refused(folder, INDEX)
    refused(folder / NAMES[0], INDEX)


def test_two_sets_in_a_folder_are_ambiguous_and_either_may_be_named(folder):
    safetensors.torch.save_file({n: t.contiguous() for n, t in TENSORS.items()}, str(folder / "model.safetensors"))
    refused(folder, "several checkpoints", "model.safetensors", INDEX)
    assert load(folder / "model.safetensors").source.endswith("model.safetensors") and load(folder / INDEX)


def test_one_file_with_an_index(folder):
    for name in NAMES:
        (folder / name).unlink()
    safetensors.torch.save_file({n: t.contiguous() for n, t in TENSORS.items()}, str(folder / "model.safetensors"))
    write_index(folder, {"weight_map": dict.fromkeys(TENSORS, "model.safetensors")})
    assert set(load(folder).tensors) == set(TENSORS)
