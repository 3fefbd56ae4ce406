"""Less data must not make the gate laxer: a measured ladder, judged by few and by many of its puzzles."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from recurc.cli.main import main
from recurc.study.ladder import LadderResult
from recurc.study.threshold import Point, careful, least_puzzles, threshold
from tests.study.points import point

RECORDED = json.loads(Path(__file__).with_name("ladder_sudoku4_tiny.json").read_text())
N = RECORDED["n"]
BYTES = [np.frombuffer(bytes.fromhex(row["solved"]), np.uint8) for row in RECORDED["rows"]]
SOLVED = np.unpackbits(BYTES, axis=1).astype(float)


def points(of: np.ndarray) -> list[Point]:
    """The ladder's points, judged by some of the puzzles."""
    lost = SOLVED[0][of] - SOLVED[1:, of]
    return [
        replace(point(row["phi"], float(x.mean())), loss_se=float(x.std(ddof=1) / np.sqrt(len(of))))
        for row, x in zip(RECORDED["rows"][1:], lost)
    ]


@lru_cache
def drawn(n: int) -> tuple[list[float], list[float]]:
    """(thresholds where harm is sure, what would be kept) of 200 draws of n puzzles, 1 where none follows."""
    rng = np.random.default_rng(n)
    some = [points(rng.choice(N, n, replace=False)) for _ in range(200)]
    return [threshold(p).suggestion or 1.0 for p in some], [careful(p) or 1.0 for p in some]


def test_what_is_surely_harmful_gets_laxer_with_less_data():
    """The reason for the other rule: by 8 puzzles only ruin is sure."""
    truth = threshold(points(np.arange(N))).suggestion
    assert np.median(drawn(8)[0]) < truth - 0.05 and truth == careful(points(np.arange(N)))


@pytest.mark.parametrize("n", [16, 32, 50, 100, 256])
def test_what_is_kept_does_not(n):
    truth, (sure, kept) = careful(points(np.arange(N))), drawn(n)
    assert np.median(kept) >= truth - 0.005 and all(a <= b for a, b in zip(sure, kept))
    if n >= least_puzzles(0.02):
        assert np.quantile(kept, 0.05) > truth - 0.01, "hardly ever laxer"


def test_how_many_puzzles_there_must_be():
    assert [least_puzzles(t) for t in (0.02, 0.01, 0.1, 0.03, 1.0)] == [50, 100, 10, 34, 1]


def test_the_stricter_of_two():
    doubted = (point(0.99, 0), point(0.95, 0.09, se=0.06), point(0.9, 0.05, se=0.003), point(0.8, 0.2))
    assert threshold(doubted).suggestion == 0.925 and careful(doubted) == 0.97
    found = LadderResult("m", 128, 16, 0.9, doubted).own("")
    assert (found.min_fidelity, found.harmful, found.missed) == (0.97, 2, 0)
    assert (found.harmless, found.alarms, found.unclear) == (2, 1, 0)
    assert careful((point(0.99, 0), point(0.5, 0.6))) == threshold((point(0.99, 0), point(0.5, 0.6))).suggestion
    assert careful((point(0.9, 0.1, se=0.09), point(0.8, 0.2))) is None, "all of it is likelier harmful than not"


def test_too_few_are_refused_before_anything_is_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("recurc.study.ladder.measure_ladder", lambda *a, **k: pytest.fail("measured"))
    line = ["gate", "sudoku4-tiny", "--keep", "--out", str(tmp_path)]
    assert main([*line, "--limit", "8"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "8 puzzles are too few to keep a threshold" in said and "one puzzle more or less is 12.5 points" in said
    assert "at least 50 puzzles (--limit)" in said and list(tmp_path.iterdir()) == []
    assert main([*line, "--tolerance", "0"]) == 2 and "more than nothing" in capsys.readouterr().err
