"""The model's code beside a checkpoint: the original's is no news, a fork's is told, and none is run."""

from __future__ import annotations

import shutil

import pytest

from recurc.models import codefile
from recurc.models.checkpoint import load
from tests.models.builders import arch, state_dict, write_checkpoint

SOURCE = '''
"""A module."""
import torch
from torch import nn

class Config:
    expansion: float = {expansion}

class Block(nn.Module):
    """A block."""
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # a comment
        return torch.relu(x{view}).view(-1){more}
'''


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A folder whose `trm.py` counts as the original's."""
    path = write_checkpoint(
        tmp_path / "run", arch(mlp_t=True, pos_encodings="none"), state_dict(arch(mlp_t=True, pos_encodings="none"))
    )
    source = path.parent / "trm.py"
    source.write_text(SOURCE.format(expansion=4, view="", more=""))
    monkeypatch.setitem(codefile._KNOWN, "trm.py", {codefile.digest(source)})
    return path


def told(path) -> list[str]:
    return [note for note in load(path).notes if "trm.py" in note]


def test_what_computes_the_same_is_no_news(known):
    source = known.parent / "trm.py"
    assert told(known) == []
    plain = SOURCE.format(expansion=8, view="", more="").replace('"""A block."""', "pass").replace("    pass\n", "")
    source.write_text(plain.replace("# a comment", "").replace(".view(-1)", ".reshape(-1)").replace(" -> torch.Tensor", ""))
    assert told(known) == []


@pytest.mark.parametrize("change", [{"view": " * 2"}, {"more": " + 1"}, {"more": "[1:]"}])
def test_a_fork_is_told(change, known):
    (known.parent / "trm.py").write_text(SOURCE.format(**{"expansion": 4, "view": "", "more": ""} | change))
    assert "no version of the original code" in told(known)[0]


def test_it_is_not_run(known):
    mark = known.parent / "ran"
    (known.parent / "trm.py").write_text(f"open({str(mark)!r}, 'w')\n")
    assert told(known) and not mark.exists()


@pytest.mark.parametrize(
    "content", [b"class A(\n", b"\xff\xfe", b"x = " + b"(" * 5000, b"class A:\n" + b" " * (2 << 20), b"\0"]
)
def test_what_cannot_be_read_is_told(content, known):
    (known.parent / "trm.py").write_bytes(content)
    assert "was not compared" in told(known)[0]


def test_a_folder_of_that_name_is_nothing(known):
    (known.parent / "trm.py").unlink()
    (known.parent / "trm.py").mkdir()
    assert told(known) == []
    shutil.rmtree(known.parent / "trm.py")
