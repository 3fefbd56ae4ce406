"""The journal of a session: one line of JSON a puzzle, on disk before the next one begins.

The first line says what was run, each other line is a `PuzzleResult`. A process that is killed leaves at most half a last line,
which is cut off when the journal is opened again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from recurc.arguments import argument
from recurc.build.manifest import BoardArtifact
from recurc.dataset import Dataset
from recurc.errors import InputError, UsageError
from recurc.evaluate.halting import Halt
from recurc.files import not_written, write_whole
from recurc.reading import Unreadable, open_regular
from recurc.solve import Policy
from recurc.verify.result import PuzzleResult

SCHEMA = "recurc/verify-journal/1"
_BEGIN = b'{"schema": "recurc/verify-journal/'  # of every journal, of whatever version
_LONGEST_LINE = 1 << 20
_NAMES = {
    "build_id": "build",
    "model_sha256": "model",
    "board": "board",
    "dataset": "dataset",
    "steps": "number of steps",
    "halt": "halting rule",
    "solve": "way to answer",
}


def _other_file() -> str:
    return f"Name another file with {argument('path', 'FILE', option='journal')}"


@dataclass(frozen=True)
class Identity:
    """What two runs must have in common for their results to belong together.

    `dataset`: sha256 of the whole split, so that a journal may be gone on with other limits and offsets. `halt`: threshold,
    least steps and patience, or None; in a journal without the last one it is 0. `solve`: the policy of answers, or None.
    """

    build_id: str
    model_sha256: str
    board: str
    dataset: str
    steps: int
    halt: tuple[float, int, int] | None = None
    solve: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls, artifact: BoardArtifact, board: str, dataset: str, steps: int, halt: Halt | None, policy: Policy | None = None
    ) -> Identity:
        rule = None if halt is None else (halt.threshold, halt.min_steps, halt.patience)
        solve = None if policy is None else policy.as_dict()
        return cls(artifact.build_id, artifact.model_sha256, board, dataset, steps, rule, solve)


def dataset_digest(dataset: Dataset) -> str:
    """sha256 over a split's inputs, labels and puzzle identifiers."""
    digest = hashlib.sha256()
    for array in (dataset.inputs, dataset.labels, dataset.puzzle_ids):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Journal:
    """An open journal; a context manager. One process at a time writes it.

    Args:
        path: the file; its folder must exist.
        identity: of the run.
        resume: go on with the file if it is there. Else one that is there is kept as `path`~.
        follow: `path` may be a link; not in a folder that somebody else may have made.

    Raises:
        UsageError: another process writes it; or it is of another build, dataset or number of steps (names them); or a file
            would be written over that is no journal.
        InputError: it cannot be written, or is no journal.
    """

    def __init__(self, path: Path, identity: Identity, resume: bool = False, *, follow: bool = True) -> None:
        self.path = path
        self.results: dict[int, PuzzleResult] = {}
        try:
            self._file = os.open(
                path,
                os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW),
                0o666,
            )
        except OSError as e:
            raise not_written("the journal", path, e, _other_file()) from e
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise InputError(
                    "the journal cannot be written", where=str(path), why="it is no regular file", next=_other_file()
                )
            self._lock()
            there = self._read()
            if resume and there:
                self.results = self._parse(there, identity)
            else:
                if there:
                    self._keep(there)
                os.ftruncate(self._file, 0)
                self._write({"schema": SCHEMA, **asdict(identity)})
                _sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def _keep(self, there: bytes) -> None:
        """Keep an earlier journal beside the new one."""
        backup = Path(f"{self.path}~")
        if not _is_journal(there):
            raise UsageError(
                "a file is there already, and it is no journal",
                where=str(self.path),
                why="a new journal would take its place",
                next=_other_file(),
            )
        older = b""
        try:
            if os.path.lexists(backup):
                with open_regular(backup, follow=False) as file:
                    older = file.read(len(_BEGIN))
        except Unreadable as e:
            raise InputError(
                "the copy of the earlier journal cannot be written", where=str(backup), why=str(e), next=_other_file()
            ) from e
        if older and not _is_journal(older):
            raise UsageError(
                "a file is there already, and it is no journal",
                where=str(backup),
                why="the earlier journal would be kept in its place",
                next=_other_file(),
            )
        write_whole(backup, there, "the copy of the earlier journal", _other_file(), follow=False)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the file free."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def append(self, result: PuzzleResult) -> None:
        """Add a result; it is on disk when this returns. Raises InputError when it cannot be written."""
        self.results[result.puzzle] = result
        self._write(result.as_dict())

    def _lock(self) -> None:
        with suppress(OSError):  # where the filesystem has no locks, all go on
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise UsageError(
                    "the journal is in use",
                    where=str(self.path),
                    why="another process writes to it",
                    next=f"Wait until that ends. {_other_file()}",
                ) from e

    def _read(self) -> bytes:
        parts = []
        while part := os.read(self._file, 1 << 20):
            parts.append(part)
        return b"".join(parts)

    def _write(self, entry: Mapping[str, Any]) -> None:
        data = memoryview(json.dumps(entry).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as e:
            raise InputError(
                "the journal cannot be written",
                where=str(self.path),
                why=e.strerror or str(e),
                next=f"Make room, then go on with {argument('resume', True)}",
            ) from e

    def _parse(self, data: bytes, identity: Identity) -> dict[int, PuzzleResult]:
        """Results by puzzle; half a last line is cut off the file."""
        whole = data[: data.rfind(b"\n") + 1]
        results: dict[int, PuzzleResult] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                if number == 1:
                    self._check(entry, identity)
                else:
                    result = PuzzleResult.from_dict(entry)
                    results[result.puzzle] = result
            except (ValueError, TypeError, KeyError, AttributeError) as e:
                raise InputError(
                    "the journal is damaged",
                    where=f"{self.path}, line {number}",
                    why=f"{e}",
                    next=f"Begin anew without {argument('resume')}; the file is kept beside the new one",
                ) from e
        os.ftruncate(self._file, len(whole))
        if not whole:
            self._write({"schema": SCHEMA, **asdict(identity)})
        return results

    def _check(self, header: dict[str, Any], identity: Identity) -> None:
        if header.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {header.get('schema')!r} instead of {SCHEMA!r}")
        if isinstance(header.get("halt"), list) and len(header["halt"]) == 2:
            header = {**header, "halt": [*header["halt"], 0]}  # written before there was a patience
        wanted = json.loads(json.dumps(asdict(identity)))
        wrong = [
            f"{_NAMES[key]} {_shown(header.get(key))} instead of {_shown(value)}"
            for key, value in wanted.items()
            if header.get(key) != value
        ]
        if wrong:
            raise UsageError(
                "the journal is of another run",
                where=str(self.path),
                why="it has " + ", ".join(wrong),
                next=f"Run as then, or begin anew without {argument('resume')}. {_other_file()}",
            )


def read_journal(path: Path) -> tuple[Mapping[str, Any], dict[int, PuzzleResult]]:
    """A journal's first line and its results by puzzle; nothing is locked, and half a last line is left out.

    Raises:
        Unreadable: it is no file that can be read. ValueError: it is no journal, or damaged.
    """
    results: dict[int, PuzzleResult] = {}
    header: Mapping[str, Any] = {}
    with open_regular(path, follow=False) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            if not line.endswith(b"\n"):
                if len(line) == _LONGEST_LINE:
                    raise ValueError(f"line {number + 1} is too long")
                break
            number += 1
            try:
                entry = json.loads(line)
                if number == 1:
                    if entry["schema"] != SCHEMA:
                        raise ValueError(f"its schema is {str(entry['schema'])[:80]!r}")
                    header = entry
                else:
                    result = PuzzleResult.from_dict(entry)
                    results[result.puzzle] = result
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise ValueError(f"line {number} is damaged") from error
    if not number:
        raise ValueError("it is empty")
    return header, results


def _is_journal(data: bytes) -> bool:
    """Whether a file begins as a journal does, one that was cut off in its first line among them."""
    return data[: len(_BEGIN)] == _BEGIN[: len(data)]


def _shown(value: object) -> str:
    text = str(value)
    return text[:16] + "…" if len(text) > 24 else text


def _sync_folder(folder: Path) -> None:
    """The file's name is on disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
