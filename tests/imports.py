"""Which module imports which, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "recurc"


# An op's folder is a column through the layers: each of its parts is asked for by one room, and stands where that room stands.
PARTS_OF_OPS = {
    "layout": "plan", "work": "plan", "twin": "quant", "constants": "quant", "reference": "models", "onnx": "exchange",
}  # fmt: skip


def part_of(path: Path) -> str:
    return part_of_name(path.relative_to(PACKAGE).with_suffix("").parts)


def part_of_name(names: Sequence[str]) -> str:
    """The part that recurc.NAMES belongs to."""
    if names[0] == "ops" and len(names) > 2:
        return PARTS_OF_OPS.get(names[2], "ops")
    return names[0]


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


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if "_data" not in p.parts]
