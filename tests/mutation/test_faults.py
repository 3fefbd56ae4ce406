"""The list of planted faults is up to date, a few of them die, and the command that plants them can be trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutation.__main__ import WIDTH, judge
from tests.mutation.faults import ROOT, Fault, load, sample
from tests.mutation.trial import DEAD, ERROR, SURVIVED, Outcome, Trials, files_of

CHEAP = 3  # planted at every run of the suite, other ones at every commit


# -- the list -----------------------------------------------------------------------------------------------------------


def test_every_fault_can_still_be_planted():
    wrong = {fault.name: why for fault in load() if (why := fault.wrong(ROOT)) is not None}
    assert not wrong, "the code or its tests have changed: mend these entries of tests/mutation/faults"


def test_every_fault_names_single_tests():
    assert all("::" in name for fault in load() for name in fault.test)


def test_a_sample_dies():
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD^{tree}"]
        tree = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
        files_of(ROOT)
    except (OSError, ValueError, subprocess.CalledProcessError):
        pytest.skip("no git checkout to copy")
    chosen = sample([f for f in load() if not f.slow], CHEAP, tree.strip())
    assert [(v.fault.name, v.kind) for v in judge(chosen)] == [(f.name, DEAD) for f in chosen]


# -- the command --------------------------------------------------------------------------------------------------------

CODE = "def limit(n):\n    return min(n, 10)\n\n\ndef other(n):\n    return n + 1\n"
TESTS = """
from code_under_test import limit, other
import pytest

def test_limit():
    assert limit(11) == 10

@pytest.mark.parametrize("n", [1, 2])
def test_small(n):
    assert limit(n) == n

def test_broken():
    assert False

def test_missing():
    pytest.skip("no tool")

def test_hangs():
    while other(1) == 1:
        pass
"""
GOOD = Fault("limit", "code_under_test.py", "min(n, 10)", "n", ("test_it.py::test_limit",), "x")


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    root = tmp_path_factory.mktemp("repo")
    (root / "code_under_test.py").write_text(CODE)
    (root / "test_it.py").write_text(TESTS)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "code_under_test.py"], check=True)  # the test is new, and copied too
    return root


@pytest.fixture(scope="module")
def trials(repo):
    with Trials(repo, seconds=60) as opened:
        yield opened


def test_a_fault_that_a_test_notices_is_dead(trials, repo):
    verdict = trials.try_fault(GOOD)
    assert (verdict.kind, verdict.by) == (DEAD, "test_it.py::test_limit")
    assert (trials.tree / "code_under_test.py").read_text() == CODE == (repo / "code_under_test.py").read_text()


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ({"test": ("test_it.py::test_small",)}, SURVIVED, "2 tests pass"),
        ({"test": ("test_it.py::test_small[2]",), "new": "max(n, 10)"}, DEAD, "test_small[2]"),
        ({"old": "return"}, ERROR, "2 times"), ({"old": "gone"}, ERROR, "0 times"),
        ({"file": "none.py"}, ERROR, "No such file"),
        ({"new": "min(n, 10)"}, ERROR, "the same"), ({"new": "min(n, 10"}, ERROR, "no Python"),
        ({"new": "name_of_nothing"}, ERROR, "does not compile"), ({"test": ("test_it.py::test_none",)}, ERROR, "no such test"),
        ({"test": ("test_it.py::test_small[3]",)}, ERROR, "without it"),
        ({"test": ("test_it.py::test_broken",)}, ERROR, "without it"),
        ({"test": ("test_it.py::test_missing",)}, ERROR, "skipped here"),
    ],
)  # fmt: skip
def test_what_proves_nothing_does_not_count_as_dead(trials, change, kind, told):
    verdict = trials.try_fault(replace(GOOD, **change))
    assert verdict.kind == kind and told in verdict.by


def test_tests_that_do_not_end_are_no_verdict(repo):
    with Trials(repo, seconds=60) as trials:
        fault = replace(GOOD, old="n + 1", new="1", test=("test_it.py::test_hangs",))
        assert trials.run(fault.test).passed
        trials.seconds = 2
        trials._clean[fault.test] = Outcome(0, 1, 0, (), "")
        verdict = trials.try_fault(fault)
    assert verdict.kind == ERROR and "in time" in verdict.by


def test_a_table_that_fits_a_terminal_and_copies_that_go(repo, tmp_path, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where nobody else runs this test
    found = judge([GOOD, replace(GOOD, name="other")], jobs=2, root=repo, tell=lines.append)
    assert [v.kind for v in found] == [DEAD, DEAD]
    assert all(len(line) <= WIDTH for line in lines) and {line[:5] for line in lines} == {"limit", "other"}
    assert not list(tmp_path.glob("recurc-faults-*"))


LIST = """
[[fault]]
name = "hang"
file = "tests/mutation/faults.py"
old = 'ROOT = Path'
new = "import time\\ntime.sleep(600)\\nROOT = Path"
test = ["tests/mutation/test_faults.py::test_every_fault_names_single_tests"]
why = "nothing"
"""


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    """Neither the copy nor a test that runs in it; the working tree was never touched."""
    (tmp_path / "list.toml").write_text(LIST)
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "tests.mutation", "--list", str(tmp_path / "list.toml")]
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}

    def heard() -> None:  # who runs the tests in the background has SIGINT ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL, preexec_fn=heard) as run:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not _running(str(tmp_path / "tmp")):
            time.sleep(0.1)
        assert run.poll() is None and _running(str(tmp_path / "tmp")), "or there is nothing to leave behind"
        run.send_signal(signal.SIGINT)
    assert run.returncode == 130 and not list((tmp_path / "tmp").iterdir()) and not _running(str(tmp_path / "tmp"))


def _running(folder: str) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if folder in text and "pytest" in text and "tests.mutation" not in text:
            found.append(text)
    return found


def test_a_list_with_gaps_is_refused(tmp_path):
    entry = LIST.strip()
    for text, told in ((entry.replace('why = "nothing"', 'why = ""'), "hang"), (entry + "\n" + entry, "twice"),
                       (entry + "\nextra = 1", "extra"), (entry.replace("test = ", "tests = "), "hang")):  # fmt: skip
        (tmp_path / "list.toml").write_text(text)
        with pytest.raises(ValueError, match=told):
            load([tmp_path / "list.toml"])


def test_a_sample_is_the_same_for_the_same_seed():
    faults = [replace(GOOD, name=str(i)) for i in range(50)]
    assert sample(faults, 5, "a") == sample(faults, 5, "a") != sample(faults, 5, "b") and len(sample(faults, 99, "a")) == 50
