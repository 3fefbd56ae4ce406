"""Files beside a checkpoint that the system does not let be read: none is taken for absent without a word."""

import errno
import os
import shutil

import pytest

from recurc.errors import InputError
from recurc.models.checkpoint import load
from tests.models.builders import arch, state_dict, write_checkpoint

MLP = arch(mlp_t=True, pos_encodings="none")


@pytest.fixture
def refused(monkeypatch):
    """Names of files that the system does not let be opened."""
    names: set[str] = set()
    opened = os.open

    def open_(path, *args, **options):
        if os.path.basename(os.fsdecode(path)) in names:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", open_)
    return names


def test_what_cannot_be_read_beside_a_checkpoint_is_told(tmp_path, refused):
    """It may be another checkpoint, of which two are refused."""
    write_checkpoint(tmp_path, MLP, state_dict(MLP), name="step_1")
    (tmp_path / "step_1").rename(tmp_path / "weights")
    shutil.copyfile(tmp_path / "weights", tmp_path / "more")
    with pytest.raises(InputError, match="several checkpoints"):
        load(tmp_path)
    refused.add("more")
    assert any("more is passed over, as it cannot be read: Input/output error" in note for note in load(tmp_path).notes)
    refused.add("weights")
    with pytest.raises(InputError, match="no checkpoint in this folder.*Input/output error"):
        load(tmp_path)


def test_a_configuration_above_that_cannot_be_read_is_told(tmp_path, refused):
    write_checkpoint(tmp_path / "inner", MLP, state_dict(MLP), name="step_1")
    (tmp_path / "inner/all_config.yaml").rename(tmp_path / "config.yaml")
    assert any("of the folder above" in note for note in load(tmp_path / "inner").notes)
    refused.add("config.yaml")
    notes = load(tmp_path / "inner").notes
    assert any("config.yaml, in the folder above, is not used, as it cannot be read: Input/output" in note for note in notes)
