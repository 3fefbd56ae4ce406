"""The model's code that the original's training copies beside a checkpoint: whether it is the original's.

Forks change what a network computes and leave its configuration as it was. The file is parsed, never run. Compared are its
classes without comments, docstrings and annotations, and without the configuration's defaults, which stand beside it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from recurc.errors import InputError
from recurc.reading import Unreadable, clause, is_file, read_text

_LONGEST = 1 << 20  # bytes of a source; the originals have 12,000
# Digests of the original files: of TinyRecursiveModels (2025-10; in 2025-12 it changed one `view` to `reshape`) and of HRM.
_KNOWN = {"trm.py": {"0562eb86e204bcdb"}, "hrm.py": {"b0f4a8093ff27502"}, "hrm_act_v1.py": {"a3b3a708e2ad6d4d"}}
# They do the same wherever both run; the original changed one for the other.
_SAME = {"reshape": "view"}
_PASSED_OVER = {"ctx", "annotation", "returns", "type_comment", "type_params", "kind"}


def changed_code(folder: Path) -> list[str]:
    """A note for each source of a model in a checkpoint's folder that is none of the original's."""
    notes = []
    for name, known in _KNOWN.items():
        path = folder / name
        if not is_file(path, private=True):
            continue
        try:
            if digest(path) not in known:
                notes.append(
                    f"{name} beside the checkpoint is no version of the original code that recurc knows: if it computes "
                    "something else, this is a wrong model"
                )
        except (InputError, Unreadable, OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            notes.append(f"{name} beside the checkpoint was not compared with the original code: {clause(error, 100)}")
    return notes


def digest(path: Path) -> str:
    """What stands for the classes of a source, the same for every Python that parses it.

    Raises:
        Unreadable, OSError, SyntaxError, ValueError, RecursionError, MemoryError: it cannot be read or parsed.
    """
    if path.stat().st_size > _LONGEST:
        raise Unreadable(f"it has more than {_LONGEST:,} bytes")
    classes = [
        node
        for node in ast.parse(read_text(path)).body
        if isinstance(node, ast.ClassDef) and not node.name.endswith(("Config", "Carry"))
    ]
    told = "\n".join("".join(_shape(node)) for node in sorted(classes, key=lambda node: node.name))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _shape(node: ast.AST) -> Iterator[str]:
    """A syntax tree as text: kinds and values, in the order of the grammar's fields."""
    yield f"{type(node).__name__}("
    for name, value in ast.iter_fields(node):
        if name in _PASSED_OVER or value is None or value == []:
            continue
        items = value if isinstance(value, list) else [value]
        if name == "body" and items and _is_docstring(items[0]):
            items = items[1:]
        yield f"{name}="
        for item in items:
            if isinstance(item, ast.AST):
                yield from _shape(item)
            else:
                yield f"{_SAME.get(item, item) if isinstance(item, str) else item!r},"
    yield ")"


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
