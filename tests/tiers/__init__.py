"""The fast tier of the tests: `make test-fast` leaves out the functions that slow.txt names.

A whole run takes a quarter of an hour; the fast tier a minute and a half, with tests of every room. Which tests are slow is
measured, not judged: `pytest --junitxml=REPORT` and then `python -m tests.tiers REPORT` write slow.txt anew. A test that
nobody has measured yet is fast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
SLOW = Path(__file__).with_name("slow.txt")
HEAD = "# Tests that are left out of `make test-fast`. Written by `python -m tests.tiers`; see tests/tiers/__init__.py.\n"


def function_of(node: str) -> str:
    """A test's function: its node identifier without what it is parametrized with."""
    return node.split("[", 1)[0]


def slow() -> frozenset[str]:
    """The functions of slow.txt."""
    lines = SLOW.read_text().splitlines() if SLOW.exists() else []
    return frozenset(line for line in lines if line and not line.startswith("#"))


def durations(report: Path) -> dict[str, float]:
    """Function -> seconds of all its cases with their fixtures, from a JUnit report of pytest."""
    found: dict[str, float] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        parts = case.get("classname", "").split(".")
        files = [i for i in range(len(parts), 0, -1) if (ROOT / Path(*parts[:i])).with_suffix(".py").is_file()]
        if not files:
            continue
        file = Path(*parts[: files[0]]).with_suffix(".py").as_posix()
        name = function_of("::".join((file, *parts[files[0] :], case.get("name", ""))))
        found[name] = found.get(name, 0.0) + float(case.get("time", 0))
    return found


def room_of(function: str) -> str:
    """The folder of tests/ that a function is in, or its file where it is in none."""
    parts = function.split("::")[0].split("/")
    return parts[1]


def choose(seconds: Mapping[str, float], budget: float, keep: Collection[str] = ()) -> list[str]:
    """The functions to leave out so that the others take at most `budget` seconds: the dearest ones.

    The cheapest function of each room stays, whatever it takes, and so do those of `keep`.
    """
    cheapest: dict[str, str] = {}
    for name in sorted(seconds, key=seconds.__getitem__, reverse=True):
        cheapest[room_of(name)] = name
    stay = {*cheapest.values(), *keep}
    left, out = sum(seconds.values()), []
    for name in sorted(seconds, key=seconds.__getitem__, reverse=True):
        if left <= budget:
            break
        if name not in stay:
            left -= seconds[name]
            out.append(name)
    return sorted(out)


def write(names: Iterable[str]) -> None:
    SLOW.write_text(HEAD + "".join(f"{name}\n" for name in sorted(names)))
