"""Imports run one way, and only the command line knows click and rich."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "recurc"

# Each layer may import from its own and those after it.
LAYERS = (
    {"cli", "__main__"},
    {"api"},
    {"outputs"},
    {"study", "verify", "flash", "report", "exchange", "doctor"},
    {"device", "targets", "codegen"},
    {"plan"},
    {"quant"},
    {"storage"},
    {"ir"},
    {"models"},
    {
        "arguments",
        "arrayfile",
        "cachedir",
        "datadescribe",
        "datafiles",
        "datamake",
        "dataset",
        "errors",
        "files",
        "formats",
        "plainyaml",
        "problems",
        "quoting",
        "reading",
        "resources",
        "text",
        "types",
        "words",
        "zipread",
    },
)
LEVEL = {part: i for i, layer in enumerate(LAYERS) for part in layer}
TERMINAL = {"click", "rich"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, package: str) -> list[str]:
    """Absolute names of the modules a tree imports, in functions too, but not under `if TYPE_CHECKING:`."""
    names: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(x for x in (base, node.module or "") if x)
            names.extend(f"{module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return names


def violations(path: Path, source: str) -> list[str]:
    part, found = part_of(path), []
    package = ".".join(("recurc", *path.relative_to(PACKAGE).parts[:-1]))
    for name in imports(ast.parse(source), package):
        top, _, rest = name.partition(".")
        if top in TERMINAL and part != "cli":
            found.append(f"{path.name}: imports {top}")
        target = rest.partition(".")[0]
        if top == "recurc" and target in LEVEL and part in LEVEL and LEVEL[target] < LEVEL[part]:
            found.append(f"{path.name}: {part} imports {name}")
    return found


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if "_data" not in p.parts]


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
        ("models/x.py", "def f():\n    import recurc.codegen.image"),
        ("ir/x.py", "from ..cli import main"),
        ("errors.py", "import recurc.models.trm"),
        ("quant/x.py", "import click"),
        ("report/x.py", "from rich.table import Table"),
        ("device/x.py", "from recurc import verify"),
    ],
)
def test_the_rule_finds_violations(file, source):
    assert violations(PACKAGE / file, source)


@pytest.mark.parametrize("module", ["recurc", "recurc.cli.main", "recurc.models", "recurc.dataset", "recurc.quant.model",
                                    "recurc.codegen.readback", "recurc.report.planning"])
def test_importing_does_not_load_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


def test_help_does_not_load_torch():
    code = "import sys, recurc.cli.main as m; m.main(['--help']); sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
