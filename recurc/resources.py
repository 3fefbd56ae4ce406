"""Where recurc's own files lie: C runtime, templates, chips, boards, bundled examples.

In a checkout they are top-level folders beside the package; an installed wheel carries them inside it as `recurc/_data`.
"""

from __future__ import annotations

import errno
from pathlib import Path

from recurc.reading import matching, read_text

_PACKAGE = Path(__file__).resolve().parent
_KINDS = ("templates", "runtime_c", "chips", "boards", "examples")


def resource_dir(kind: str) -> Path:
    """Folder of one kind of resource: "templates", "runtime_c", "chips", "boards" or "examples".

    Raises:
        FileNotFoundError: the installation is incomplete (a packaging bug).
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown resource kind {kind!r}")
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        candidate = root / kind
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(errno.ENOENT, "a part of this installation of recurc is not there", str(_PACKAGE / "_data" / kind))


def license_text() -> str:
    """The licence that recurc's own sources are under; what is generated from them carries it."""
    root = resource_dir("runtime_c").parent
    return read_text(root / "LICENSE")


def bundled_models() -> dict[str, Path]:
    """Name -> folder of the bundled example checkpoints."""
    root = resource_dir("examples") / "models"
    return {folder.name: folder for folder in matching(root, "*") if (folder / "config.json").is_file()}


DEFAULT_MODEL = "sudoku9-mlp"
