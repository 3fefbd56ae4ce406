"""Working folders of checkpoints, and what loading them must say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurc.errors import InputError
from recurc.models.checkpoint import load
from tests.models.builders import arch, state_dict, write_checkpoint, write_dataset

TENSORS = state_dict(arch())


def checkpoint(folder, fields=None, name="step_1", **wrapped):
    """A folder as the original writes it, with its dataset beside it; `wrapped` replaces what is saved."""
    write_dataset(folder / "data")
    path = write_checkpoint(folder, fields or arch(), TENSORS, name=name)
    if wrapped:
        torch.save(wrapped, path)
    return path


def notes(path) -> str:
    return "\n".join(load(path).notes)


def refused(path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(path)
    assert all(word in caught.value.paragraph() for word in words), caught.value.paragraph()


def same(path, expected=TENSORS) -> None:
    found = load(path).tensors
    assert all(np.array_equal(found[n], expected[n].float().numpy()) for n in found)
