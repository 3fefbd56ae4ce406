"""What verify leaves behind and shows: JUnit XML, the live table, fidelity; and puzzles taken from a journal."""

from __future__ import annotations

import io
from dataclasses import replace
from xml.etree import ElementTree as xml

import numpy as np
import pytest
import rich.console

import recurc.cli.common.output
from recurc.cli.common.live import LiveTable
from recurc.cli.common.output import Console
from recurc.errors import DeviceUnreachableError, InputError
from recurc.models.reference import Reference
from recurc.recursion import Depth
from recurc.verify.journal import Identity, Journal, dataset_digest
from recurc.verify.junit import junit_document, write_junit
from recurc.verify.phi import FidelityMeter, build_meter, default_puzzles
from tests.randmodels import random_inputs, random_reasoner
from tests.verify.journals import RESULTS, RUN
from tests.verify.standins import Build, command, dataset, verify  # noqa: F401 - fixtures


def test_junit_has_a_case_a_puzzle():
    suite = xml.fromstring(junit_document("verify on x", RESULTS, {"cell": 0.5, "phi": None, "board": "x"}, {3: 1.5}))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("time")) == ("3", "2", "0", "1.500000")
    assert {p.get("name"): p.get("value") for p in suite.iter("property")} == {"cell": "0.5", "board": "x"}
    cases = list(suite.iter("testcase"))
    assert [c.get("name") for c in cases] == ["puzzle 3", "puzzle 4", "puzzle 5"]
    assert [c.find("failure") is not None for c in cases] == [False, True, True]
    assert "H cycle 1 of 2, L cycle 2 of 2, block call 2 of 6" in cases[1].find("failure").text


def test_junit_tells_what_ended_the_run():
    error = DeviceUnreachableError("the device \x00 is gone", where="<port> & co")
    suite = xml.fromstring(junit_document("v", RESULTS[:1], {}, error=error))
    assert (suite.get("tests"), suite.get("errors")) == ("2", "1")
    told = suite.find("testcase/error")
    assert told.get("type") == "device-unreachable" and "<port> & co" in told.text and "the device \\x00 is gone" in told.text


def test_junit_file_is_whole_or_absent(tmp_path):
    write_junit(tmp_path / "j.xml", b"<a/>")
    assert (tmp_path / "j.xml").read_bytes() == b"<a/>" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="JUnit file cannot be written"):
        write_junit(tmp_path / "nowhere" / "j.xml", b"")


def test_the_live_table_shows_what_has_arrived(monkeypatch):
    screen = rich.console.Console(file=io.StringIO(), force_terminal=True, width=100, height=12)
    monkeypatch.setattr(recurc.cli.common.output, "_console", lambda *_: screen)
    many = [replace(RESULTS[0], puzzle=i) for i in range(20)]
    with LiveTable(Console(), "verify on x", 25, 16) as live:
        live.resumed(many)
        live.result(RESULTS[1])
        live.progress(22, 5)
        paper = rich.console.Console(file=io.StringIO(), width=100)
        paper.print(live._draw())
        live.traced(22, 5, 7)
        paper.print(live._draw())
    assert "looking for the difference in puzzle 22, step 5: op 7" in paper.file.getvalue()
    text = paper.file.getvalue()
    assert len(text.splitlines()) <= 24 and "21 of 25 puzzles, 1 differ; puzzle 22, step 5" in text
    assert "CRCs equal" in text and "16/16" in text and "1/2" in text and "DIFFER" in text
    assert "19" in text and "1,152,921,504,606,846,976" in text and "1,152" in screen.file.getvalue()


def test_without_a_terminal_nothing_is_drawn(command, capsys):  # noqa: F811
    assert command({}) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err and captured.out.count("16/16") <= 3
    assert "fidelity is not measured" in captured.err  # the stand-in has no checkpoint


def test_fidelity_is_of_the_carries_that_were_sent():
    reasoner = random_reasoner(hidden=24, ndim=24, layers=1, cycles=(2, 2), steps=3)
    inputs, ids = random_inputs(reasoner, 1)
    states = [s.z_H.numpy()[0] for s in Reference(reasoner).steps(inputs, ids, Depth(3, 1, 2))]
    meter = FidelityMeter(reasoner, Depth(3, 1, 2))
    assert meter.measure(inputs[0], int(ids[0]), {1: states[0], 3: states[2]}) == pytest.approx((1.0, 1.0))
    turned = states[2].copy()
    turned[:4] *= -1
    first, last = meter.measure(inputs[0], int(ids[0]), {1: states[0] * 3, 3: turned})
    assert first == pytest.approx(1.0) and last == pytest.approx(1 - 8 / len(turned))
    (only,) = {*meter.measure(inputs[0], int(ids[0]), {1: states[0]})}
    assert only == pytest.approx(1.0)
    assert [default_puzzles(m) for m in (0, 10**9, 4 * 10**10, 10**12)] == [4, 4, 2, 1]


def test_another_checkpoint_is_not_measured_against(tmp_path):
    build = Build({}, details={"boards": {}, "checkpoint": {"source": "sudoku4-tiny", "sha256": "0" * 64}})
    with pytest.raises(InputError, match="not the build's checkpoint"):
        build_meter(build)
    with pytest.raises(InputError, match="not known"):
        build_meter(replace(build, details={}))


@pytest.fixture
def resume(verify, tmp_path):  # noqa: F811
    """resume(firmware's defines) -> (result, puzzles that were run) with a journal that goes on."""

    def run(defines: dict, limit: int = 3):
        seen: list[int] = []

        def open_journal(board, artifact):
            identity = Identity.of(artifact, board.name, dataset_digest(dataset()), 12, None)
            return Journal(tmp_path / "j", identity, resume=True)

        result = verify("host", dataset(), {"defines": defines}, limit=limit, open_journal=open_journal,
                        on_result=lambda r: seen.append(r.puzzle))  # fmt: skip
        return result, seen

    return run


def test_puzzles_of_the_journal_are_not_run_again(resume):
    first, seen = resume({}, limit=2)
    assert seen == [0, 1] and first.resumed == 0
    second, seen = resume({}, limit=3)
    assert seen == [2] and second.resumed == 2 and second.n == 3 and second.bit_exact
    assert second.puzzles[:2] == first.puzzles and second.journal.name == "j"
    assert resume({})[1] == []


def test_a_difference_in_the_journal_stays_one(resume):
    wrong, seen = resume({"DUMMY_BUG_STEP": 5})
    assert seen == [0, 1, 2] and not wrong.bit_exact
    again, seen = resume({})
    assert seen == [] and again.first_difference == wrong.first_difference and again.matched == 2


def test_the_command_resumes_and_writes_junit(command, capsys, tmp_path):  # noqa: F811
    journal, junit = tmp_path / "j.jsonl", tmp_path / "j.xml"
    options = ("--journal", str(journal), "--junit", str(junit))
    assert command({"DUMMY_BUG_STEP": 5}, *options) == 8
    assert xml.parse(junit).getroot().get("failures") == "1"
    assert command({}, *options, "--resume") == 8  # what differed has differed
    out = capsys.readouterr()
    assert "3 of the puzzles were run earlier" in out.out and "after the heads" in out.err
    assert command({}, *options, "--resume", "--steps", "3") == 2
    assert "number of steps 12 instead of 3" in capsys.readouterr().err
    assert command({}, *options) == 0
    assert xml.parse(junit).getroot().get("failures") == "0"


def test_a_device_that_goes_away_leaves_its_results(command, capsys, tmp_path, monkeypatch):  # noqa: F811
    junit = tmp_path / "j.xml"
    assert command({"DUMMY_CRASH_STEP": 3}, "--junit", str(junit)) == 7
    suite = xml.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def test_who_reads_the_journal_of_a_running_verify_waits(command, capsys, tmp_path):  # noqa: F811
    file = tmp_path / "verify-host.jsonl"
    with Journal(file, RUN):
        assert command({}, "--journal", str(file)) == 2
        assert "in use" in capsys.readouterr().err
        assert command({}) == 0  # nobody asked for a journal
        assert "results are not journaled" in capsys.readouterr().err


def test_z_h_is_read_back_after_the_first_and_the_last_step(verify, engine):  # noqa: F811
    class Meter:
        def __init__(self):
            self.seen = []

        def measure(self, tokens, puzzle_id, carries):
            self.seen.append(carries)
            return 0.5, 0.25

    meter = Meter()
    data = dataset()
    result = verify("host", data, meter=meter, fidelity=2)
    assert result.bit_exact and [sorted(c) for c in meter.seen] == [[1, 12], [1, 12]]
    phi = result.fidelity
    assert (phi.n, phi.first, phi.last, phi.last_steps) == (2, 0.5, 0.25, 12)
    assert (phi.first_error, phi.last_error) == (0, 0), "two puzzles that are alike"
    seen, meter.seen = meter.seen, []
    assert verify("host", data, meter=meter, fidelity=1).fidelity.first_error is None, "of one puzzle none is known"
    meter.seen = seen
    engine.begin(data.inputs[1], 1)
    for step in range(1, 13):
        engine.step()
        if step in (1, 12):
            assert np.array_equal(meter.seen[1][step], engine.tensor("z_H"))


def test_a_junit_file_that_cannot_be_written_is_found_before_the_run(command, capsys, tmp_path):  # noqa: F811
    """Else it would end a run of hours, and its exit code would hide the run's own."""
    journal = tmp_path / "j.jsonl"
    assert command({}, "--journal", str(journal), "--junit", str(tmp_path / "nowhere" / "j.xml")) == 3
    assert "the JUnit file cannot be written" in capsys.readouterr().err and not journal.exists()
