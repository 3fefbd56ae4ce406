"""Names and texts from outside never command a terminal: commands are run with hostile ones, and every byte is looked at."""

from __future__ import annotations

import json
import logging
import re
import shutil
import warnings
from pathlib import Path

import pytest
import rich.text

from recurc.build.listing import MANIFEST
from recurc.cli.common import output
from recurc.cli.main import main
from recurc.errors import InputError, RecurcError
from recurc.resources import bundled_models
from recurc.text import hidden, one_line, plain, visible
from tests.report.samples import build_folder

EVIL = "e\x1b]0;x\x07\x1b[2J\x9b31m\x7f\x85\u202e\u2066\r\x08v"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(capsys) -> str:
    said = capsys.readouterr()
    text = said.out + said.err
    assert not FORBIDDEN.search(text), repr(text[:2000])
    return text


def test_escapes_are_visible_and_lines_stay():
    assert visible("a\x1b[2J\n\tb\x9b\u202e") == "a\\x1b[2J\n\tb\\x9b\\u202e"
    assert one_line("a\nb\tc") == "a\\nb\\tc" and visible("\udc80") == "\\udc80"
    assert visible("ünï 日本 😀") == "ünï 日本 😀"
    assert hidden("abc") == "" and hidden("a\nb") == "\\n" and hidden("\u2028") == "\\u2028"
    assert plain("ok", "the name", "x") == "ok"
    for bad in ("a\nb", "\x1b", "x" * 300):
        with pytest.raises(InputError, match="the name"):
            plain(bad, "the name", "x")


def test_every_way_that_a_console_prints_is_safe(capsys):
    console = output.Console()
    console.print(EVIL, style="bold")
    console.note(EVIL)
    console.table((EVIL, "b"), [(EVIL, 1), (f"[bold]{EVIL}", 2)], title=EVIL)
    console.pairs([(EVIL, EVIL)])
    console.people.print(rich.text.Text(EVIL, style="bold"))
    console.people.print(EVIL, markup=False)
    console.error(RecurcError(EVIL, where=EVIL, why=EVIL, next=EVIL))
    console.json = True
    console.emit_json({EVIL: [EVIL, Path(EVIL.replace("\x00", ""))]})
    try:
        raise ValueError(EVIL)
    except ValueError:
        console.traceback()
    with output.plain_warnings():
        print(warnings.formatwarning(EVIL, UserWarning, "file", 1))
        logging.getLogger("other").error("%s", EVIL)
    text = clean(capsys)
    assert text.count("\\x1b]0;x") >= 10


def test_json_reads_back(capsys):
    console = output.Console()
    console.json = True
    console.emit_json({"name": EVIL})
    assert json.loads(capsys.readouterr().out)["name"] == EVIL


@pytest.mark.parametrize("arguments", [
    ("inspect", EVIL), ("report", EVIL, "--target", EVIL), ("boards", "show", EVIL), ("verify", EVIL), ("flash", EVIL),
    (EVIL,), ("build", EVIL, "--out", EVIL), ("inspect", f"--{EVIL}"), ("verify", ".", "--limit", EVIL), ("run", EVIL),
    ("doctor", EVIL, "--port", EVIL), ("eval", EVIL, "--precision", EVIL), ("ci", EVIL), ("export", EVIL, "--onnx", EVIL),
])  # fmt: skip
@pytest.mark.parametrize("option", [(), ("--json",), ("--debug",)])
def test_arguments_are_shown_and_not_obeyed(arguments, option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "doctor" and option != ():
        pytest.skip("once is enough for the slow one")
    assert main([*arguments, *option]) in (1, 2, 3, 6, 7)
    clean(capsys)


def test_a_folder_with_such_a_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(bundled_models()["sudoku4-tiny"], tmp_path / EVIL)
    main(["inspect", str(folder)])
    text = clean(capsys)
    assert "\\x1b" in text
    build = build_folder(tmp_path / f"b{EVIL}")
    assert main(["report", str(build), "--pieces"]) == 0
    clean(capsys)
    document = json.loads((build / MANIFEST).read_text())
    (build / MANIFEST).write_text(json.dumps({**document, "schema": EVIL}))
    assert main(["report", str(build)]) == 3
    assert "\\x1b" in clean(capsys)


def test_a_checkpoint_that_says_such_things(capsys, tmp_path):
    source = bundled_models()["sudoku4-tiny"]
    folder = shutil.copytree(source, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    for key in [k for k, v in config.items() if isinstance(v, str)] or list(config)[:3]:
        (folder / "config.json").write_text(json.dumps({**config, key: EVIL}))
        assert main(["inspect", str(folder)]) in (0, 3)
        clean(capsys)
    (folder / "config.json").write_text(json.dumps({**config, EVIL: 1}))
    assert main(["inspect", str(folder)]) in (0, 3)
    clean(capsys)


def test_a_project_file_that_says_such_things(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (
        f"[model]\ncheckpoint = {json.dumps('x' + EVIL)}\n".replace("\x7f", "\\u007f"),
        '["\\u001b[2J"]\nx = 1\n',
        '[quantize.layers]\n"\\u001b[2J" = "int9\\u001b"\n',
    ):
        Path("recurc.toml").write_text(text)
        assert main(["inspect"]) in (2, 3)
        clean(capsys)
