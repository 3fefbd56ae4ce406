"""A new build takes the place of an old one, and nothing of the user's is lost, wherever the process is stopped.

Two kinds of folders may lie beside a build folder DIR while a build runs, or after one was killed:

* `.DIR.partial-PID-HEX`: a build that is being made. All in it is ours; it is removed when its process has ended.
* `.DIR.swap-PID-HEX`: a whole folder, the old build (with what the user put into it) or the new one. It is never removed
  as it is: where DIR is missing it *becomes* DIR, else what no build listed moves from it into DIR, and then only the files
  that its own manifest lists, unchanged, are removed.

The invariant: at every instant, each file of the last good build and each file of the user's lies in DIR or in the swap folder
beside it, and whatever recurc command next looks at DIR (`look_at`, `check_output`) brings it back to DIR. Each step is one
rename, or the removal of a file that a manifest lists with this very content. DIR itself changes in one step
(RENAME_EXCHANGE); where the system has none, in two, between which DIR is missing and the swap folder is the old build.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recurc.build.listing import MANIFEST, file_sha256
from recurc.build.old import Listing, folders_of, is_no_folder, listed, read_old, refuse_collisions, strangers
from recurc.errors import InputError, UsageError
from recurc.files import locked, try_lock

Note = Callable[[str], None]
_AT_FDCWD, _NOREPLACE, _EXCHANGE = -100, 1, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EISDIR)  # of filesystems that cannot
_LONGEST = 150  # bytes of a folder's name that stand in the names of the folders beside it


# -- taking a folder's place ------------------------------------------------------------------------------------------


def beside(out: Path, kind: str) -> Path:
    """A new name for a "partial" or "swap" folder of a build folder."""
    return out.parent / f"{_tag(out, kind)}{os.getpid()}-{uuid.uuid4().hex[:6]}"


def _tag(out: Path, kind: str) -> str:
    name = out.name
    if len(os.fsencode(name)) > _LONGEST:
        name = name[:30] + "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".{name}.{kind}-"


def swap_in(partial: Path, out: Path, note: Note) -> tuple[str, ...]:
    """Make the whole build `partial` the folder `out`; of builds that end at once, the last one stays.

    Returns:
        What of the user's was in the folder and still is: topmost entries.

    Raises:
        UsageError: `out` may not be replaced, see `read_old` and `refuse_collisions`. OSError.
    """
    _sync_tree(partial)
    with locked(out.parent):
        _recover(out, note)
        if not os.path.lexists(out) or _is_empty(out):
            os.rename(partial, out)
            _settle(out.parent)
            return ()
        old = read_old(out)
        refuse_collisions(partial, out, old.foreign, out)
        swap = beside(out, "swap")
        try:
            _exchange(partial, out, swap)
        except BaseException:
            _recover(out, note)
            raise
        _settle(out.parent)
        _empty_into(swap, out, note)
        return old.foreign


def _exchange(partial: Path, out: Path, swap: Path) -> None:
    """Afterwards `swap` is what `out` was, and `out` what `partial` was."""
    os.rename(partial, swap)  # from here on nobody takes it for a half: it will be the old build
    try:
        _renameat2(swap, out, _EXCHANGE)
        return
    except OSError as error:
        os.rename(swap, partial)
        if error.errno not in _UNSUPPORTED:
            raise
    os.rename(out, swap)
    os.rename(partial, out)


def recover(out: Path, note: Note = lambda text: None) -> None:
    """Undo what a killed build left beside a build folder: see the module. What cannot be written is left as it is.

    For who holds the lock on the folder above.
    """
    with suppress(OSError):
        _recover(out, note)


def look_at(folder: Path) -> None:
    """Before a build folder is read: `recover`, where there is something to recover."""
    out = Path(os.path.realpath(folder))
    with suppress(OSError):
        if _left(out):
            with locked(out.parent):
                recover(out)


def _left(out: Path) -> list[Path]:
    """Swap folders beside a build folder, the last one first."""
    tags = _tag(out, "swap"), _tag(out, "partial")
    with os.scandir(out.parent) as entries:  # an earlier recurc named old builds .DIR.partial-...-old
        found = [
            Path(e.path)
            for e in entries
            if (e.name.startswith(tags[0]) or (e.name.startswith(tags[1]) and e.name.endswith("-old")))
            and e.is_dir(follow_symlinks=False)
        ]
    return sorted(found, key=lambda p: p.stat().st_mtime_ns, reverse=True)


def _recover(out: Path, note: Note) -> None:
    """As `recover`. Raises OSError."""
    for swap in _left(out):
        if not os.path.lexists(out):
            note(f"a build was stopped while it took its place: {out} is again what it was")
            _move(swap, out)
        else:
            _empty_into(swap, out, note)


def remove_halves(out: Path) -> None:
    """Remove the halves that builds of processes that have ended left beside a build folder."""
    tag = _tag(out, "partial")
    for stale in list(out.parent.iterdir()):
        if stale.name.startswith(tag) and not stale.name.endswith("-old") and not stale.is_symlink():
            with try_lock(stale) as free:  # a living process of another container has a lock on it
                if free and not _alive(stale.name[len(tag) :].split("-")[0]):
                    shutil.rmtree(stale, ignore_errors=True)


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


# -- the old folder is emptied ----------------------------------------------------------------------------------------


def _empty_into(swap: Path, out: Path, note: Note) -> None:
    """Move all that no build listed from `swap` into the build `out`, then remove what is left; what cannot be moved stays, and
    is told, as all is where `out` is no build."""
    why = "a program goes on writing there"
    try:
        present = listed(out)[0]
        if missing := next((name for name in present if not (out / name).is_file()), None):
            raise UsageError("", why=f"{out / missing} is missing")
        listing = listed(swap)[0] if os.path.lexists(swap / MANIFEST) else {}
        for _ in range(100):  # a program that works in the old folder may go on making files there
            for name in list(strangers(swap, listing)):
                _merge(swap / name, out / name)
            if _remove_listed(swap, out, listing):
                return
    except OSError as error:
        why = error.strerror or str(error)
    except (UsageError, InputError) as error:
        why = error.why
    note(f"files of an earlier state of {out} are left in {swap}: {why}. Move what you need from there, then remove it")


def _remove_listed(swap: Path, out: Path, listing: Listing) -> bool:
    """Remove the listed files, the manifest last, and the folders that are empty then. Whether the folder is gone."""
    for name, digest in listing.items():
        file = swap / name
        if name == MANIFEST or not os.path.lexists(file):
            continue
        if digest is not None and file_sha256(file) != digest:  # written to a moment ago
            _merge(file, out / name)
        else:
            os.unlink(file)
    for name in sorted(folders_of(listing) - {"."}, key=len, reverse=True):
        with suppress(OSError):
            os.rmdir(swap / name)
    if any(name != MANIFEST for name in os.listdir(swap)):
        return False
    with suppress(FileNotFoundError):
        os.unlink(swap / MANIFEST)
    with suppress(OSError):
        os.rmdir(swap)
    return not os.path.lexists(swap)


def _merge(source: Path, target: Path) -> None:
    """Move an entry to its place; into a folder that is there; beside what else is there, as NAME.kept-1."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(target):
        _move(source, target)
    elif not is_no_folder(source) and not is_no_folder(target):
        for child in os.listdir(source):
            _merge(source / child, target / child)
        with suppress(OSError):  # a new file came in: it is found by the next look
            os.rmdir(source)
    else:
        number = 1
        while os.path.lexists(free := target.with_name(f"{target.name}.kept-{number}")):
            number += 1
        _move(source, free)


def _move(source: Path, target: Path) -> None:
    """Rename; what is at `target` stays: FileExistsError."""
    try:
        _renameat2(source, target, _NOREPLACE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(source, target)


# -- the system -------------------------------------------------------------------------------------------------------


def _renameat2(source: Path, target: Path, flags: int) -> None:
    """renameat2 of Linux. Raises OSError: ENOSYS where there is none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(flags)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def _is_empty(folder: Path) -> bool:
    return not is_no_folder(folder) and not os.listdir(folder)


def _settle(folder: Path) -> None:
    """That a build has taken its place is on disk too, where that can be done: it has, whatever the system says now."""
    with suppress(OSError):
        _sync(folder)


def _sync_tree(folder: Path) -> None:
    """All of a folder is on disk: the old build is only removed after that. Raises OSError: it is not."""
    for below, _, names in os.walk(folder, onerror=_raised):
        for path in (*(os.path.join(below, name) for name in names), below):
            _sync(path)


def _raised(error: OSError) -> None:
    raise error


def _sync(path: Path | str) -> None:
    """What was written is on disk, where the filesystem does that. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_SYNCED:
            raise
    finally:
        with suppress(OSError):
            os.close(handle)
