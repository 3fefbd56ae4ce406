"""A sample of the campaign, and that it notices what it is to notice."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.errnos import trying
from tests.errnos.commands import COMMANDS
from tests.errnos.injecting import ERRORS, LASTING, Call, Injector
from tests.errnos.trying import Ending, drawn_evenly, injectors, judge, spread

ROOT = Path(__file__).parents[2]


def test_a_sample_of_calls_that_fail():
    """`python -m tests.errnos` tries all calls of all commands."""
    command = [sys.executable, "-m", "tests.errnos", "--commands", "inspect-raw,convert-over,make,describe,run",
               "--errors", "1", "--sample", "4"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("runs of 5 commands, 0 findings")


CALL = Call("open", ("a.py:1",), 0, "/x/model.safetensors")
SAID = "error: the checkpoint cannot be read (ck/model.safetensors): Input/output error. Check it.\n"
GOOD = Ending(0, "answer in 1.2 s\n", "", {"notes": "1"}, {"notes": "1", "new": "2"}, [])
FAILED = replace(GOOD, code=3, out="", err=SAID, hit=True, name=CALL.name, after={"notes": "1"})


def test_what_ends_as_it_should():
    injector = Injector(CALL, errno.EIO)
    assert judge(FAILED, GOOD, injector) == []
    assert judge(replace(GOOD, hit=True, out="answer in 3.4 s\n"), GOOD, injector) == []


@pytest.mark.parametrize("changed, found", [
    ({"code": 1}, "a bug"), ({"err": SAID + "This is a bug in recurc"}, "a bug"),
    ({"err": SAID + "Traceback (most"}, "traceback"), ({"err": ""}, "0 errors"),
    ({"err": SAID + SAID}, "2 errors"), ({"err": "error: no.\n"}, "neither file nor reason"),
    ({"code": -11}, "died"), ({"code": 0, "err": "", "out": "another\n"}, "another answer"), ({"after": {}}, "lost"),
    ({"after": {"notes": "2"}}, "lost"), ({"temporary": ["tmpx"]}, "left"), ({"hit": False}, "was not made"),
    ({"after": {"notes": "1", ".a.npy.12345678.part": "3"}}, "left"),
    ({"after": {"notes": "1", ".b.partial-1-2/x": "3"}}, "left"),
])  # fmt: skip
def test_what_does_not_is_noticed(changed, found):
    assert any(found in wrong for wrong in judge(replace(FAILED, **changed), GOOD, Injector(CALL, errno.EIO)))


def test_calls_are_met_and_one_fails(tmp_path):
    """Reads, writes and renames of recurc's own code, in a process of its own."""
    code = f"""
import errno, json, sys
sys.path.insert(0, {str(ROOT)!r})
from recurc.files import write_whole
from recurc.reading import read_text
from tests.errnos.injecting import Injector
first = Injector()
first.install()
write_whole("a", "text", "the file", "x")
read_text("a")
kinds = {{call.kind for call in first.calls}}
assert {{"create", "write", "sync", "rename", "look", "open", "read"}} <= kinds, kinds
print(len(first.calls))
for call in list(first.calls):
    if call.kind in ("create", "write", "sync", "rename"):
        first._turns.clear()
        first.call, first.number, first.hit = call, errno.ENOSPC, False
        try:
            write_whole("a", "other", "the file", "x")
            raise AssertionError(call)
        except Exception as error:
            assert "No space left" in str(error) and first.hit, error
        first.call = None
        assert read_text("a") == "text"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["a"]


def test_errors_are_spread_and_those_that_last_do():
    assert all(hasattr(errno, name) for names in ERRORS.values() for name in names)
    turns = [spread(ERRORS["open"], 2, turn) for turn in range(len(ERRORS["open"]))]
    assert {name for names in turns for name in names} == set(ERRORS["open"]) and all(len(names) == 2 for names in turns)
    made = injectors(Call("write", ("a.py:1",), 0), ERRORS["write"])
    assert sum(bool(i.lasting) for i in made) == sum("write" in kinds for kinds in LASTING.values())


def test_a_command_may_tell_what_fails_in_its_answer():
    injector, told = Injector(CALL, errno.EIO), replace(FAILED, code=6, out="gcc: missing\n", err="")
    assert judge(told, GOOD, injector) and not judge(told, GOOD, injector, tells=True)
    for worse in ({"out": ""}, {"err": "Traceback (most"}, {"code": 1}, {"after": {}}):
        assert judge(replace(told, **worse), GOOD, injector, tells=True), worse


def test_a_sample_has_all_kinds():
    calls = [Call("look", (f"a.py:{i}",), 0) for i in range(50)] + [
        Call("rename", ("b.py:1",), 0),
        Call("mkdir", ("b.py:2",), 0),
    ]
    drawn = drawn_evenly(calls, 5, random.Random(1))
    assert len(set(drawn)) == 5 and {"look", "rename", "mkdir"} == {call.kind for call in drawn}
    assert sorted(drawn_evenly(calls, 99, random.Random(1)), key=str) == sorted(calls, key=str)


@pytest.mark.parametrize("works", [True, False])
def test_a_command_that_works_does_not_hang(works, monkeypatch):
    """Where others have the processor a run takes minutes, and still does something."""
    monkeypatch.setattr(trying, "SECONDS", 0.7)
    child = os.fork()
    if not child:
        if works:
            program = "import time\nwhile time.process_time() < 1: pass"
            subprocess.run([sys.executable, "-c", program])  # what it starts counts too
            os._exit(3)
        time.sleep(60)
        os._exit(3)
    assert trying._wait(child) == (3 if works else -9)


def test_every_command_is_in_the_campaign():
    from recurc.cli.main import cli

    tried = {command.arguments[0] for command in COMMANDS.values()}
    assert set(cli.list_commands(None)) <= tried
