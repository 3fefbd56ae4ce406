"""Files of a build folder, which somebody else may have made: nothing outside it is read, and no symbolic link is followed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from recurc.text import hidden

_CHUNK = 1 << 20


class OutsideError(ValueError):
    """A path that does not name a regular file inside the folder; the text says why."""


def check_relative(name: str) -> str:
    """A path as manifests have it: relative, with single slashes, without . and .., without control characters.

    Raises:
        OutsideError: it is something else.
    """
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in name.split("/")):
        raise OutsideError(f"the path {name[:200]!r} is not a plain relative one")
    if hidden(name) or "\\" in name:
        raise OutsideError(f"the path {name[:200]!r} has a control character or a backslash")
    return name


def open_inside(folder: Path, name: str) -> int:
    """Descriptor of a file in a folder, for reading; every step on the way is a folder, the last one a regular file.

    Raises:
        OutsideError: the path leaves the folder, or something on the way is a symbolic link or no regular file.
        FileNotFoundError: there is none. OSError: it cannot be read.
    """
    *parents, last = check_relative(name).split("/")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for i, part in enumerate(parents):
            _check(os.lstat(part, dir_fd=at), "/".join(parents[: i + 1]), stat.S_ISDIR, "folder")
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = deeper
        _check(os.lstat(last, dir_fd=at), name, stat.S_ISREG, "regular file")
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OutsideError(f"{name} is no regular file")
    return file


def _check(found: os.stat_result, name: str, wanted: Callable[[int], bool], what: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise OutsideError(f"{name} is a symbolic link")
    if not wanted(found.st_mode):
        raise OutsideError(f"{name} is no {what}")


def read_inside(folder: Path, name: str, most: int) -> bytes:
    """A file's bytes.

    Raises:
        OutsideError: as of `open_inside`, or it has more than `most` bytes. OSError.
    """
    with os.fdopen(open_inside(folder, name), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OutsideError(f"{name} has more than {most:,} bytes")
    return data


def sha256_inside(folder: Path, name: str) -> str:
    """Hexadecimal sha256 of a file. Raises as `open_inside`."""
    digest = hashlib.sha256()
    with os.fdopen(open_inside(folder, name), "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_below(folder: Path) -> Iterator[str]:
    """Relative paths of all that lies in a folder and is no folder, links included (they are not followed).

    Raises:
        OSError: a folder of it cannot be listed, so that nobody knows what lies there. A missing one has no files.
    """
    if not os.path.lexists(folder):
        return
    for root, folders, files in os.walk(folder, followlinks=False, onerror=_raised):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in (*files, *links):
            yield os.path.relpath(os.path.join(root, name), folder)


def _raised(error: OSError) -> None:
    raise error
