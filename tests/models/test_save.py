"""What `convert` writes over, and what not; the pair of files is never mixed without being told."""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recurc.errors import InputError, UsageError
from recurc.models.checkpoint import load, save
from tests.killed import killed_at


@pytest.fixture
def two(tmp_path):
    """Two models of one shape, with different weights."""
    first = load("sudoku4-tiny")
    return first, replace(first, tensors={name: tensor + np.float32(1) for name, tensor in first.tensors.items()})


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_converted_checkpoint_is_replaced_by_the_next(two, tmp_path):
    for model in two:
        save(model, tmp_path)
        assert all((load(tmp_path).tensors[name] == tensor).all() for name, tensor in model.tensors.items())
    assert sorted(contents(tmp_path)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("files", [
    {"config.json": '{"architectures": ["LlamaForCausalLM"]}'}, {"config.json": "[]"}, {"config.json": "{"},
    {"config.json": ""},
    {"model.safetensors": "someone's weights"}, {"config.json": '{"format": "pt"}', "model.safetensors": "weights"},
])  # fmt: skip
def test_files_that_convert_did_not_write_are_refused_by_name(files, two, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="did not convert") as error:
        save(two[0], tmp_path)
    assert error.value.where == str(tmp_path / next(iter(files))) and contents(tmp_path) == before
    with pytest.raises(UsageError):
        (tmp_path / "dangling").mkdir()
        (tmp_path / "dangling" / "config.json").symlink_to("nowhere")
        save(two[0], tmp_path / "dangling")


@pytest.mark.parametrize("fresh", [True, False])
def test_killed_at_any_call_there_is_no_mixed_pair(fresh, two, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    seen, number = set(), 0
    while True:
        if fresh:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        else:
            save(two[0], tmp_path / "out")
        killed = killed_at(number, lambda: save(two[1], tmp_path / "out"))
        try:
            found = load(tmp_path / "out")
        except InputError as error:
            seen.add(error.what)
        else:
            equal = [all((found.tensors[n] == t).all() for n, t in model.tensors.items()) for model in two]
            assert sum(equal) == 1
            seen.add(equal.index(True))
        save(two[1], tmp_path / "out")  # and the next conversion finds nothing in its way
        if not killed:
            break
        number += 1
    assert number > 5
    expected = {"no checkpoint", "no checkpoint in this folder"} if fresh else {0, "config.json is of other weights"}
    assert seen == {*expected, 1} and len(os.listdir(tmp_path / "out")) == 2


def test_a_folder_of_before_the_digest_loads(two, tmp_path):
    save(two[0], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    digest = config.pop("weights_sha256")
    assert digest == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path).config == two[0].config
    (tmp_path / "config.json").write_text(json.dumps({**config, "weights_sha256": "0" * 64}))
    with pytest.raises(InputError, match="of other weights.*Convert again"):
        load(tmp_path)


def test_a_full_disk_leaves_the_pair_that_was_there(two, tmp_path, monkeypatch):
    save(two[0], tmp_path)
    before = contents(tmp_path)
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(InputError, match="No space left"):
            patch.setattr(os, call, lambda *a: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
            save(two[1], tmp_path)
        assert contents(tmp_path) == before
