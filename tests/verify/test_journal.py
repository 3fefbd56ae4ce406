"""The journal: nothing that it has told is lost, whatever ends the process, and results of another run are never mixed in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recurc.errors import InputError, UsageError
from recurc.evaluate.halting import Halt
from recurc.verify.journal import Identity, Journal, dataset_digest
from recurc.verify.result import PuzzleResult
from tests.verify.journals import RESULTS, RUN
from tests.verify.standins import Artifact, dataset


@pytest.fixture
def path(tmp_path):
    """A journal with RESULTS."""
    with Journal(tmp_path / "j.jsonl", RUN) as journal:
        for result in RESULTS:
            journal.append(result)
    return tmp_path / "j.jsonl"


def read(path) -> list[PuzzleResult]:
    with Journal(path, RUN, resume=True) as journal:
        return list(journal.results.values())


def test_what_was_written_comes_back(path):
    assert read(path) == RESULTS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 4 and lines[0]["schema"] == "recurc/verify-journal/1"
    assert lines[2]["difference"]["place"]["loops"] == [["h_cycles", 1, 2], ["l_cycles", 2, 2]]


def test_a_journal_cut_off_anywhere_keeps_its_whole_lines(path):
    data = path.read_bytes()
    for size in range(0, len(data) + 1, 7):
        path.write_bytes(data[:size])
        whole = max(0, data[:size].count(b"\n") - 1)
        assert read(path) == RESULTS[:whole], size
        with Journal(path, RUN, resume=True) as journal:  # and what follows stands on a line of its own
            journal.append(RESULTS[2])
        assert read(path) == list({r.puzzle: r for r in [*RESULTS[:whole], RESULTS[2]]}.values()), size


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from recurc.verify.journal import Journal
from tests.verify.journals import RESULTS, RUN
with Journal(Path(sys.argv[1]), RUN, resume=True) as journal:
    for puzzle in range(len(journal.results), 100_000):
        journal.append(replace(RESULTS[1], puzzle=puzzle))
        print(puzzle, flush=True)
"""


def test_what_was_told_survives_kill_9(tmp_path):
    path, told = tmp_path / "j.jsonl", -1
    for lines in (1, 40, 300):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as writer:  # fmt: skip
            for _ in range(lines):
                first = int(writer.stdout.readline())
                assert first == told + 1
                told = first
            with pytest.raises(UsageError, match="in use"):
                Journal(path, RUN, resume=True)
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split("\n")[:-1])])
        kept = [r.puzzle for r in read(path)]
        assert kept == list(range(len(kept))) and len(kept) >= told + 1
        told = len(kept) - 1


def test_a_journal_from_before_there_was_a_patience_goes_on_with_patience_0(tmp_path):
    path = tmp_path / "old.jsonl"
    Journal(path, replace(RUN, halt=(0.5, 2, 0))).close()
    text = path.read_text()
    path.write_text(text.replace("[0.5, 2, 0]", "[0.5, 2]"))
    assert path.read_text() != text
    Journal(path, replace(RUN, halt=(0.5, 2, 0)), resume=True).close()
    with pytest.raises(UsageError, match="another run"):
        Journal(path, replace(RUN, halt=(0.5, 2, 1)), resume=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"build_id": "c" * 32}, "build bbbb"), ({"model_sha256": "c" * 64}, "model aaaa"), ({"board": "host"}, "board mps2"),
        ({"dataset": "c" * 64}, "dataset dddd"), ({"steps": 3}, "number of steps 16 instead of 3"),
        ({"halt": (0.0, 1, 1)}, "halting rule None instead of [0.0, 1, 1]"),
    ],
)  # fmt: skip
def test_the_journal_of_another_run_is_refused(path, change, told):
    before = path.read_bytes()
    with pytest.raises(UsageError, match="another run") as e:
        Journal(path, replace(RUN, **change), resume=True)
    assert told in e.value.why and "resume=" in e.value.next
    assert path.read_bytes() == before


def test_begun_anew_the_old_one_is_kept_beside_it(path):
    before = path.read_bytes()
    with Journal(path, replace(RUN, steps=3)) as journal:
        assert journal.results == {}
    assert (path.parent / "j.jsonl~").read_bytes() == before
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize("line", [b"\0\0\0\n", b"{}\n", b"[]\n", b'{"puzzle": 9}\n', b"\xff\xfe\n"])
def test_damage_inside_is_told_with_its_line(path, line):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))
    with pytest.raises(InputError, match="damaged") as e:
        Journal(path, RUN, resume=True)
    assert "line 3" in e.value.where


def test_a_file_that_is_no_journal_is_refused(path):
    path.write_text('{"schema": "something/1"}\n')
    with pytest.raises(InputError, match="damaged.*something/1"):
        Journal(path, RUN, resume=True)


def test_a_journal_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path / "nowhere" / "j", RUN)
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path, RUN)


@pytest.mark.parametrize("text", ["my thesis\n", "{}\n", "x"])
def test_a_file_that_is_no_journal_is_never_written_over(path, text):
    path.write_text(text)
    with pytest.raises(UsageError, match="no journal"):
        Journal(path, RUN)
    assert path.read_text() == text
    path.unlink()
    with Journal(path, RUN):
        pass
    backup = path.with_name(path.name + "~")
    backup.write_text(text)
    with pytest.raises(UsageError, match="no journal") as error:
        Journal(path, RUN)
    assert error.value.where == str(backup) and backup.read_text() == text
    assert json.loads(path.read_text())["schema"]


def test_a_journal_cut_off_in_its_first_line_is_one(path):
    for size in (1, 20, 40):
        path.write_bytes(path.read_bytes()[:size])
        with Journal(path, RUN):
            pass
        assert len(path.with_name(path.name + "~").read_bytes()) == size


def test_links_are_followed_only_where_the_user_named_them(path, tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="symbolic link"):
        Journal(link, RUN, resume=True, follow=False)
    assert path.read_bytes() == before
    with Journal(link, RUN, resume=True) as journal:
        assert len(journal.results) == 3


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(InputError, match="no regular file"):
            Journal(Path(name), RUN)


def test_results_of_a_wrong_type_are_damage(path):
    good = json.loads(path.read_text().splitlines()[1])
    for name, value in (
        ("puzzle", "3"),
        ("puzzle", -1),
        ("matched", 1),
        ("steps", 1.5),
        ("ticks", None),
        ("phi_last", "x"),
        ("cells", True),
    ):
        path.write_text(path.read_text().splitlines()[0] + "\n" + json.dumps({**good, name: value}) + "\n")
        with pytest.raises(InputError, match="damaged"):
            read(path)


def test_the_identity_knows_data_and_halting():
    data = dataset()
    digest = dataset_digest(data)
    assert digest == dataset_digest(dataset()) != dataset_digest(data.take(2))
    for name in ("inputs", "labels", "puzzle_ids"):
        other = getattr(data, name).copy()
        other.flat[0] += 1
        assert dataset_digest(replace(data, **{name: other})) != digest
    assert dataset_digest(replace(data, inputs=data.inputs.reshape(-1, 8))) != digest, "the same bytes as other puzzles"
    assert dataset_digest(replace(data, puzzle_ids=data.puzzle_ids.view(np.uint32))) != digest
    made = Identity.of(Artifact(None), "host", digest, 3, Halt(0.5, 2))
    assert (made.board, made.dataset, made.steps, made.halt) == ("host", digest, 3, (0.5, 2, 1))
