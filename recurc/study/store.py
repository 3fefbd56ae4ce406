"""Results on disk by content: what was computed from the same checkpoint, puzzles, variant and code is not computed again."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np

from recurc.arguments import argument
from recurc.errors import InputError
from recurc.extensions import sources
from recurc.files import make_folder, write_whole
from recurc.models import families
from recurc.models.reasoner import Reasoner
from recurc.ops import folders as op_folders
from recurc.quant.weights import precisions
from recurc.reading import matching
from recurc.resources import resource_dir

Made = TypeVar("Made")
_DIGEST = hashlib.sha256().digest_size
# No result depends on these rooms; every other one counts, a new one too.
_BESIDE = ("api", "cli", "device", "doctor", "exchange", "flash", "report", "study", "verify")
_CODE = ("recursion.py", "solve.py", "study/fake.py", "study/units.py")


def _other_cache() -> str:
    return f"Name another folder with {argument('folder', option='cache')}, or pass {argument('no_cache', True)}"


def digest(*parts: object) -> str:
    """sha256 of texts, bytes, arrays (with shape and type) and whatever else prints itself, in order."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).data)
        else:
            found.update(part if isinstance(part, bytes) else str(part).encode())
        found.update(b"\0")
    return found.hexdigest()


def _python(names: Sequence[str], package: Path) -> list[Path]:
    return [f for n in names for f in ([package / n] if n.endswith(".py") else matching(package / n, "*.py", deep=True))]


@lru_cache(maxsize=8)
def files_version(names: tuple[str, ...], package: Path) -> str:
    """Digest of some of a package's Python: files, and folders with all that is in them."""
    return digest(*(part for f in sorted(_python(names, package)) for part in (f.name, f.read_bytes())))


def _modules_of_others() -> list[str]:
    """Modules of precisions and model families that are not ours."""
    of_precisions = (name for p in precisions().values() for name in (p.quantize.__module__, type(p.form).__module__))
    names = {*of_precisions, *(str(getattr(family, "__name__", "")) for family in families().values())}
    return sorted(name for name in names if name and name.partition(".")[0] != "recurc")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Digest of everything that decides a result: the package's numeric parts, templates and C, and what others bring."""
    package = Path(__file__).resolve().parents[1]
    rooms = [f.name for f in package.iterdir() if f.is_dir() and f.name not in _BESIDE]
    files = _python([*rooms, *_CODE], package) + [f for room in rooms for f in matching(package / room, "*.j2", deep=True)]
    roots = (resource_dir("templates") / "ops", resource_dir("runtime_c"))
    files += [
        *matching(resource_dir("templates"), "*.[ch].j2"),
        *(f for root in roots for f in matching(root, "*.[chj]*", deep=True)),
    ]
    of_ops = (f for folder in op_folders() for f in matching(folder, "*.[pj]*", deep=True))  # others', too
    files += [f for f in of_ops if f.suffix in (".py", ".j2")]
    files += [file for module in _modules_of_others() for file in sources(module)]
    return digest(*(part for f in sorted(set(files)) for part in (f.name, f.read_bytes())))


def content(reasoner: Reasoner) -> str:
    """Digest of a model: its checkpoint's, configuration and tensors (a puzzle table counts by the checkpoint alone)."""
    tensors = sorted((name, t) for name, t in reasoner.tensors.items() if name != "puzzle_emb.weights")
    return digest(reasoner.sha256, reasoner.config, *(part for item in tensors for part in item))


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


@dataclass(frozen=True)
class Store:
    """Named arrays by key, one file each; `folder` None keeps nothing. `note` is told, once, when a result cannot be kept.

    A file is the sha256 of its key and of what follows, then an .npz. One that is not exactly what was written under this key
    counts as absent, and so does one that a reader can make nothing of: it is computed again and replaced.
    """

    folder: Path | None
    note: Callable[[str], object] = _warn
    _told: list[bool] = field(default_factory=list, compare=False)

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        return self.read(key, lambda arrays: arrays)

    def read(self, key: str, make: Callable[[dict[str, np.ndarray]], Made]) -> Made | None:
        """What `make` makes of a key's arrays; None where there are none, or it raises KeyError, TypeError or ValueError."""
        if self.folder is None:
            return None
        try:
            data = self._path(key).read_bytes()
            if data[:_DIGEST] != _sealed(key, data[_DIGEST:]):
                return None
            with np.load(BytesIO(data[_DIGEST:]), allow_pickle=False) as file:
                return make(dict(file))
        except (OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, BadZipFile):
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write, whole or not at all: two processes may write the same key. Results that cannot be kept are told once."""
        if self.folder is None:
            return
        path, packed = self._path(key), BytesIO()
        np.savez(packed, **arrays)  # type: ignore[arg-type] # no array is called "allow_pickle"
        data = packed.getvalue()
        try:
            make_folder(path.parent, "a result", _other_cache())
            write_whole(path, _sealed(key, data) + data, "a result", _other_cache())
        except InputError as error:
            if not self._told:
                self._told.append(True)
                self.note(f"results are computed, but not kept: {error.paragraph()}")

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key[2:]}.result"


def _sealed(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + data).digest()
