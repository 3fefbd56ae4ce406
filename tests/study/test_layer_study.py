"""What more bits for single layers buy: one measurement for `recurc layers` and `recurc tune`, of what a build has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import recurc
from recurc.api import Model
from recurc.cli.main import main
from recurc.evaluate.fidelity import carry_fidelity
from recurc.evaluate.runs import Kept, run_engine, run_reference
from recurc.study.layer_study import LayerStudy
from recurc.study.pricing import Prices
from recurc.study.settings import Aim
from recurc.study.variants import Variant
from recurc.targets.boards import load_board
from tests.randmodels import DATA, sudoku4
from tests.study.bench import split, workbench
from tests.study.searching import CONFIG, search
from tests.tools import need

ROOM = Path(recurc.__file__).parent
PUZZLES = 3
CHECKPOINT = ("layers", str(DATA / "checkpoint"), "--data", str(DATA / "data"), "--precision", "int3")
LAYERS = [*CHECKPOINT, "--calibration-puzzles", "16", "--json"]


def study(variant: Variant, high: str = "int8", **options) -> LayerStudy:
    need("host")
    return LayerStudy(workbench(1, **options), variant, high, Prices(CONFIG, load_board("stm32h7")), PUZZLES)


@pytest.mark.parametrize("depth", [{}, {"h_cycles": 1, "l_cycles": 2, "steps": 5}])
@pytest.mark.parametrize(("low", "high"), [("int3", "int8"), ("int2", "int3"), ("int2", "int8")])
def test_it_measures_what_a_build_of_the_mix_does(low, high, depth):
    """Whatever the depth: calibration, and so the weights, do not depend on it in a build either. Layers that have more bits
    already, as int2's heads, are not lowered."""
    found = study(Variant(low, **depth), high)
    heads = {"lm_head.weight", "q_head.weight"}
    assert heads & set(found.names) == (set() if (low, high) == ("int2", "int3") else heads)
    raised = found.names[1:3]
    quantized = Model(sudoku4(), "m").quantize(low, split("train"), puzzles=16, layers=found.layers(raised), **depth)
    some = split("train").sample(16, 0).take(PUZZLES)
    run = run_engine(quantized.engine, some.inputs, some.puzzle_ids, 1, kept=Kept((1,)))
    turns = CONFIG.trained.but(**{**depth, "steps": 1})
    expected = run_reference(sudoku4(), some.inputs, some.puzzle_ids, turns).z_H[0]
    phi, error = found.fidelity(raised)
    assert phi == pytest.approx(float(carry_fidelity(run.z_H[0], expected).mean()), abs=1e-7)
    assert error is not None and 0 < error < 0.1
    assert found.image_bytes(()) < found.image_bytes(raised) < found.image_bytes(found.names)
    assert found.fidelity(()) < found.fidelity(found.names) and np.isfinite(phi)


def test_the_command_and_the_search_measure_the_same(monkeypatch, capsys):
    callers = [p.relative_to(ROOM).as_posix() for p in ROOM.rglob("*.py") if "layer_gains(" in p.read_text()]
    assert sorted(callers) == ["evaluate/sensitivity.py", "study/layer_study.py"], "nothing else measures layers"
    need("host")
    assert main([*LAYERS, "--no-cache"]) == 0
    told = json.loads(capsys.readouterr().out)
    whole, made = LayerStudy.sensitivity, []
    monkeypatch.setattr(LayerStudy, "sensitivity", lambda *args: made.append(whole(*args)) or made[-1])
    for tuning in search(Aim("phi", 0.5), minimize="bytes"):
        variants = [tuning.bench.resolve(Variant(p, h_cycles=1)) for p in ("int3", "int8")]
        assert tuning._mixtures(variants, set(variants))
    (found,) = made
    assert (told["fidelity"], told["fidelity_all"]) == (found.low, found.high)
    assert {g["name"]: (g["fidelity"], g["bytes"]) for g in told["layers"]} == {
        g.name: (g.fidelity, g.bytes) for g in found.layers
    }


def test_repeated_it_takes_what_is_kept(capsys, monkeypatch, tmp_path):
    need("host")
    command = [*LAYERS, "--fidelity-puzzles", "1", "--cache", str(tmp_path)]
    assert main(command) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr("recurc.study.units.run_part", lambda *_: pytest.fail("it is computed again"))
    assert main(command) == 0 and capsys.readouterr().out == first
