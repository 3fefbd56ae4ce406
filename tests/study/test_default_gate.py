"""The default threshold and those beside the bundled checkpoints are what the measured points give (docs/gate)."""

import csv
from functools import lru_cache
from pathlib import Path

import pytest

from recurc.evaluate.min_fidelity import DEFAULT_MIN_FIDELITY, kept
from recurc.models.checkpoint import load
from recurc.resources import bundled_models
from recurc.study.ladder import LadderResult
from recurc.study.threshold import Point, careful, least_puzzles, spearman, threshold

ROOT = Path(__file__).parents[2]
NUMBERS = ("phi_first", "phi_last", "kept", "exact", "loss", "loss_se")
MODELS = [name for name, folder in bundled_models().items() if (folder / "data").is_dir()]


@lru_cache
def points() -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    with open(ROOT / "docs/gate/gate.csv", newline="") as file:
        for row in csv.DictReader(file):
            point = Point(row["model"], row["label"], row["engine"], *(float(row[key]) for key in NUMBERS))
            found.setdefault(point.model, []).append(point)
    return found


def test_all_examples_were_measured():
    assert set(points()) == set(MODELS) and len({len(these) for these in points().values()}) == 1


def test_the_default_is_the_threshold_of_all():
    every = [p for these in points().values() for p in these]
    found = threshold(every)
    assert DEFAULT_MIN_FIDELITY == int(100 * found.phi) / 100
    assert spearman([p.phi_first for p in every], [p.loss for p in every]) < -0.8, "fidelity tells"


@pytest.mark.parametrize("name", MODELS)
def test_a_bundled_checkpoint_has_its_own(name):
    own = kept(load(name))
    assert own is not None
    found = LadderResult(name, own.n, own.steps, 1.0, tuple(points()[name])).own(own.checkpoint_sha256)
    assert own == found and own.min_fidelity == careful(points()[name]) and own.n >= least_puzzles(own.tolerance)
