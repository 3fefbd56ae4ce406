"""Messages name arguments as the caller wrote them: Python's from Python, options from the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest

import recurc
from recurc.arguments import argument, named_as_options
from recurc.cli.main import cli, main
from recurc.errors import RecurcError, UsageError

PACKAGE = Path(recurc.__file__).parent
NAME = "sudoku4-tiny"


def options(command: click.Command) -> set[str]:
    """All long options of a command and those below it."""
    found = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found |= options(command.get_command(context, name))
    return found


OPTIONS = options(cli) - {"--version", "--help"}  # which every program has


def texts(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, text) of all that a module may say: not docstrings, and not what it passes to programs in lists."""
    silent: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            silent.add(id(body[0].value))
        if isinstance(node, ast.List):
            silent |= {id(item) for item in node.elts}
        if isinstance(node, ast.JoinedStr):
            silent |= {id(part) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if id(node) in silent:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append((node.lineno, node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "_" for p in node.values)
            found.append((node.lineno, "".join(map(str, parts))))
    return found


def raw_options(source: str) -> list[str]:
    """Options that a module's texts name outside of whole commands in backticks."""
    found = []
    for line, text in texts(ast.parse(source)):
        plain = re.sub(r"`recurc [^`]*`", "", text)
        found += [f"line {line}: {word}" for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", plain) if word in OPTIONS]
    return found


@pytest.mark.parametrize("source, count", [
    ('raise E("x", where="--steps")', 1), ('x = f"pass --data {x}"', 1), ('x = "see `recurc build ... --out DIR`"', 0),
    ('run(["pio", "--verbose"])', 0), ('def f():\n    "--steps is said here"', 0), ('argument("steps")', 0),
    ('x = f"`recurc flash {b} --port {p}`"', 0), ('x = ("streamed", "--puzzle-table fp32")', 1),
])  # fmt: skip
def test_what_counts(source, count):
    assert len(raw_options(source)) == count


def test_below_the_command_line_no_message_names_an_option():
    assert {"--steps", "--min-fidelity", "--data", "--out"} <= OPTIONS
    found = [
        f"{file.relative_to(PACKAGE)}, {where}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.relative_to(PACKAGE).parts[0] != "cli"
        for where in raw_options(file.read_text())
    ]
    assert found == []


def test_how_an_argument_is_written():
    assert argument("min_fidelity") == "min_fidelity=" and argument("data", "DIR") == "data=DIR"
    assert argument("on", "qemu") == "on='qemu'" and argument("limit", 8) == "limit=8"
    assert argument("trust", True, option="trust-build") == "trust=True"
    with named_as_options():
        assert argument("min_fidelity") == "--min-fidelity" and argument("data", "DIR") == "--data DIR"
        assert argument("on", "qemu") == "--on qemu" and argument("limit", 8) == "--limit 8"
        assert argument("trust", True, option="trust-build") == "--trust-build"
    assert argument("limit") == "limit="


def test_the_same_mistake_in_python_and_on_the_command_line(capsys):
    model = recurc.load(NAME)
    assert main(["run", NAME, "--steps", "0"]) == 2 and main(["report", NAME, "--target", "host"]) == 2
    assert "(--target)" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"\(steps=\)"):
        model.run(np.zeros((1, 16), int), steps=0)
    with pytest.raises(UsageError, match=r"\(method=\)"):
        model.quantize("int4", method="nothing")
    with pytest.raises(RecurcError, match=r"\(precision=\).*allow_lossy=True"):
        board = SimpleNamespace(family="host")
        recurc.api.Quantized(model, SimpleNamespace(lossy=["int4-naive"]), None, None).check_target(board)
    assert main(["build", NAME, "--target", "host", "--precision", "int4-naive", "--calibration-puzzles", "1"]) == 5
    told = capsys.readouterr().err
    assert "(--precision)" in told and "--allow-lossy" in told and "allow_lossy" not in told
