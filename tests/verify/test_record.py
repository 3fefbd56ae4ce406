"""verified.json is believed as far as its journal says the same."""

from __future__ import annotations

import json
import os

import pytest

from recurc.build.manifest import RESULTS_FILE, load_build
from recurc.cli.main import main
from recurc.verify.journal import Identity, Journal
from recurc.verify.record import verified
from recurc.verify.result import Difference, PuzzleResult
from tests.report.samples import build_folder, record_verify

BOARD = "mps2-an500"


@pytest.fixture
def build(tmp_path):
    return load_build(build_folder(tmp_path / "b", BOARD))


def change(build, **entries) -> None:
    file = build.path / RESULTS_FILE
    said = json.loads(file.read_text())
    (key,) = said
    file.write_text(json.dumps({key: {**said[key], **entries}}))


def shown(build, capsys) -> tuple[dict | None, str]:
    """What `report` says was verified, and what it notes."""
    assert main(["report", str(build.path), "--json"]) == 0
    out = capsys.readouterr()
    return json.loads(out.out)["verified"], out.err


def test_what_verify_left_is_shown(build, capsys):
    record_verify(build, BOARD, 3)
    found, said = shown(build, capsys)
    assert (found["n"], found["matched"], found["board"]) == (3, 3, BOARD) and "note" not in said
    kept = json.loads((build.path / RESULTS_FILE).read_text())[build.boards[BOARD].build_id]
    assert kept["journal"] == f"verify-{BOARD}.jsonl"


@pytest.mark.parametrize("entries", [
    {"n": 1000, "matched": 1000}, {"n": 2, "matched": 2, "offset": 2}, {"matched": 2, "bit_exact": False}, {"bit_exact": False},
    {"cell": 0.5}, {"exact": None}, {"stack_used": 10}, {"instructions_per_step": 7}, {"ticks": 5}, {"n": "3"}, {"offset": -1},
    {"journal": "nowhere.jsonl"}, {"journal": None},
    {"journal": "../x"}, {"journal": ""}, {"journal": "a\0b"}, {"journal": "."},
])  # fmt: skip
def test_what_the_journal_does_not_support_is_told_and_not_shown(entries, build, capsys):
    record_verify(build, BOARD, 3)
    change(build, **entries)
    found, said = shown(build, capsys)
    assert found is None and "verified.json says" in said and "not shown" in said


def test_written_by_hand_without_a_journal(build, capsys):
    (build.path / RESULTS_FILE).write_text(json.dumps({build.boards[BOARD].build_id: {"n": 1000, "matched": 1000}}))
    found, said = shown(build, capsys)
    assert found is None and "1000 of 1000" in said


def test_the_journal_of_another_firmware_supports_nothing(build, capsys):
    path = record_verify(build, BOARD, 3)
    for change_ in ({"build_id": "0" * 32}, {"model_sha256": "0" * 64}, {"board": "host"}):
        lines = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps({**json.loads(lines[0]), **change_}), *lines[1:]]) + "\n")
        assert verified(build, BOARD)[0] is None
        path.write_text("\n".join(lines) + "\n")
    assert verified(build, BOARD)[0]["n"] == 3


def test_a_journal_that_was_begun_anew_or_goes_on(build):
    path = record_verify(build, BOARD, 3)
    identity = Identity.of(build.boards[BOARD], BOARD, "dd" * 32, 16, None)
    with Journal(path, identity, resume=True) as journal:  # killed before it told its result
        journal.append(PuzzleResult(3, 16, False, False, 0, 16, 5, 1, 9, difference=Difference(3, 2, "carry", None, 1, 2)))
    assert verified(build, BOARD)[0]["n"] == 3, "what was told is still so"
    with Journal(path, identity) as journal:
        journal.append(PuzzleResult(0, 16, False, True, 16, 16, 1000, 16, 1000))
    found, doubt = verified(build, BOARD)
    assert found is None and "1 of 1" in doubt


def test_a_moved_folder_keeps_its_results(build, tmp_path):
    record_verify(build, BOARD, 3)
    build.path.rename(tmp_path / "moved")
    assert verified(load_build(tmp_path / "moved"), BOARD)[0]["n"] == 3


def test_links_pipes_and_nonsense_are_not_read(build, tmp_path):
    path = record_verify(build, BOARD, 3)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert verified(build, BOARD)[0] is None
    path.unlink()
    os.mkfifo(path)
    assert verified(build, BOARD)[0] is None
    path.unlink()
    for data in (b"", b"[" * 100_000, b"x" * (3 << 20), b"{}\n", b"null\n"):
        path.write_bytes(data)
        assert verified(build, BOARD)[0] is None
    (build.path / RESULTS_FILE).unlink()
    os.mkfifo(build.path / RESULTS_FILE)
    assert verified(build, BOARD) == (None, "")
