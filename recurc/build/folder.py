"""The output folder of a build: it appears whole, or not at all, and nothing of the user's in it is overwritten or removed.

Of an older build only the files that its manifest lists are replaced, and those only as they were built; whatever else lies in
the folder (.git, notes, journals, pages) stays in it. How that is safe against being stopped: `recurc.build.swap`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recurc.arguments import argument
from recurc.build.old import OldBuild, read_old
from recurc.build.swap import beside, recover, remove_halves, swap_in
from recurc.environment import NO_ROOM, copy_failure
from recurc.errors import InputError, ToolchainError, UsageError
from recurc.files import locked, try_lock, unnameable


@contextmanager
def fresh_folder(
    out: Path,
    name: str = "",
    note: Callable[[str], None] = lambda text: None,
    kept: Callable[[Sequence[str]], object] = lambda names: None,
) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and disappears otherwise.

    Args:
        out: the folder; a link to one stays a link.
        name: the model's.
        note: told what a person should know: another model's build is replaced, an interrupted one was undone, and the like.
        kept: told what of the user's was in the folder and is in the new one.

    Raises:
        InputError: `out` cannot be written. UsageError: it may not be replaced, see `check_output`.
    """
    old = check_output(out, note)
    if old is not None and old.name != name:
        note(f"the build of another model, {old.name} for {old.target}, is replaced in {out}")
    out = _real(out)
    partial = beside(out, "partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_halves(out)
        partial.mkdir()
    except OSError as e:
        raise _not_writable(out, e.strerror or str(e)) from e
    try:
        with try_lock(partial):  # tells `remove_halves` of other processes that we are alive
            try:
                yield partial
            except (OSError, ToolchainError) as e:
                if why := _no_room(e, partial):
                    raise _not_writable(out, why) from e
                raise
            try:
                kept(swap_in(partial, out, note))
            except OSError as e:
                raise _not_writable(out, e.strerror or str(e)) from e
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(out: Path, note: Callable[[str], None] = lambda text: None) -> OldBuild | None:
    """That a build may be written to `out`, as far as that can be told before it is made; the build that is there.

    Raises:
        InputError: no folder can be made there. UsageError: it holds something else than a build, or a build of which a file
            was changed, which is named.
    """
    real = _real(out)
    if too_long := unnameable(real):
        raise _not_writable(out, os.strerror(too_long))
    with locked(real.parent):  # not while another build takes its place
        recover(real, note)
        old = _checked(out, real)
    above = real.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise _not_writable(out, f"{above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _not_writable(out, f"{above} may not be written")
    return old


def _checked(out: Path, real: Path) -> OldBuild | None:
    """The build that is there; None where there is nothing, or an empty folder."""
    if not os.path.lexists(real):
        return None
    if real.is_dir() and os.path.ismount(real):
        raise _not_writable(
            out,
            "something is mounted there, so that no folder can take its place",
            f"Name a folder in it with {argument('out')}",
        )
    if real.is_symlink() or not real.is_dir():
        raise UsageError(
            "the output folder holds something else",
            where=str(out),
            why="it is no folder",
            next="Name another folder, or remove it yourself",
        )
    try:
        return read_old(real) if os.listdir(real) else None
    except OSError as e:
        raise _not_writable(out, e.strerror or str(e)) from e


def _real(out: Path) -> Path:
    """The folder that `out` means: behind the link, where it is one."""
    return Path(os.path.realpath(out))


def _no_room(error: OSError | ToolchainError, partial: Path) -> str:
    """Why a build could not be written; empty where that is not what went wrong."""
    full = os.strerror(errno.ENOSPC)
    if isinstance(error, ToolchainError):
        return full if full in error.why else ""
    if isinstance(error, shutil.Error):  # of copytree: all that failed
        return copy_failure(error)[1]
    ours = any(str(name).startswith(f"{partial}{os.sep}") for name in (error.filename, error.filename2) if name)
    return error.strerror or str(error) if ours or error.errno in NO_ROOM else ""


def _not_writable(out: Path, why: str, next: str = "") -> InputError:
    return InputError(
        "the output folder cannot be written",
        where=str(out),
        why=why,
        next=next or f"Name a folder that you may write with {argument('out')}",
    )
