"""Files that appear whole or not at all, whatever stops the writer: a full disk, a signal, a lost power supply.

Whoever writes a result goes through `whole_file` or `write_whole`: bytes go to a temporary name beside the file, are synced,
and take its name in one step. What was there before stays until then.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from recurc.errors import InputError

T = TypeVar("T")

_BESIDE = 120  # bytes that the path of what is written may be longer than the one that is given
PARTIAL = ".part"  # how the temporary names end


@contextmanager
def whole_file(path: Path | str, what: str, next: str, *, follow: bool = True) -> Iterator[WholeFile]:
    """A binary file to write; it takes the place of `path` when the block ends well, and is removed otherwise.

    A symbolic link keeps pointing where it points: the file behind it is replaced. What is no regular file (/dev/stdout, a
    named pipe) is written as it is.

    Args:
        path: the file. Its folder must exist.
        what: what it is, as an error names it: "the page".
        next: what the user can do when it cannot be written.
        follow: whether `path` may be a symbolic link; not in a folder that somebody else may have made.

    Raises:
        InputError: it cannot be written, the disk is full, or it is a link and `follow` is false. An OSError that has nothing
            to do with this file passes through.
    """
    try:
        target, fresh = _target(Path(path), follow)
        file, part = _open(target, fresh)
    except OSError as error:
        raise not_written(what, path, error, next) from None
    done = False
    try:
        watched = WholeFile(file)
        yield watched
        done = True
    except OSError as error:
        if error is watched.error:
            raise not_written(what, path, error, next) from None
        raise
    finally:
        try:
            _finish(file, part, target, done)
        except OSError as error:
            if done:
                raise not_written(what, path, error, next) from None


def write_whole(path: Path | str, data: bytes | str, what: str, next: str, *, follow: bool = True) -> Path:
    """Write a whole file (text as UTF-8); arguments and errors as of `whole_file`. Returns its path."""
    with whole_file(path, what, next, follow=follow) as file:
        file.write(data.encode() if isinstance(data, str) else data)
    return Path(path)


def check_file(path: Path | str, what: str, next: str) -> None:
    """That `whole_file` may write there, as far as that can be told before there is anything to write. Raises InputError."""
    path = Path(path)
    wrong = unnameable(path)
    if wrong:
        pass
    elif os.path.isdir(path):
        wrong = errno.EISDIR
    elif not os.path.isdir(path.parent):
        wrong = errno.ENOTDIR if os.path.lexists(path.parent) else errno.ENOENT
    elif not os.access(path if _is_special(path) else path.resolve().parent, os.W_OK):
        wrong = errno.EACCES
    if wrong:
        raise not_written(what, path, OSError(wrong, os.strerror(wrong)), next)


def _is_special(path: Path) -> bool:
    """Whether something is there that is no file, and is written as it is."""
    return path.exists() and not path.is_file()


def check_folder(folder: Path | str, what: str, next: str) -> None:
    """That `make_folder` may make a folder, or has made it, and files may be written into it, as far as that can be told
    before. Raises InputError."""
    above = Path(os.path.abspath(folder))
    while not os.path.lexists(above):
        above = above.parent
    wrong = 0 if os.access(above, os.W_OK | os.X_OK) else errno.EACCES
    if name := unnameable(Path(folder)):
        wrong = name
    elif not above.is_dir():
        wrong = errno.EEXIST if above.name == Path(folder).name else errno.ENOTDIR
    if wrong:
        raise not_written(what, folder, OSError(wrong, os.strerror(wrong)), next)


def unnameable(path: Path) -> int:
    """The error that the filesystem has for a path's names alone, such as one that is too long; 0 where it has none."""
    try:
        above = Path(os.path.abspath(path))
        asked = [above / ("x" * _BESIDE)]
        while not os.path.lexists(above) and above != above.parent:
            asked.append(above)
            above = above.parent
    except OSError:
        return 0
    # What lies deeper would only tell that its folder is missing: each name is asked for where there is one.
    for name in (asked[0], *(above / one.name for one in asked[1:])):
        try:
            os.lstat(name)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return errno.ENAMETOOLONG
        except ValueError:
            return errno.EINVAL
    return 0


def make_folder(folder: Path, what: str, next: str) -> None:
    """Make a folder, and those above it, for a file that `what` names. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(what, folder, error, next) from None


@contextmanager
def locked(folder: Path | str) -> Iterator[None]:
    """Only one process at a time that goes on in a folder, of those that ask for it this way; the others wait.

    Where the filesystem has no locks, or the folder cannot be opened, all go on.
    """
    handle = _opened(folder)
    try:
        with suppress(OSError):
            if handle is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        _close(handle)


@contextmanager
def try_lock(folder: Path | str) -> Iterator[bool]:
    """As `locked`, without waiting: gives whether no other process has it."""
    handle, free = _opened(folder), True
    try:
        if handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
            except OSError:
                pass
        yield free
    finally:
        _close(handle)


def _opened(folder: Path | str) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


def _close(handle: int | None) -> None:
    """Close what was only opened to be locked: nothing is lost where that fails."""
    if handle is not None:
        with suppress(OSError):
            os.close(handle)


def put(path: Path, data: bytes | str) -> None:
    """Write a file that nobody else sees yet, one of a temporary folder or of a build that has no name yet; text as UTF-8.

    Raises:
        OSError: with the file's name, which the system leaves out where the writing itself fails.
    """
    try:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def not_written(what: str, path: Path | str, error: OSError, next: str) -> InputError:
    """The error that says that a file cannot be written, and what the system says of it."""
    there = error.errno == errno.EEXIST and not os.path.isdir(path)  # of a folder that was to be made
    why = "something that is no folder has that name" if there else error.strerror or str(error)
    return InputError(f"{what} cannot be written", where=str(path), why=why, next=next)


class WholeFile:
    """A file that `whole_file` gives to write; it remembers the error that one of its own calls ended with."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        return self._done(lambda: self._file.write(data))

    def flush(self) -> None:
        self._done(self._file.flush)

    def sync(self) -> None:
        """What was written is on disk, as far as there is one: devices and pipes have none."""
        self.flush()
        if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            self._done(lambda: os.fsync(self._file.fileno()))

    def _done(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except OSError as error:
            self.error = error
            raise


def _target(path: Path, follow: bool) -> tuple[Path, bool]:
    """The file behind `path`, and whether a new one takes its place (else it is written as it is)."""
    if path.is_symlink():
        if not follow:
            raise OSError(errno.ELOOP, "it is a symbolic link, and here none is followed", str(path))
        path = Path(os.path.realpath(path))  # of a loop one of its links
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path, True
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return path, stat.S_ISREG(mode)


def _open(target: Path, fresh: bool) -> tuple[BinaryIO, Path | None]:
    if not fresh:
        return open(target, "wb"), None
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    # Beside the file, so that renaming is one step; a name of its own, so that two writers do not meet.
    while True:
        handle, name = tempfile.mkstemp(prefix=_beginning(target), suffix=PARTIAL, dir=target.parent)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells `_remove_stale` of other writers that we live
        if os.path.exists(name):
            break
        os.close(handle)  # removed before it was locked
    with suppress(OSError):
        os.fchmod(handle, mode)
    _remove_stale(target, Path(name))
    return os.fdopen(handle, "wb"), Path(name)


def _beginning(target: Path) -> str:
    """How the names of a file's temporary ones begin: with as much of its own as leaves room for the rest."""
    return f".{os.fsencode(target.name)[:100].decode(errors='ignore')}."


def _remove_stale(target: Path, own: Path) -> None:
    """Remove what writers of the same file that were killed left beside it."""
    stale = re.compile(re.escape(_beginning(target)) + "[a-z0-9_]{8}" + re.escape(PARTIAL))
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if stale.fullmatch(entry.name) and entry.name != own.name and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def _finish(file: BinaryIO, part: Path | None, target: Path, done: bool) -> None:
    try:
        try:
            if done:
                file.flush()
                if part is not None:
                    os.fsync(file.fileno())
        finally:
            file.close()
        if done and part is not None:
            os.replace(part, target)
            part = None
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def _umask() -> int:
    """This process's umask, read without changing it where the system tells."""
    with suppress(OSError, ValueError, StopIteration):
        status = Path("/proc/self/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), 8)
    return 0o022
