"""Users without a home or a name, names that are not UTF-8, odd variables: each command works, or says why in one paragraph."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
LINES = (
    "boards", "boards show stm32h7", "inspect ck", "inspect ck --json", "convert ck new", "--help", "dataset describe data",
    "report ck --target stm32h7 --html page.html", "dataset make made --inputs x.npy --labels x.npy --split 0.5",
    "run ck --steps 1 --out a.npy", "export ck --precision fp32 --onnx onnx",
)  # fmt: skip
COMPILING = "eval ck --limit 1 --steps 1"
NAMES = ("ck", "data", "new", "page.html", "made", "a.npy", "onnx", "x.npy")
ODD = {
    "TMPDIR": ("/nowhere", "x.npy", "", "."), "TZ": ("nonsense", ":/etc/passwd", ""), "TERM": ("", "dumb", "nonsense"),
    "COLUMNS": ("0", "1", "1000000", "-5", "x", "9" * 30), "LINES": ("0", "x"), "CC": ("nowhere", "gcc -O0", ""),
    "PATH": ("", "/nowhere"), "XDG_CACHE_HOME": ("", "relative", "/dev/null", "x.npy"), "HOME": ("", "/nowhere", "relative"),
    "RECURC_CACHE": ("/dev/null", "x.npy/y"), "PYTHONWARNINGS": ("error",), "LC_ALL": ("nowhere",), "NO_COLOR": ("1",),
}  # fmt: skip


def prepare(folder: Path, mark: str = "") -> None:
    """What the lines need, in a folder; each name with a mark before it."""
    shutil.copytree(ROOT / "examples/models/sudoku4-tiny", folder / f"{mark}ck")
    shutil.copytree(folder / f"{mark}ck/data", folder / f"{mark}data")
    with open(folder / f"{mark}x.npy", "wb") as file:
        np.save(file, np.load(folder / f"{mark}data/test/all__inputs.npy")[:4])


def run(cases: list[dict], folder: Path) -> list[tuple[int, str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.surroundings"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(case: dict, code: int, out: str, err: str, codes: tuple[int, ...] = (0,)) -> None:
    assert code in codes, (case, code, out, err)
    assert "bug" not in err and "Traceback" not in err and "Exception ignored" not in err, (case, err)
    assert sum(line.startswith("error: ") for line in err.splitlines()) == bool(code), (case, err)


def test_a_user_without_home_and_name(tmp_path):
    prepare(tmp_path)
    without = {"unset": ["HOME", "USER", "LOGNAME", "USERNAME", "XDG_CACHE_HOME", "RECURC_CACHE"], "nobody": True}
    cases = [{"line": line.split(), **without} for line in LINES]
    for case, told in zip(cases, run(cases, tmp_path), strict=True):
        check(case, *told)
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    prepare(folder, "\udcff")
    cases = [{"line": ["\udcff" + word if word in NAMES else word for word in line.split()]} for line in (*LINES, COMPILING)]
    for case, told in zip(cases, run(cases, folder), strict=True):
        named = "\udcffck" in case["line"] and case["line"][0] in ("run", "eval", "export")  # the name goes into C sources
        check(case, *told, (3,) if named else (0,))
        assert not named or ("not UTF-8" in told[2] and "Rename it" in told[2])
    assert {f"\udcff{name}" for name in NAMES} - set(os.listdir(folder)) == {"\udcffa.npy", "\udcffonnx"}


def test_odd_variables(tmp_path):
    prepare(tmp_path)
    cases = []
    for name, values in ODD.items():
        lines = [
            COMPILING if name in ("CC", "PATH", "TMPDIR") and value == values[0] else "report ck --target stm32h7"
            for value in values
        ]
        cases += [{"line": line.split(), "set": {name: value}} for line, value in zip(lines, values, strict=True)]
    for case, told in zip(cases, run(cases, tmp_path), strict=True):
        check(case, *told, (0, 3, 6) if COMPILING.split() == case["line"] else (0,))
