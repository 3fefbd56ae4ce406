"""Results on disk by content: what was computed from the same checkpoint, puzzles, variant and code is not computed again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Mapping, Optional, Sequence
from zipfile import BadZipFile

import numpy as np

from recurc.models.reasoner import Reasoner
from recurc.resources import resource_dir

_CODE = ("models", "ir", "quant", "plan", "codegen", "study/fake.py", "study/runners.py")


def digest(*parts: object) -> str:
    """sha256 of texts, bytes, arrays (with shape and type) and whatever else prints itself, in order."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode())
            found.update(np.ascontiguousarray(part))
        else:
            found.update(part if isinstance(part, bytes) else str(part).encode())
        found.update(b"\0")
    return found.hexdigest()


def _python(names: Sequence[str], package: Path) -> list[Path]:
    return [f for name in names for f in ([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))]


@lru_cache(maxsize=8)
def files_version(names: tuple[str, ...], package: Path) -> str:
    """Digest of some of a package's Python: files, and folders with all that is in them."""
    return digest(*(part for f in sorted(_python(names, package)) for part in (f.name, f.read_bytes())))


@lru_cache(maxsize=1)
def code_version() -> str:
    """Digest of everything that decides a result: the package's numeric parts, templates and C."""
    files = _python(_CODE, Path(__file__).resolve().parents[1])
    roots = (resource_dir("templates") / "ops", resource_dir("runtime_c"))
    files += [*resource_dir("templates").glob("*.[ch].j2"), *(f for root in roots for f in root.rglob("*.[chj]*"))]
    return digest(*(part for f in sorted(files) for part in (f.name, f.read_bytes())))


def content(reasoner: Reasoner) -> str:
    """Digest of a model: its checkpoint's, configuration and tensors (a puzzle table counts by the checkpoint alone)."""
    tensors = sorted((name, t) for name, t in reasoner.tensors.items() if name != "puzzle_emb.weights")
    return digest(reasoner.sha256, reasoner.config, *(part for item in tensors for part in item))


@dataclass(frozen=True)
class Store:
    """Named arrays by key, one file each; `folder` None keeps nothing. A file that cannot be read counts as absent."""

    folder: Optional[Path]

    def get(self, key: str) -> Optional[dict[str, np.ndarray]]:
        if self.folder is None:
            return None
        try:
            with np.load(self._path(key), allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, KeyError, NotImplementedError, BadZipFile):
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write, whole or not at all: two processes may write the same key.

        Raises:
            OSError: the folder cannot be written.
        """
        if self.folder is None:
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key[2:]}.npz"
