"""Plants a fault in a copy of the tree and runs the tests that must notice it. The tree itself is only read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.mutation.faults import ROOT, Fault

SECONDS = 300  # for the tests of a fault
CRASHES = [-number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)]
DEAD, SURVIVED, ERROR = "dead", "SURVIVED", "ERROR"
# Of what a test failed with: the fault made no program that a test could judge.
COMPILE_ERROR = re.compile(
    r"\.(c|h|S|so): ?\d+:\d+: error: |undefined reference|SyntaxError|ImportError|ModuleNotFoundError|NameError|UndefinedError"
)


@dataclass(frozen=True)
class Verdict:
    """What became of a fault: DEAD, SURVIVED, or ERROR (it could not be tried); `by`: the test that fails, or why not."""

    fault: Fault
    kind: str
    by: str


@dataclass(frozen=True)
class Outcome:
    """Of a run of pytest: exit code (None: out of time), how many tests passed, were skipped, (name, text) of failed ones."""

    code: int | None
    passed: int
    skipped: int
    failed: tuple[tuple[str, str], ...]
    said: str


def files_of(root: Path) -> list[str]:
    """Files of a git checkout: tracked ones and new ones that it does not ignore.

    Raises:
        ValueError: no checkout.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{root} is no git checkout: {done.stderr.strip()}")
    return [name for name in dict.fromkeys(done.stdout.split("\0")) if name and (root / name).is_file()]


@dataclass
class Trials:
    """A copy of a tree in a temporary folder, which goes with it; a context manager. Tests are run in the copy."""

    root: Path = ROOT
    seconds: float = SECONDS
    _clean: dict[tuple[str, ...], Outcome] = field(default_factory=dict)
    _process: subprocess.Popen | None = None
    _stopped: bool = False

    def __enter__(self) -> Trials:
        self._folder = Path(tempfile.mkdtemp(prefix="recurc-faults-"))
        try:
            self.tree = self._folder / "tree"
            for name in files_of(self.root):
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / name, self.tree / name)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End the tests that another thread runs here, and let none begin."""
        self._stopped = True
        if self._process is not None:
            _end(self._process)

    def run(self, tests: Sequence[str], planted: bool = False) -> Outcome:
        """Run tests in the copy, up to the first that fails. What they compile is kept for later runs, unless `planted`."""
        if self._stopped:
            raise InterruptedError
        work, report = self._folder / "work", self._folder / "report.xml"
        report.unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        cache = self._folder / "cache"
        if planted and cache.is_dir():
            cache = Path(shutil.copytree(cache, work / "cache"))
        env = {**os.environ, "PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(work),
               "XDG_CACHE_HOME": str(cache)}  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", f"--junitxml={report}",
                   f"--basetemp={work / 'pytest'}", "--hypothesis-seed=0", "--", *tests]  # fmt: skip
        with subprocess.Popen(
            command,
            cwd=self.tree,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                said, _ = process.communicate(timeout=self.seconds)
            except subprocess.TimeoutExpired:
                return Outcome(None, 0, 0, (), "")
            finally:
                self._process = None
                _end(process)
        return Outcome(process.returncode, *_read(report), said)

    def try_fault(self, fault: Fault) -> Verdict:
        """Whether the fault's tests pass without it and fail with it."""
        if (wrong := fault.wrong(self.tree)) is not None:
            return Verdict(fault, ERROR, wrong)
        if fault.test not in self._clean:
            self._clean[fault.test] = self.run(fault.test)
        clean = self._clean[fault.test]
        if clean.code != 0 or not clean.passed:
            why = "out of time" if clean.code is None else "skipped here" if clean.code == 0 else _last_lines(clean.said)
            return Verdict(fault, ERROR, f"its tests do not pass without it: {why}")
        path = self.tree / fault.file
        before = path.read_bytes()
        try:
            path.write_text(before.decode().replace(fault.old, fault.new))
            return _verdict(fault, self.run(fault.test, planted=True))
        finally:
            path.write_bytes(before)


def _verdict(fault: Fault, found: Outcome) -> Verdict:
    if found.code is None:
        return Verdict(fault, ERROR, "its tests did not end in time, which is no verdict")
    if found.code == 0:
        return Verdict(fault, SURVIVED, f"{found.passed} tests pass, {found.skipped} skipped")
    if found.code in CRASHES:
        return Verdict(fault, DEAD, f"the program crashed: {signal.Signals(-found.code).name}")
    if found.code != 1 or not found.failed:
        return Verdict(fault, ERROR, f"pytest failed by itself: {_last_lines(found.said)}")
    name, text = found.failed[0]
    if match := COMPILE_ERROR.search(text):
        return Verdict(fault, ERROR, f"it does not compile ({match[0].strip()}), so no test has judged it: {name}")
    return Verdict(fault, DEAD, name)


def _end(process: subprocess.Popen) -> None:
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _read(report: Path) -> tuple[int, int, tuple[tuple[str, str], ...]]:
    """Tests passed, skipped and failed of a JUnit file; none of a file that is not there."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return 0, 0, ()
    failed, skipped = [], 0
    for case in cases:
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                failed.append((f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}", found.text or ""))
        skipped += case.find("skipped") is not None
    return len(cases) - len(failed) - skipped, skipped, tuple(failed)


def _last_lines(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])[-200:]
