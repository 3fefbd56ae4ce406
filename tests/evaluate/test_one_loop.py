"""One loop steps a model for scoring, one rule halts it: nothing outside recurc/evaluate does it again."""

from __future__ import annotations

import ast

import pytest

from tests.imports import FILES, PACKAGE, imports, part_of

STEPPED = {
    "exchange/onnx_engine.py": "an engine hands the step on",
    "make/known.py": "checksums of every step, of all that is stored",
    "study/learning.py": "an optimizer's step",
}
WALKED = {
    "exchange/onnx_verify.py": "two steppers side by side, each step begun from the same carry",
    "quant/calibrate.py": "watches inputs of layers, below the room that scores",
    "study/workbench.py": "watches inputs of layers, for static scales",
    "verify/answers.py": "hands steps on as a person sees them",
    "verify/courses.py": "the procedure of the device's own library, beside the device",
}
HALTED = {"verify/courses.py": "the C of the device's own library decides beside the device"}
COMPARED = {
    "cli/doctor.py": "the margin of a page",
    "device/session.py": "holds what a device says of its answer against the policy",
    "solve.py": "the procedure of SPEC, which restarts and waits; its threshold is a float32 too",
}
ORDER = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)
ENGINES = {"quant/twin.py", "targets/host.py"}


def names(node: ast.AST) -> set[str]:
    return {n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute))}


def compares_margins(node: ast.AST) -> bool:
    """Whether it orders a halting margin or threshold, or a step and a halting rule's first one."""
    if not isinstance(node, ast.Compare) or not any(isinstance(op, ORDER) for op in node.ops):
        return False
    sides = [node.left, *node.comparators]
    found = set().union(*map(names, sides))
    constant = any(isinstance(side, ast.Constant) for side in sides)
    return bool(found & {"margin", "margins", "threshold", "q_halt"}) or ("min_steps" in found and not constant)


def calls(tree: ast.AST, name: str, arguments: bool) -> bool:
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == name and (arguments or not n.args)
        for n in ast.walk(tree)
    )


def kinds(source: str) -> set[str]:
    tree = ast.parse(source)
    found = {"step"} if calls(tree, "step", False) else set()
    found |= {"steps"} if calls(tree, "steps", True) else set()
    found |= {"halts"} if calls(tree, "halts", True) else set()
    return found | ({"margins"} if any(map(compares_margins, ast.walk(tree))) else set())


OTHERS = [p for p in FILES if part_of(p) != "evaluate" and str(p.relative_to(PACKAGE)) not in ENGINES]


@pytest.mark.parametrize("kind, allowed", [("step", STEPPED), ("steps", WALKED), ("halts", HALTED), ("margins", COMPARED)])
def test_only_evaluate_steps_and_halts(kind, allowed):
    found = {str(p.relative_to(PACKAGE)) for p in OTHERS if kind in kinds(p.read_text())}
    assert found == set(allowed), "recurc/evaluate/stepping.py and halting.py have the loop and the rule"


@pytest.mark.parametrize("source, kind", [
    ("for _ in range(3):\n    engine.step()", "step"),
    ("next(iter(model.steps(inputs, ids, 1)))", "steps"),
    ("stop = engine.halts(0.0)", "halts"),
    ("halted = step.margin > halt.threshold", "margins"),
    ("stop = self.part.margins > limit", "margins"),
    ("ask = step >= halt.min_steps", "margins")])  # fmt: skip
def test_the_rule_finds_copies(source, kind):
    assert kind in kinds(source)


def test_what_is_measured_is_not_taken_from_the_research():
    """Nothing but the command line stands on recurc.study."""
    found = {}
    for path in FILES:
        package = ".".join(("recurc", *path.relative_to(PACKAGE).parts[:-1]))
        named = [n for n in imports(ast.parse(path.read_text()), package) if n.startswith("recurc.study")]
        if named and part_of(path) not in ("study", "cli"):
            found[str(path.relative_to(PACKAGE))] = named
    assert not found


def test_files_have_names_of_their_own():
    """`layers` is a command; a file of that name elsewhere says nothing."""
    assert [str(p.relative_to(PACKAGE)) for p in FILES if p.name == "layers.py"] == ["cli/layers.py"]
