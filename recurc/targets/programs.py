"""Folders for programs that are compiled and run at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from recurc.cachedir import cache_folder
from recurc.errors import ToolchainError


def runs_programs(folder: Path | str) -> bool:
    """Whether programs may be loaded from a folder: hardened servers mount /tmp so that none may (noexec)."""
    try:
        return not os.statvfs(folder).f_flag & os.ST_NOEXEC
    except OSError:
        return True  # whoever writes there will be told


def program_folder(prefix: str) -> Path:
    """A new folder for programs: in the temporary folder, or where that allows none, in the user's cache. Remove it after use.

    Raises:
        ToolchainError: neither allows programs.
    """
    temporary = Path(tempfile.gettempdir())
    if runs_programs(temporary):
        return Path(tempfile.mkdtemp(prefix=prefix))
    cache = cache_folder("programs")
    if cache is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            if runs_programs(cache):
                return Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
        except OSError:
            pass
    raise ToolchainError(
        "compiled code cannot be run",
        where=str(temporary),
        why="the folder is mounted noexec: no program in it may run, nor in the cache folder",
        next="Name another folder with TMPDIR",
    )
