"""The shape of the code: functions and files that a person takes in at one look, and modules that import one way."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from recurc.cli.main import cli
from tests.imports import FILES, PACKAGE, imports

MOST_BRANCHES, MOST_LINES, MOST_PARAMETERS = 15, 400, 8
# What is above it today, by name; an entry that is not any more has to leave the list.
BRANCHED: set[str] = set()
LONG: set[str] = set()

TESTS = Path(__file__).parent
_FORKS = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.match_case)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """All functions with their names: Class.method, function.inner."""
    for node in ast.iter_child_nodes(tree):
        name = above
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{above}.{node.name}".lstrip(".")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield name, node
        yield from functions(node, name)


def complexity(function: ast.AST) -> int:
    """McCabe's number: ways through a function, those of functions in it included."""
    return 1 + sum(isinstance(node, _FORKS) for node in ast.walk(function))


def branched(files: Iterable[tuple[str, str]], most: int = MOST_BRANCHES) -> set[str]:
    """Functions of (name, source) that branch more than `most`."""
    return {f"{file}: {name}" for file, source in files for name, f in functions(ast.parse(source)) if complexity(f) > most}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Circles of a graph: groups of nodes that reach each other."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1 or node in arrows.get(node, ()):
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows_of(sources: dict[str, str], modules: set[str]) -> dict[str, set[str]]:
    """Module -> modules that it imports, in functions too; sources: dotted name, with .__init__ for a package's own -> text."""
    found: dict[str, set[str]] = {}
    for name, source in sources.items():
        module = name.removesuffix(".__init__")
        package = module if name.endswith(".__init__") else module.rpartition(".")[0]
        found[module] = set()
        for target in imports(ast.parse(source), package):
            while target and target not in modules:
                target = target.rpartition(".")[0]
            # A name that a package's own file passes on is of the module it comes from: the folder around is no arrow up.
            if target and not f"{module}.".startswith(f"{target}."):
                found[module].add(target)
    return found


SOURCES = {name_of(path): path.read_text() for path in FILES}


def test_functions_branch_little():
    assert branched(SOURCES.items()) == BRANCHED


def test_files_are_read_in_one_sitting():
    assert {name for name, source in SOURCES.items() if source.count("\n") > MOST_LINES} == LONG


def test_modules_import_one_way():
    names = {module_of(path): path for path in FILES}
    sources = {
        module + (".__init__" if path.name == "__init__.py" else ""): SOURCES[name_of(path)] for module, path in names.items()
    }
    assert circles(arrows_of(sources, set(names))) == []


def _commands() -> list[str]:
    return [path.stem for path in sorted((PACKAGE / "cli").glob("*.py")) if path.stem not in ("__init__", "main")]


@pytest.mark.parametrize("name", _commands())
def test_a_file_of_the_command_line_is_a_command(name):
    module = importlib.import_module(f"recurc.cli.{name}")
    assert module.command is cli.get_command(None, name.replace("_", "-"))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [p for p in FILES if "cli" in p.parts], ids=name_of)
def test_functions_of_the_command_line_take_few_parameters(path):
    for name, f in functions(ast.parse(path.read_text())):
        taken = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
        assert len([a for a in taken if a.arg not in ("self", "cls")]) <= MOST_PARAMETERS, name


def test_help_says_each_command_of_the_folder():
    listed = {name.replace("-", "_") for name in cli.list_commands(None)}  # type: ignore[arg-type]
    assert listed == set(_commands())


def test_importing_loads_neither_torch_nor_click():
    code = "import sys, recurc; sys.exit(', '.join({'torch', 'click', 'rich', 'onnx'} & set(sys.modules)) or 0)"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


# -- the checks find what they look for --------------------------------------------------------------------------------------


def test_branches_are_counted():
    body = "".join(f"    if x == {i}:\n        x += 1\n" for i in range(MOST_BRANCHES))
    assert branched([("a.py", f"def f(x):\n{body}")]) == {"a.py: f"}
    assert branched([("a.py", f"def f(x):\n{body.replace('if', 'while', 1)}")]) == {"a.py: f"}
    assert branched([("a.py", f"class A:\n    def f(self, x):\n{re.sub('^', '    ', body, flags=re.M)}")]) == {"a.py: A.f"}
    fewer = body.partition("    if x == 1:")[2]
    assert not branched([("a.py", f"def f(x):\n    if x == 1:{fewer}")])


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    sources = {"p.__init__": "from p.a import f", "p.a": "def f():\n    from .b import g", "p.b": "from p import a\n"}
    assert circles(arrows_of(sources, {"p", "p.a", "p.b"})) == [["p.a", "p.b"]]


def test_tests_share_helpers_and_fixtures_not_each_other():
    """What two test files need is in a module of its own, or a fixture in a conftest."""
    found = [
        f"{path.relative_to(TESTS)}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for name in imports(ast.parse(path.read_text()), "tests")
        if any(part.startswith("test_") for part in name.split(".")[:-1]) and name.startswith("tests.")
    ]
    assert not found


def test_a_wheel_holds_all_of_the_runtime():
    """As `recurc.resources` finds it: folders that nobody has listed are missing where recurc is installed."""
    with (PACKAGE.parent / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    runtime = {f"runtime_c/{path.name}" for path in (PACKAGE.parent / "runtime_c").iterdir() if path.name != "tests"}
    assert runtime <= set(listed) and {"templates", "chips", "boards", "LICENSE"} <= set(listed)
    assert all(target == f"recurc/_data/{source}" for source, target in listed.items())
