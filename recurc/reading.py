"""Reading files that somebody else may have written: what they claim costs nothing, and they cannot make the reader wait.

Every loader opens its files here. `Unreadable` says in a clause why a file cannot be taken; the loader says what and where.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from recurc.errors import InputError, printable

TEXT_LIMIT = 1 << 20  # bytes of a file of settings; real ones have a few thousand
DEPTH = 64  # lists and tables within each other, in a document
DIGITS = 19  # of a whole number: 64 bits
COPIED = 64 << 20  # bytes of a file that are read into memory rather than mapped
SHOWN = 80  # characters of a value in a message
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_PRIVATE = (errno.EACCES, errno.EPERM, errno.ELOOP)


class Unreadable(ValueError):
    """Why a file cannot be taken, as a clause: "it has 3 bytes, a header has 10"."""


class Refused(Unreadable):
    """The system does not let a file be read, whatever it holds; why, as the system says it.

    Args:
        path: the file, for those who read one of their own and do not expect this.
    """

    def __init__(self, why: str, path: object = "") -> None:
        super().__init__(why)
        self.path = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""


class Refusal(InputError):
    """The system does not let a file be read or looked at: whether something else may be taken for it, nothing tells."""


def not_read(error: Unreadable, path: Path | str, kind: str, what: str, next: str) -> InputError:
    """The error for a file that cannot be taken.

    Args:
        kind: what it should be, "the checkpoint": said where the system refuses it.
        what, next: of the error where it can be read and is wrong.
    """
    if isinstance(error, Refused):
        return Refusal(
            f"{kind} cannot be read", where=str(path), why=str(error), next="Check that it is there and that you may read it"
        )
    return InputError(what, where=str(path), why=str(error), next=next)


def is_file(path: Path | str, *, private: bool = False) -> bool:
    """Whether there is a regular file, or a link to one.

    A file that the system refuses to look at is not taken for absent: something else would be read in its place.

    Args:
        private: absent is too what this user may not look at; for places that were somebody else's.

    Raises:
        InputError: the system refuses.
    """
    return stat.S_ISREG(_mode(path, private))


def is_folder(path: Path | str, *, private: bool = False) -> bool:
    """Whether there is a folder, or a link to one; arguments and errors as of `is_file`."""
    return stat.S_ISDIR(_mode(path, private))


def is_there(path: Path | str, *, follow: bool = True) -> bool:
    """Whether there is anything of that name, without `follow` a link to nothing too; errors as of `is_file`."""
    return _mode(path, False, follow) != 0


def _mode(path: Path | str, private: bool, follow: bool = True) -> int:
    try:
        return os.stat(path, follow_symlinks=follow).st_mode
    except ValueError:  # a name that no file can have
        return 0
    except OSError as error:
        if error.errno in _ABSENT or (private and error.errno in _PRIVATE):
            return 0
        raise Refusal(
            "a file cannot be looked at",
            where=str(path),
            why=error.strerror or str(error),
            next="Check that you may read it, and that its disk is there",
        ) from None


def shown(value: object, most: int = SHOWN) -> str:
    """A value as a message shows it: short whatever it is, control characters escaped, nothing large built on the way."""
    if isinstance(value, (str, bytes, bytearray)):
        return printable(repr(value[: most + 1]), most)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    if isinstance(value, (date, datetime, time)):
        return printable(str(value), most)
    if isinstance(value, Mapping):
        return f"a table of {len(value)}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"a list of {len(value)}"
    return printable(f"a {type(value).__name__}", most)


def clause(error: BaseException, most: int = 200) -> str:
    """What a library says of a file, on one line and not longer than `most` characters."""
    return printable(" ".join(str(error)[: 8 * most].split()), most) or type(error).__name__


def user_path(text: str | Path) -> Path:
    """A path with ~ resolved.

    Raises:
        InputError: no such user, or no text at all, which would be the current folder.
    """
    if text == "":
        raise InputError("the path is empty", why="it names nothing", next="Give a path; '.' is the folder that you are in")
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError("no such folder", where=str(text), why=clause(error), next="Write the path without ~") from None


def open_regular(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """A regular file, open for reading. A pipe, a device or a socket is refused: opening one may wait for ever.

    Args:
        follow: whether it may be a symbolic link; not where it stands for another file of the reader's.

    Raises:
        Unreadable: it is none, or cannot be opened.
    """
    try:
        _check(os.stat(path, follow_symlinks=follow).st_mode)  # before it is opened, which alone can move a device
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW))
        try:
            _check(os.fstat(handle).st_mode)
            return open(path, "rb", opener=lambda *_: handle)  # so that it knows its name
        except BaseException:
            os.close(handle)
            raise
    except Unreadable:
        raise
    except OSError as error:
        raise Refused(error.strerror or str(error), path) from None
    except ValueError:
        raise Unreadable("its name holds a character that no file's name can have") from None


def _check(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise Unreadable(f"it is {next((name for test, name in _KINDS if test(mode)), 'something else')}, not a file")


class Mapped(np.memmap):
    """A mapped array whose file is looked at before each part of it is taken: it is still what it was when it was mapped.

    Indexing raises InputError where it is not. What was taken before is a view, and is to be read at once or copied.
    """

    file: _Watched | None  # None of a copy, which does not depend on the file

    def __array_finalize__(self, obj: object) -> None:
        super().__array_finalize__(obj)
        mapped = getattr(self, "_mmap", None) is not None
        self.file = getattr(obj, "file", None) if mapped else None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar or not array.shape else array.view(np.ndarray)  # what is computed is plain

    def __getitem__(self, index: Any) -> Any:
        if self.file is not None:
            self.file.check()
        found = super().__getitem__(index)
        return found.view(np.ndarray) if isinstance(found, Mapped) and found.file is None else found


class _Watched:
    """An open file and what it was like when it was mapped."""

    def __init__(self, file: BinaryIO) -> None:
        self._name = getattr(file, "name", "")
        self._file = os.fdopen(os.dup(file.fileno()), "rb")
        self._state = self._now()

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns

    def check(self) -> None:
        """Raises InputError: the file was written to, or became shorter."""
        try:
            size, written = self._now()
        except OSError as error:
            raise not_read(Unreadable(clause(error)), self._name, "the file", *_IN_USE) from None
        if (size, written) != self._state:
            why = f"it has {size:,} bytes, and had {self._state[0]:,}" if size != self._state[0] else "it was written to"
            raise not_read(Unreadable(f"{why} since then"), self._name, "the file", *_IN_USE)


_IN_USE = ("a file is no longer what it was when it was opened", "Run again when nothing writes to it, or on a copy of it")


def map_array(file: BinaryIO, dtype: np.dtype | str, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    """An array of an open file, read-only: in memory up to COPIED bytes, mapped where it is larger.

    A file that somebody cuts short while it is mapped ends the process (SIGBUS) when it is read there, and nothing can make an
    error of that. So what memory easily holds is not mapped. A table of gigabytes, which memory may not hold, is a `Mapped`:
    the file is looked at before each part of it is taken.

    Raises:
        Unreadable: the file ends before, or cannot be mapped.
    """
    kind = np.dtype(dtype)
    if math.prod(shape) * kind.itemsize <= COPIED:
        data = np.empty(shape, kind)
        read_into(file, offset, data.reshape(-1).view(np.uint8).data)
        data.flags.writeable = False
        return data
    try:
        found = Mapped(file, dtype, "r", offset, shape)
        found.file = _Watched(file)
        return found
    except OSError as error:
        raise Refused(f"it cannot be mapped into memory: {clause(error)}", getattr(file, "name", "")) from None
    except ValueError as error:
        raise Unreadable(clause(error)) from None


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def read_part(file: BinaryIO, offset: int, count: int) -> bytes:
    """Bytes [offset, offset + count) of an open file.

    Raises:
        Unreadable: the file ends before, or cannot be read.
    """
    parts, at = [], offset
    try:
        while at < offset + count:
            part = os.pread(file.fileno(), offset + count - at, at)
            if not part:
                raise Unreadable(f"it ends at byte {at}: it is truncated, or became shorter while it was read")
            parts.append(part)
            at += len(part)
    except OverflowError as error:
        raise Unreadable(clause(error)) from None
    except OSError as error:
        raise Refused(clause(error), getattr(file, "name", "")) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(file: BinaryIO, offset: int, out: memoryview) -> None:
    """Fill `out`, one byte an item, with a file's bytes from `offset` on.

    Raises:
        Unreadable: as for `read_part`.
    """
    done = 0
    try:
        while done < len(out):
            count = os.preadv(file.fileno(), [out[done:]], offset + done)
            if not count:
                raise Unreadable(f"it ends at byte {offset + done}: it is truncated, or became shorter while it was read")
            done += count
    except OverflowError as error:
        raise Unreadable(clause(error)) from None
    except OSError as error:
        raise Refused(clause(error), getattr(file, "name", "")) from None


def matching(folder: Path | str, *patterns: str, deep: bool = False) -> list[Path]:
    """What is in a folder, and with `deep` in those below it, under names that one of the patterns matches ("*.h"), sorted.

    A folder that is not there holds nothing. One that cannot be listed is not taken for empty, as `Path.glob` takes it.

    Raises:
        OSError: a folder cannot be listed.
    """

    def unlisted(error: OSError) -> None:
        if error.errno not in _ABSENT:
            raise error

    found: list[Path] = []
    for at, folders, files in os.walk(folder, onerror=unlisted):
        found += [Path(at, name) for name in (*folders, *files) if any(fnmatchcase(name, p) for p in patterns)]
        if not deep:
            break
    return sorted(found)


def read_regular(path: Path | str, limit: int) -> bytes:
    """All bytes of a regular file.

    Raises:
        Unreadable: it cannot be read, or has more than `limit` bytes.
    """
    with open_regular(path) as file:
        try:
            data = file.read(min(size_of(file), limit) + 1)
            while len(data) <= limit and (more := file.read(1 << 16)):
                data += more
        except OSError as error:
            raise Refused(error.strerror or str(error), path) from None
        if len(data) > limit:
            raise Unreadable(f"it has more than {limit:,} bytes")
        return data


def read_text(path: Path | str, limit: int = TEXT_LIMIT) -> str:
    """A regular file's text, UTF-8 with or without a byte order mark, line ends as "\\n".

    Raises:
        Unreadable: it cannot be read, is too long, or is no UTF-8.
    """
    data = read_regular(path, limit)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"it is not UTF-8 text: byte {error.start}, in line {line}, is {data[error.start]:#04x}") from None
    return text.replace("\r\n", "\n")


@contextmanager
def enough_memory(what: str, where: str) -> Iterator[None]:
    """Turns a MemoryError inside the block into an InputError: `what` is too large for this computer."""
    try:
        yield
    except MemoryError:
        raise InputError(
            f"{what} cannot be read",
            where=where,
            why="this computer has not enough memory for it",
            next="Read it on a larger one",
        ) from None
