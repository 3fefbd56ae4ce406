"""Imports run one way, and only the command line knows click and rich."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import FILES, PACKAGE, imports, part_of, part_of_name

# Each layer may import from its own and those after it.
LAYERS = (
    {"cli", "__main__"},
    {"study"},
    {"api"},
    {"verify", "flash", "report", "exchange", "doctor"},
    {"evaluate"},
    {"make"},
    {"package"},
    {"emit"},
    {"device", "targets", "build"},
    {"plan"},
    {"quant"},
    {"storage"},
    {"ir"},
    {"models"},
    {"recursion"},
    {"ops"},
    {
        "alphabet",
        "arguments",
        "arrayfile",
        "cachedir",
        "datadescribe",
        "datafiles",
        "datamake",
        "dataset",
        "documents",
        "environment",
        "errors",
        "extensions",
        "filekinds",
        "files",
        "formats",
        "noise",
        "plainyaml",
        "problems",
        "puzzlenames",
        "quoting",
        "reading",
        "resources",
        "solve",
        "symmetries",
        "text",
        "threefry",
        "types",
        "words",
        "zipread",
    },
)
LEVEL = {part: i for i, layer in enumerate(LAYERS) for part in layer}
TERMINAL = {"click", "rich"}


def violations(path: Path, source: str) -> list[str]:
    part, found = part_of(path), []
    package = ".".join(("recurc", *path.relative_to(PACKAGE).parts[:-1]))
    for name in imports(ast.parse(source), package):
        top, *rest = name.split(".")
        if top in TERMINAL and part != "cli":
            found.append(f"{path.name}: imports {top}")
        target = part_of_name(rest) if rest else ""
        if top == "recurc" and target in LEVEL and part in LEVEL and LEVEL[target] < LEVEL[part]:
            found.append(f"{path.name}: {part} imports {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    assert violations(path, path.read_text()) == []


def test_every_part_has_a_layer():
    known = set(LEVEL) | {"__init__"}
    assert {part_of(p) for p in FILES} <= known


@pytest.mark.parametrize(
    "file, source",
    [
        ("models/x.py", "from recurc.quant import arith"),
        ("models/x.py", "def f():\n    import recurc.emit.image"),
        ("ir/x.py", "from ..cli import main"),
        ("errors.py", "import recurc.models.trm"),
        ("quant/x.py", "import click"),
        ("report/x.py", "from rich.table import Table"),
        ("device/x.py", "from recurc import verify"),
        ("build/x.py", "from recurc.emit.image import build_image"),
        ("emit/x.py", "from recurc.package import espidf"),
        ("ops/x/op.py", "from recurc.plan.layout import Layout"),
        ("ops/x/twin.py", "from recurc.plan.layout import Layout"),
        ("ops/x/layout.py", "import onnx, recurc.exchange.onnx_graph"),
        ("quant/x.py", "from recurc.ops.attention.layout import PART"),
        ("recursion.py", "from recurc.models import families"),
    ],
)
def test_the_rule_finds_violations(file, source):
    assert violations(PACKAGE / file, source)


LIGHT = ["recurc", "recurc.cli.main", "recurc.models", "recurc.dataset", "recurc.quant.model", "recurc.ops",
         "recurc.emit.readback", "recurc.report.planning"]  # fmt: skip


@pytest.mark.parametrize("module", LIGHT)
def test_importing_does_not_load_torch_or_onnx(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


def test_help_does_not_load_torch():
    code = "import sys, recurc.cli.main as m; m.main(['--help']); sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
