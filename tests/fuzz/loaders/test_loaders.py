"""A fixed sample of mutations of every reader, and that the harness finds what it is there to find."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from recurc.errors import InputError, ToolchainError
from tests.fuzz.loaders.harness import Loader, fuzz
from tests.fuzz.loaders.loaders import LOADERS
from tests.fuzz.loaders.mutate import BYTES, mixed

RUNS = 150


@pytest.mark.parametrize("name", LOADERS)
def test_nothing_is_found(name):
    report = fuzz(LOADERS[name], RUNS // (4 if name in ("elf", "config-yaml") else 1), seed=1)
    assert report.findings == {} and 0 < report.accepted < report.runs, "both happen"


def _prepare(folder: Path) -> None:
    (folder / "x").write_bytes(b"0123456789" * 10)


def _planted(fault):
    def load(folder: Path) -> None:
        data = (folder / "x").read_bytes()
        if data != b"0123456789" * 10:
            fault(data)

    return Loader("planted", _prepare, {"x": mixed(BYTES)}, load)


def _context(data: bytes) -> None:
    try:
        raise MemoryError
    except MemoryError:
        raise InputError("too large") from None


def _raise(error: BaseException):
    def fault(data: bytes) -> None:
        raise error

    return fault


@pytest.mark.parametrize(
    "fault, words",
    [
        (lambda data: data[200], "IndexError"),
        (lambda data: bytearray(1 << 33), "MemoryError"),
        (_context, "memory"),
        (_raise(RecursionError("deep")), "RecursionError"),
        (_raise(ToolchainError("x")), "exit code 6"),
        (_raise(SystemExit(3)), "SystemExit"),
        (lambda data: b"\x01" * (400 << 20) and None, "memory"),
    ],
)
def test_a_planted_fault_is_found(fault, words):
    report = fuzz(_planted(fault), 3)
    assert len(report.findings) >= 1 and any(words in text for text in report.findings.values()), report.findings


def test_a_slow_reader_is_found(monkeypatch):
    monkeypatch.setattr("tests.fuzz.loaders.harness.SECONDS", 0.2)
    report = fuzz(_planted(lambda data: time.sleep(30)), 1)
    assert any("TooSlow" in text for text in report.findings.values())


def test_waiting_for_the_processor_is_not_slow(monkeypatch):
    """A campaign of low priority: others have the processor for longer than a run may take."""
    monkeypatch.setattr("tests.fuzz.loaders.harness.SECONDS", 0.05)
    waits = iter(range(0, 100_000, 100))
    monkeypatch.setattr("tests.fuzz.loaders.harness.waited", lambda: next(waits))
    assert fuzz(_planted(lambda data: time.sleep(0.2)), 1).findings == {}


def test_errors_that_reach_a_terminal_are_judged(monkeypatch):
    class Bare(InputError):
        def __str__(self) -> str:
            return self.what

    for text, words in (("\x1b[31m", "not printable"), ("x" * 3000, "3000 characters")):
        report = fuzz(_planted(_raise(Bare(text))), 3)
        assert any(words in found for found in report.findings.values())


def test_the_same_seed_gives_the_same_files(tmp_path):
    seen: list[list[bytes]] = []
    for seed in (1, 1, 2):
        seen.append([])
        fuzz(Loader("x", _prepare, {"x": mixed(BYTES)}, lambda f: seen[-1].append((f / "x").read_bytes())), 50, seed)
    assert seen[0] == seen[1] != seen[2]
