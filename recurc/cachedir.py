"""What recurc keeps between runs: folders in the user's cache directory, and bytes by key in one of them.

Nobody needs a cache: without a home directory, on a read-only or full disk, or with RECURC_CACHE=off all is computed again
and nothing is an error. Code is loaded from it, so only what this user wrote, and nobody else may change, is taken.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SWITCH = "RECURC_CACHE"
_OFF = ("off", "no", "0", "false")
_MAGIC = b"recurc cache 1\n"
_BLOCK = 4096  # what a file takes of a disk is a multiple of this
_PARTIAL = ".part"
_PARTIAL_SECONDS = 3600.0  # a temporary file as old as this was left by a process that was killed
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def switched_off() -> bool:
    """Whether the environment says that nothing is kept: RECURC_CACHE=off."""
    return os.environ.get(SWITCH, "").strip().lower() in _OFF


def cache_folder(kind: str) -> Path | None:
    """recurc/`kind` in the user's cache directory ("sweep", "objects"); None when there is none, or RECURC_CACHE=off.

    It need not exist.
    """
    if switched_off():
        return None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification has relative ones ignored
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:
            return None
        if not os.path.isabs(base):
            return None
    return Path(base) / "recurc" / kind


@dataclass(frozen=True)
class Usage:
    """What a cache holds."""

    entries: int
    bytes: int


@dataclass(frozen=True)
class ByteCache:
    """Bytes by hexadecimal key, a file each. No call raises for what is wrong with the folder or in it.

    Safe for processes that use it at once: entries appear whole, and each says the digest of its key and bytes, so a damaged
    one counts as absent. At most about `limit` bytes are kept; those that were not used for longest go first.

    Args:
        folder: in a directory of this user; made when first written. None keeps nothing.
        limit: bytes.
    """

    folder: Path | None
    limit: int

    def get(self, key: str) -> bytes | None:
        """The bytes kept under a key, None when there are none that can be trusted."""
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not _own(os.fstat(handle)):
                    return None
                text = file.read()
                with suppress(OSError):
                    os.utime(handle)  # used now: others go first
        except OSError:
            return None
        head, data = text[: len(_MAGIC) + 32], text[len(_MAGIC) + 32 :]
        if head != _head(key, data):
            with suppress(OSError):
                path.unlink()
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes under a key, if that is possible."""
        if self.folder is None or self.refusal():
            return
        path = self._path(key)
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=_PARTIAL)  # readable for this user only
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_head(key, data) + data)
                os.replace(name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name)
                raise
            self._grown(len(data))

    def refusal(self) -> str:
        """Why the folder cannot be used, "" when it can. Makes it when there is none, closed to others."""
        if self.folder is None:
            return "there is no folder for it"
        above = self.folder.parent
        try:
            if above.parent.exists() and above.parent.stat().st_uid not in (os.geteuid(), 0):
                return f"{above.parent} belongs to another user"
            above.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for folder in (above, self.folder):
                if folder.stat().st_uid != os.geteuid():
                    return f"{folder} belongs to another user"
            if stat.S_IMODE(self.folder.stat().st_mode) != 0o700:
                self.folder.chmod(0o700)
        except OSError as error:
            return error.strerror or str(error)
        return "" if os.access(self.folder, os.W_OK | os.X_OK) else "it cannot be written"

    def usage(self) -> Usage:
        """Entries and bytes, counted."""
        sizes = [size for _, _, size in self._files() if size]
        return Usage(len(sizes), sum(sizes))

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / key[2:]

    def _grown(self, size: int) -> None:
        """Count what was written, and make room when an eighth of the limit was written since that was last done."""
        assert self.folder is not None
        # A byte for each block, appended: needs neither a lock nor a look at the entries.
        handle = os.open(self.folder / "written", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, b"." * (size // _BLOCK + 1))
            if os.fstat(handle).st_size * _BLOCK < self.limit // 8:
                return
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)
        self._make_room()

    def _make_room(self) -> None:
        files = sorted(self._files())
        total, now = sum(size for _, _, size in files), time.time()
        for used, path, size in files:
            left = path.endswith(_PARTIAL) and now - used > _PARTIAL_SECONDS
            if left or total > self.limit - self.limit // 8:
                with suppress(OSError):
                    os.unlink(path)
                    total -= size

    def _files(self) -> Iterator[tuple[float, str, int]]:
        """(when last used, path, bytes on disk) of each entry."""
        with suppress(OSError):
            for folder in os.scandir(self.folder or ""):
                if folder.is_dir(follow_symlinks=False):
                    with suppress(OSError):
                        for file in os.scandir(folder):
                            with suppress(OSError):
                                told = file.stat(follow_symlinks=False)
                                yield told.st_mtime, file.path, -(-told.st_size // _BLOCK) * _BLOCK


def _own(told: os.stat_result) -> bool:
    """Whether it is a regular file of this user's, to which nobody else may write."""
    return stat.S_ISREG(told.st_mode) and told.st_uid == os.geteuid() and not told.st_mode & _OTHERS_WRITE


def _head(key: str, data: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(key.encode() + b"\0" + data).digest()
