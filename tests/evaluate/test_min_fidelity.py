"""The threshold that lies beside a checkpoint: kept, found again, for that checkpoint only."""

import json
import shutil
from dataclasses import replace

import pytest

from recurc.errors import InputError
from recurc.evaluate.min_fidelity import DEFAULT_MIN_FIDELITY, MIN_FIDELITY_FILE, MinFidelity, keep, kept, least_fidelity
from recurc.study.ladder import LadderResult
from tests.randmodels import sudoku4
from tests.study.points import point

OWN = MinFidelity("", 0.925, 0.02, 128, 16, 2, 0, 2, 0)


@pytest.fixture
def reasoner(tmp_path):
    return replace(sudoku4(), source=str(tmp_path / "model.safetensors"))


def test_what_is_kept_of_a_gate(reasoner):
    points = tuple(point(phi, loss) for phi, loss in ((0.99, 0), (0.95, 0.01), (0.9, 0.05), (0.5, 0.6)))
    gate = LadderResult("m", 128, 16, 0.9, points)
    assert gate.own("", 0.02) == OWN
    lowest = replace(OWN, min_fidelity=0.5, tolerance=0.7, harmful=0, harmless=4)
    assert gate.own("", 0.7) == lowest, "nothing harmful: as low as seen"
    assert replace(gate, points=(point(0.9, 0.1), point(0.8, 0.2))).own("", 0.02) is None
    assert replace(gate, fp32_exact=0.01).own("", 0.02) is None, "nothing to lose"


def test_kept_beside_the_checkpoint_and_for_it_alone(reasoner):
    assert kept(reasoner) is None and least_fidelity(reasoner)[0] == DEFAULT_MIN_FIDELITY
    own = replace(OWN, checkpoint_sha256=reasoner.sha256)
    path = keep(own, reasoner)
    assert path.name == MIN_FIDELITY_FILE and [p.name for p in path.parent.iterdir()] == [MIN_FIDELITY_FILE]
    assert kept(reasoner) == own
    value, whence = least_fidelity(reasoner)
    assert value == 0.925 and "this checkpoint's own" in whence and "128 puzzles" in whence
    assert least_fidelity(reasoner, 0.5) == (0.5, "as asked for")
    assert kept(replace(reasoner, sha256="0" * 64)) is None, "another checkpoint has come into the folder"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema": "recurc/fidelity/1"}',
        '{"schema": "other/1", "min_fidelity": 1}',
        json.dumps({"schema": "recurc/fidelity/1", **vars(replace(OWN, min_fidelity=7.0))}),
    ],
)
def test_a_broken_file_is_no_threshold(reasoner, tmp_path, content):
    (tmp_path / MIN_FIDELITY_FILE).write_text(content)
    with pytest.raises(InputError, match="recurc gate CHECKPOINT --keep") as e:
        least_fidelity(reasoner)
    assert e.value.exit_code == 3 and MIN_FIDELITY_FILE in str(e.value)


def test_a_folder_that_cannot_be_written(reasoner, tmp_path):
    gone = replace(reasoner, source=str(tmp_path / "gone" / "model.safetensors"))
    assert kept(gone) is None
    with pytest.raises(InputError, match="--min-fidelity"):
        keep(replace(OWN, checkpoint_sha256=gone.sha256), gone)
    shutil.rmtree(tmp_path)
