"""What the original HRM code computed, recorded."""

from __future__ import annotations

import json

import torch
import yaml

from tests.models.builders import PREFIX, write_checkpoint, write_dataset
from tests.models.hrm_cases import IDENTIFIERS, RECORDED, SEQ, VOCAB, weights

ALL_FIELDS = {"data_path": "data", "seed": 0}  # one path, where the TRM repository has lists


def recorded_state(name: str) -> dict[str, torch.Tensor]:
    """The case's weights, without prefix, for the names and shapes that the original code's state dict had."""
    entries = json.loads((RECORDED / f"{name}.json").read_text())
    assert all(key.startswith(PREFIX) for key, _, _ in entries)
    state = weights({key.removeprefix(PREFIX): tuple(shape) for key, shape, _ in entries})
    assert [str(t.dtype).removeprefix("torch.") for t in state.values()] == [dtype for _, _, dtype in entries]
    return state


def written(folder, arch: dict, state: dict, *, seq_len: int = SEQ, dataset: bool = True):
    """A checkpoint folder as the original leaves it, with its dataset beside it; returns the weights file."""
    if dataset:
        write_dataset(folder / "data", seq_len=seq_len, vocab=VOCAB, identifiers=IDENTIFIERS)
    path = write_checkpoint(folder, arch, state)
    (folder / "all_config.yaml").write_text(yaml.dump({"arch": arch, **ALL_FIELDS}))
    return path
