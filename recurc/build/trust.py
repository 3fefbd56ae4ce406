"""Which builds this user made on this computer: only what lies in those is run without being asked for.

A build folder is data until then. Its host engine is a shared library, its project has Python scripts: to verify or flash a
build runs native code that lies in it. Its own checksums say that it is whole, not who made it. So `build_project` notes the
digest of every manifest it writes, which covers every file by its sha256, in a folder of the user's; the digest stays the same
when a build is moved or copied, and no other folder has it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recurc.arguments import argument
from recurc.errors import InputError

MOST_RECORDS = 4096  # the oldest go first
_DIGEST = re.compile(r"[0-9a-f]{64}")


class UntrustedBuildError(InputError):
    """Native code of a build would be run that this user did not make on this computer."""

    code = "untrusted-build"


def untrusted(folder: Path, action: str) -> UntrustedBuildError:
    """The error that asks for the user's word. action: what would run, as "its host engine would be loaded"."""
    return UntrustedBuildError(
        "this build was not made here",
        where=str(folder),
        why=f"{action}, which is native code, and there is no record that you built it on this computer; its checksums are its "
        "own and prove nothing",
        next=f"If you trust where it comes from, add {argument('trust', True, option='trust-build')}; `recurc report` and "
        "`recurc export` read it without running anything",
    )


def record_folder() -> Path | None:
    """Where digests of this user's builds are kept: recurc/builds in the user's state folder; None without a home."""
    root = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(root):
        try:
            home = Path.home()
        except RuntimeError:
            return None
        if not home.is_absolute():
            return None
        root = str(home / ".local" / "state")
    return Path(root) / "recurc" / "builds"


def remember(digest: str, folder: Path) -> bool:
    """Note that this user made the build with this digest; whether that could be noted.

    Args:
        folder: where the build lies, for people who look at the record.
    """
    records = record_folder()
    if records is None or not _DIGEST.fullmatch(digest):
        return False
    try:
        records.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _own(records, stat.S_ISDIR):
            return False
        _forget_oldest(records)
        handle = os.open(records / digest, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(os.fsencode(folder) + b"\n")
    except OSError:
        return False
    return True


def known(digest: str) -> bool:
    """Whether this user made the build with this digest on this computer."""
    records = record_folder()
    if records is None or not _DIGEST.fullmatch(digest):
        return False
    return _own(records, stat.S_ISDIR) and _own(records / digest, stat.S_ISREG)


def _own(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether a path is of that kind, this user's, and written by nobody else."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _forget_oldest(records: Path) -> None:
    entries = [e for e in os.scandir(records) if e.is_file(follow_symlinks=False)]
    for entry in sorted(entries, key=lambda e: e.stat(follow_symlinks=False).st_mtime_ns)[: len(entries) - MOST_RECORDS + 1]:
        with suppress(OSError):
            os.unlink(entry.path)
