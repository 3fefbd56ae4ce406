"""The command line's frame: discovery, exit codes, errors as a paragraph and as JSON."""

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

import recurc
import recurc.cli
from recurc import errors
from recurc.cli.common import options
from recurc.cli.common.output import Console, bytes_text, count_text
from recurc.cli.main import main

ROOT = Path(__file__).parents[2]
CHECKPOINT = str(ROOT / "tests" / "data" / "trm_mlp_sudoku4" / "checkpoint")


@pytest.fixture
def extra(tmp_path, monkeypatch):
    """Adds a command module to the command line; returns a function (name, body of the command)."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setattr(recurc.cli, "__path__", [*recurc.cli.__path__, str(folder)])

    def add(name: str, body: str) -> None:
        source = """
        import click
        from recurc import errors
        from recurc.cli.common.options import *
        from recurc.cli.common.options import pass_console
        @click.command()
        @pass_console
        def command(console):
            "Does a thing."
        """
        (folder / f"{name}.py").write_text(textwrap.dedent(source) + textwrap.indent(textwrap.dedent(body), "    "))
        monkeypatch.delitem(sys.modules, f"recurc.cli.{name}", raising=False)

    return add


def test_a_command_is_one_new_file(extra, capsys):
    extra("new_thing", "console.print('done'); console.emit_json({'n': 1})")
    assert main(["--help"]) == 0
    assert "new-thing" in capsys.readouterr().out
    assert main(["new-thing"]) == 0
    assert capsys.readouterr().out == "done\n"
    assert main(["new-thing", "--json"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out) == {"schema": "recurc/new-thing/1", "n": 1}
    assert out.err == "done\n"


@pytest.mark.parametrize(
    "name, code",
    [
        ("UsageError", 2), ("InputError", 3), ("DoesNotFitError", 4), ("FidelityError", 5), ("ToolchainError", 6),
        ("DeviceUnreachableError", 7), ("MismatchError", 8),
    ],
)  # fmt: skip
def test_errors_have_their_exit_code_and_four_parts(extra, capsys, name, code):
    extra("bad", f"raise errors.{name}('it broke', where='here', why='because', next='Mend it')")
    assert main(["bad"]) == code
    out = capsys.readouterr()
    assert out.out == "" and out.err == "error: it broke (here): because. Mend it.\n"
    assert main(["bad", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "recurc/bad/1"
    parts = {"what": "it broke", "where": "here", "why": "because", "next": "Mend it"}
    assert document["error"] == {"code": getattr(errors, name).code, **parts}


def test_a_bug_of_ours_asks_for_a_report(extra, capsys):
    extra("buggy", "1 / 0")
    assert main(["buggy"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err and "ZeroDivisionError" in err and "report" in err and "--debug" in err
    assert len(err.strip().splitlines()) == 1
    assert main(["buggy", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(["--debug", "buggy"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(["buggy", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "internal"


@pytest.mark.parametrize("args", [["inspct"], ["inspect", "--no-such"], ["convert"], ["convert", "a", "b", "--dtype", "f8"]])
def test_usage_errors(args, capsys):
    assert main(args) == 2
    out = capsys.readouterr()
    assert out.err.startswith("error: ") and "Traceback" not in out.err
    assert main([*args, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_misspelt_command_is_answered_with_the_nearest(capsys):
    main(["inspct"])
    assert "Did you mean inspect?" in capsys.readouterr().err


def test_interrupt(extra, capsys):
    extra("slow", "raise KeyboardInterrupt")
    assert main(["slow"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert recurc.__version__ in capsys.readouterr().out
    assert main(["inspect", "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_module_entry_and_closed_pipe():
    """`python -m recurc ... | head -1` ends without a word on stderr."""
    command = f"{sys.executable} -m recurc inspect {CHECKPOINT} --json | head -n 1"
    run = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert run.stdout == "{\n" and run.stderr == ""


def test_a_closed_pipe_is_silent(extra, monkeypatch):
    extra("piped", "raise BrokenPipeError")
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["piped"]) == 141
    os.close(read)


def test_json_is_strict(extra, capsys):
    extra(
        "odd",
        """
        import numpy as np, pathlib
        console.emit_json({'a': np.float32(1), 'b': np.arange(2), 'c': float('nan'), 'd': pathlib.Path('x')})
        """,
    )
    assert main(["odd", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "recurc/odd/1", "a": 1, "b": [0, 1], "c": None, "d": "x"}


def test_tables_align_and_are_not_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    console = Console()
    console.table(("layer", "bytes"), [("L_level.layers.0." + "x" * 70, 1), ("b [red]", 20000)])
    out = capsys.readouterr().out
    assert "x" * 70 in out and "[red]" in out
    ends = {len(line.rstrip()) for line in out.splitlines() if line.strip() and "─" not in line}
    assert len(ends) == 1


def test_progress_is_silent_without_a_terminal(capsys):
    with Console().progress("working", 3) as advance:
        advance()
        advance(2, note="x")
    assert capsys.readouterr() == ("", "")


def test_numbers_for_people():
    assert (bytes_text(512), bytes_text(203_776), bytes_text(20 << 20)) == ("512 B", "199.0 KiB", "20.00 MiB")
    assert (count_text(610_271_232), count_text(12_815_695_872), count_text(7)) == ("610.3 M", "12.82 G", "7")


# -- shared options -------------------------------------------------------------------------------------------------


@click.command()
@options.depth_options
@options.seed_option
@options.limit_option(5)
@options.stored_options
def shared(**values):
    click.echo(json.dumps(values))


def test_shared_options_default_and_range(capsys):
    shared.main([], standalone_mode=False)
    expected = {"precision": None, "layers": {}, "limit": 5, "seed": 0, "h_cycles": None, "l_cycles": None, "steps": None}
    assert json.loads(capsys.readouterr().out) == expected
    for bad in (["--steps", "0"], ["--h-cycles", "-1"], ["--l-cycles", "x"], ["--limit", "0"], ["--seed", "-1"]):
        with pytest.raises(click.UsageError):
            shared.main(bad, standalone_mode=False)
    with pytest.raises(errors.UsageError, match="Did you mean int8"):
        shared.main(["--precision", "int88"], standalone_mode=False)


def test_project_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recurc.toml").write_text(f'[model]\ncheckpoint = "{CHECKPOINT}"\ndata = "somewhere"\n')
    model = options.resolve_model(Console(), None)
    assert (model.checkpoint, model.data) == (CHECKPOINT, Path("somewhere"))
    assert "recurc.toml" in capsys.readouterr().err
    assert options.resolve_model(Console(), None, "given").data == Path("given")
    for content in ("[model]\nchekpoint = 'x'", "[mdel]", "[model]\ncheckpoint = 3", "model = 2", "[["):
        Path("recurc.toml").write_text(content)
        with pytest.raises(errors.InputError, match="recurc.toml"):
            options.resolve_model(Console(), None)


def test_project_file_says_how_a_model_is_stored(tmp_path, monkeypatch):
    from recurc.cli.common.options import Stored
    from recurc.cli.common.project import Project, project_text

    monkeypatch.chdir(tmp_path)
    layers = {"lm_head.weight": "int8", "*.mlp.*": "int3"}
    Path("recurc.toml").write_text(project_text(Project(CHECKPOINT, 'odd "folder"', "int4", layers)))
    model = options.resolve_model(Console(), None)
    assert (model.checkpoint, model.data) == (CHECKPOINT, Path('odd "folder"'))
    assert Stored().of(model) == ("int4", layers)
    assert Stored(None, {"lm_head.weight": "fp32"}).of(model) == ("int4", {**layers, "lm_head.weight": "fp32"})
    assert Stored("int8").of(model) == ("int8", {}), "asked for on the command line: all of it"
    other = options.resolve_model(Console(), CHECKPOINT)
    assert Stored().of(other) == ("int4", {}), "another model's layers are its own"
    for content in (
        "[quantize]\nprecison = 'int4'",
        "[quantize]\nprecision = 4",
        "[quantize.layers]\nx = 3",
        "quantize = 1",
        "[quantize]\nlayers = 'x'",
        "[quantize.layers]\nx = 'int9'",
    ):
        Path("recurc.toml").write_text(content)
        with pytest.raises(errors.InputError, match="recurc.toml"):
            options.resolve_model(Console(), None)


def test_layer_options(tmp_path):
    @click.command()
    @options.stored_options
    def shared(precision, layers):
        return precision, layers

    assert shared.main([], standalone_mode=False) == (None, {})
    assert shared.main(["--layer", "a=b=int8", "--layer", "*=fp32"], standalone_mode=False) == (
        None,
        {"a=b": "int8", "*": "fp32"},
    )
    for bad in ("x", "=int8", "x=int9"):
        with pytest.raises(errors.UsageError):
            shared.main(["--layer", bad], standalone_mode=False)


def test_bundled_default_is_said(tmp_path, monkeypatch, capsys):
    from recurc.models.checkpoint import load, save

    monkeypatch.chdir(tmp_path)
    save(load(CHECKPOINT), tmp_path / "models" / "sudoku9-mlp")
    monkeypatch.setattr("recurc.resources.resource_dir", lambda kind: tmp_path)
    shutil.copytree(Path(CHECKPOINT).parent / "data", tmp_path / "models" / "sudoku9-mlp" / "data")
    model = options.resolve_model(Console(), None)
    assert model.checkpoint == "sudoku9-mlp" and model.data == tmp_path / "models" / "sudoku9-mlp" / "data"
    assert "bundled" in capsys.readouterr().err
    assert model.load().config.hidden_size == 64
    with pytest.raises(errors.InputError, match="did you mean sudoku9-mlp"):
        load("sudoku9-mpl")


@pytest.mark.parametrize("line, words", [
    (["inspect", ""], "an argument is empty"), (["eval", "sudoku4-tiny", "--data", ""], "--data is empty"),
    (["eval", "sudoku4-tiny", "--data="], "--data is empty"), (["build", "sudoku4-tiny", "-o", ""], "-o is empty"),
    (["convert", "sudoku4-tiny", ""], "an argument is empty"), (["verify", ""], "an argument is empty"),
    (["dataset", "make", "", "--inputs", "x.csv"], "an argument is empty"), (["ci", "--", ""], "an argument is empty"),
    (["report", "--html", ""], "--html is empty"), ([""], "an argument is empty")])  # fmt: skip
def test_an_empty_argument_is_not_the_current_folder(line, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"")
    assert main(line) == 2 and words in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("call", [recurc.load, recurc.load_build, recurc.verify, recurc.connect,
                                  lambda path: recurc.load_dataset(path, "test")])  # fmt: skip
def test_an_empty_path_is_not_the_current_folder(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"")
    with pytest.raises(errors.RecurcError, match="the path is empty"):
        call("")


def test_commands_that_the_disk_does_not_give_are_not_unknown(capsys, monkeypatch):
    listdir = os.listdir

    def failing(path="."):
        if str(path).endswith("recurc/cli"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", failing)
    assert main(["boards"]) == 3
    error = capsys.readouterr().err
    assert "recurc/cli" in error and "Input/output error" in error and "no command" not in error
