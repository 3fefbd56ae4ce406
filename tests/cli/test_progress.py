"""Without a terminal long work says every few seconds how far it is, and its counts move inside long units."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
import time

import numpy as np
import pytest

import recurc
import recurc.cli.common.ticks as ticks
from recurc.cli.common.output import Console
from recurc.cli.common.ticks import Count, Ticks
from recurc.cli.main import main
from recurc.evaluate.runs import run_engine
from recurc.quant.calibrate import calibrate
from recurc.study.units import Threads
from recurc.study.variants import Variant
from recurc.study.workbench import Workbench
from tests.tools import need

NAME = "sudoku4-tiny"


@pytest.fixture
def often(monkeypatch):
    """Lines come as fast as a short run needs them."""
    monkeypatch.setattr(ticks, "EVERY", 0.002)


@pytest.mark.parametrize("line", [
    ("eval", NAME, "--limit", "48", "--precision", "int8"), ("layers", NAME, "--fidelity-puzzles", "2"),
    ("sweep", NAME, "--precisions", "int8", "--limit", "32", "--no-cache", "--out", "OUT"),
    ("build", NAME, "--target", "host", "--precision", "int8", "--out", "OUT"),
], ids=lambda a: a[0])  # fmt: skip
def test_commands_say_how_far_they_are(line, often, tmp_path, capsys):
    need("host")
    assert main([str(tmp_path / "out") if a == "OUT" else a for a in line] + ["--json"]) == 0
    said = capsys.readouterr()
    json.loads(said.out)
    found = [m for text in said.err.splitlines() if (m := re.fullmatch(rf"{line[0]}: .+, \d+ s", text))]
    assert found, said.err
    counts = [m for m in (re.search(r": ([\d,]+) of ([\d,]+)", f.group(0)) for f in found) if m]
    assert counts and all(int(a.replace(",", "")) <= int(b.replace(",", "")) for a, b in (m.groups() for m in counts))


def test_verify_too(often, tmp_path, capsys):
    need("host")
    assert main(["build", NAME, "--target", "host", "--precision", "int8", "--out", str(tmp_path / "b")]) == 0
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "b"), "--on", "host", "--limit", "40", "--fidelity", "0"]) == 0
    assert re.search(r"^verify on host: \d+ of 40 puzzles, 0 differ.*, \d+ s$", capsys.readouterr().err, re.M)


def test_lines_come_without_any_advance_and_end_with_the_work(often, monkeypatch):
    stream, seen = io.StringIO(), threading.Event()
    stream.flush = lambda: len(stream.getvalue().splitlines()) > 2 and seen.set()
    monkeypatch.setattr(sys, "stderr", stream)
    with Console().progress("thinking", 12, "puzzles"):
        assert seen.wait(20)
    after = stream.getvalue()
    assert after.splitlines()[0].startswith("recurc: thinking: 0 of 12 puzzles, ")
    time.sleep(0.05)
    assert stream.getvalue() == after


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("closed")])
def test_a_stream_that_nobody_reads_ends_the_lines_and_not_the_work(error, often, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    monkeypatch.setattr(sys, "stderr", Gone())
    with Ticks(lambda: "x") as said:
        said._thread.join(20)
        assert not said._thread.is_alive()


def test_a_count_never_exceeds_its_total():
    count = Count("c", 3, "puzzles")
    assert str(count) == "c: 0 of 3 puzzles"
    for _ in range(3 * 7):
        count.advance(1 / 7)
    assert count.whole == 3 and str(count) == "c: 3 of 3 puzzles"
    count.advance(5, note="more")
    assert str(count) == "c: 3 of 3 puzzles (more)"
    assert str(Count("compiling", 1)) == "compiling"


# -- inside long units ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return recurc.load(NAME)


@pytest.fixture(scope="module")
def test_split():
    from recurc.resources import bundled_models

    return recurc.load_dataset(bundled_models()[NAME] / "data", "test").take(6)


def steps_told(parts: list[float], total: float) -> None:
    assert sum(parts) == pytest.approx(total) and max(parts) < total / 2, parts


def test_the_reference_tells_each_step(model, test_split):
    for options in ({"steps": 5}, {"steps": 5, "halt": -1e9}):
        parts: list[float] = []
        model.evaluate(test_split, progress=parts.append, **options)
        assert sum(parts) == pytest.approx(6)
    assert len(parts) >= 1
    parts = []
    model.evaluate(test_split, progress=parts.append, steps=5)
    steps_told(parts, 6)


def test_calibration_tells_each_step(model, test_split):
    told: list[tuple[float, int]] = []
    calibrate(model.reasoner, test_split.inputs, steps=4, progress=lambda done, total: told.append((done, total)))
    done = [d for d, _ in told]
    assert done == sorted(done) and len(done) >= 2 and done[-1] == told[-1][1]


def test_the_engine_tells_each_step(model, test_split):
    need("host")
    parts: list[float] = []
    run_engine(model.quantize("int8", steps=4).engine, test_split.inputs, np.zeros(6, int), 4, progress=parts.append)
    steps_told(parts, 6)
    assert len(parts) == 24


def test_variants_tell_each_step(model, test_split):
    need("host")
    bench = Workbench(model.reasoner, test_split)
    parts: list[float] = []
    with Threads(1) as threads:
        bench.evaluate([Variant("fp32", "fp32", steps=4), Variant("int8", steps=4)], threads, parts.append)
    steps_told(parts, 12)
    assert len(parts) >= 8
