"""The list of planted faults: what each changes, and the tests that must notice."""

from __future__ import annotations

import ast
import random
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "faults"


@dataclass(frozen=True)
class Fault:
    """One mistake that somebody could make.

    `old` stands exactly once in `file` (from the root of the tree), and becomes `new`. `test`: pytest's names of the tests that
    must then fail. `why`: what a user would lose. `slow`: its tests take more than a few seconds, so CI's sample leaves it out.
    """

    name: str
    file: str
    old: str
    new: str
    test: tuple[str, ...]
    why: str
    slow: bool = False

    def wrong(self, root: Path) -> str | None:
        """Why it cannot be planted in the tree at `root`; None when it can."""
        try:
            text = (root / self.file).read_text()
        except OSError as e:
            return f"{self.file}: {e.strerror}"
        if (times := text.count(self.old)) != 1:
            return f"{self.file}: its old text occurs {times} times instead of once: {self.old.strip()[:80]!r}"
        if self.old == self.new:
            return "old and new text are the same"
        if self.file.endswith(".py"):
            try:
                ast.parse(text.replace(self.old, self.new))
            except SyntaxError as e:
                return f"{self.file}: no Python with the fault in it: {e}"
        missing = [name for name in self.test if not _function_stands(root, name)]
        return f"no such test: {', '.join(missing)}" if missing else None


def _function_stands(root: Path, name: str) -> bool:
    """Whether a test's file has its function (or class and method); what it is parametrized with is not looked at."""
    path, *parts = name.split("[")[0].split("::")
    if not parts:
        return (root / path).exists()
    try:
        body = ast.parse((root / path).read_text()).body
    except (OSError, SyntaxError):
        return False
    for part in parts:
        found = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == part]
        if not found:
            return False
        body = found[0].body
    return True


def load(paths: Sequence[Path] | None = None) -> list[Fault]:
    """All faults of the list, or of other files of its kind.

    Raises:
        ValueError: a file that is none, an entry with an unknown, missing or empty field, or two entries of one name.
    """
    faults = []
    for path in sorted(FOLDER.glob("*.toml")) if paths is None else paths:
        for entry in tomllib.loads(path.read_text()).get("fault", []):
            try:
                faults.append(Fault(**{**entry, "test": tuple(entry["test"])}))
            except (TypeError, KeyError) as e:
                raise ValueError(f"{path.name}: {entry.get('name', 'an entry without a name')}: {e}") from e
    empty = [f.name for f in faults if not (f.name and f.test and f.why and f.old)]
    twice = [name for name, times in Counter(f.name for f in faults).items() if times > 1]
    if empty or twice:
        raise ValueError(f"entries that lack name, old, test or why: {empty}; names that stand twice: {twice}")
    return faults


def sample(faults: Sequence[Fault], n: int, seed: str) -> list[Fault]:
    """n of the faults, the same ones for the same seed."""
    return random.Random(seed).sample(list(faults), min(n, len(faults)))
