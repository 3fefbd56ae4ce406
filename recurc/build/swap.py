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
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from recurc.arguments import argument
from recurc.build.listing import MANIFEST, SCHEMA, TABLE_FILE, digest_of, file_sha256
from recurc.errors import InputError, UsageError
from recurc.files import locked, try_lock
from recurc.formats import parse_json
from recurc.reading import Refused, read_text

Listing = Mapping[str, str | None]  # path in the folder -> sha256, None where the manifest gives none
Note = Callable[[str], None]
_AT_FDCWD, _NOREPLACE, _EXCHANGE = -100, 1, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, errno.EISDIR)  # of filesystems that cannot
_MANIFEST_LIMIT = 1 << 24  # bytes
_LONGEST = 150  # bytes of a folder's name that stand in the names of the folders beside it


@dataclass(frozen=True)
class OldBuild:
    """A folder that a build may replace: what its manifest lists and says, and the other entries, topmost only."""

    listing: Listing
    name: str
    target: str
    foreign: tuple[str, ...]


# -- what lies in a folder --------------------------------------------------------------------------------------------


def read_old(folder: Path) -> OldBuild:
    """What a folder holds that a build is to replace.

    Raises:
        UsageError: it is no build of this recurc's, or a file that its manifest lists was changed; names it.
    """
    listing, said = _listing(folder)
    foreign = tuple(_foreign(folder, listing))
    above = _folders(listing)
    for name in foreign:
        if name in listing or name in above:
            raise _changed(folder, name)
    for name, digest in listing.items():
        if digest is not None and (folder / name).is_file() and file_sha256(folder / name) != digest:
            raise _changed(folder, name)
    return OldBuild(listing, str(said.get("name", "")), str(said.get("target", "")), foreign)


def _changed(folder: Path, name: str) -> UsageError:
    return UsageError(
        "a file of the build was changed, and a new build would overwrite it",
        where=str(folder / name),
        why=f"{MANIFEST} lists it with other contents",
        next=f"Move your version elsewhere, or name another folder with {argument('out')}",
    )


def _listing(folder: Path) -> tuple[Listing, Mapping[str, Any]]:
    """The files that a folder's manifest lists, itself among them; and the manifest.

    Raises:
        UsageError: it is none of ours. InputError: the system does not let it be read.
    """
    file = folder / MANIFEST
    try:
        mode = _mode(file)
        if not stat.S_ISREG(mode):
            raise ValueError(f"it has no {MANIFEST}" if not stat.S_ISLNK(mode) else f"{MANIFEST} is a link")
        said = parse_json(read_text(file, _MANIFEST_LIMIT), _MANIFEST_LIMIT, infinite=True)  # a halting margin
        if said["schema"] != SCHEMA:
            raise ValueError(f"{MANIFEST} is of schema {str(said['schema'])[:80]!r}, this recurc writes {SCHEMA!r}")
        if said["digest"] != digest_of(said):
            raise ValueError(f"{MANIFEST} is damaged")
        listing = {str(name): str(digest) for name, digest in said["files"].items()}
        if any(PurePosixPath(n).is_absolute() or ".." in n.split("/") or str(PurePosixPath(n)) != n for n in listing):
            raise ValueError(f"{MANIFEST} lists files outside of it")
    except (Refused, OSError) as error:
        raise InputError(
            "the output folder holds a build that cannot be read",
            where=str(file),
            why=(isinstance(error, OSError) and error.strerror) or str(error),
            next=f"Check its disk and your permissions, or name another folder with {argument('out')}",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"it exists, and {error}" if type(error) is ValueError else f"it exists, and {MANIFEST} is damaged"
        raise UsageError(
            "the output folder holds something else",
            where=str(folder),
            why=why,
            next="Name another folder, or remove it yourself",
        ) from None
    return {**listing, MANIFEST: None, **({TABLE_FILE: None} if said.get("table") else {})}, said


def _mode(file: Path) -> int:
    """The mode of what has this name, 0 where nothing has. Raises OSError: the system does not say."""
    try:
        return os.lstat(file).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _folders(listing: Listing) -> set[str]:
    """The folders in which listed files lie."""
    return {str(parent) for name in listing for parent in Path(name).parents}


def _foreign(folder: Path, listing: Listing) -> Iterator[str]:
    """The entries of a folder that are no listed files and hold none, topmost only, in order; no link is followed."""
    above = _folders(listing)

    def walk(below: str) -> Iterator[str]:
        with os.scandir(folder / below) as entries:
            found = sorted(entries, key=lambda e: e.name)
        for entry in found:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from walk(name) if name in above else (name,)
            elif name not in listing or not entry.is_file(follow_symlinks=False):
                yield name

    return walk("")


def refuse_collisions(new: Path, old: Path, foreign: tuple[str, ...], out: Path) -> None:
    """That each entry of the user's has its place free in the new build. Raises UsageError that names the one that has not."""
    for name in foreign:
        taken = next((part for part in reversed(Path(name).parents) if str(part) != "." and _is_no_folder(new / part)), None)
        if taken is None:
            taken = _meeting(new, old, Path(name))
        if taken is not None:
            raise UsageError(
                "a file of yours is where the new build has one",
                where=str(out / taken),
                why="no build listed it",
                next=f"Move it elsewhere, or name another folder with {argument('out')}",
            )


def _meeting(new: Path, old: Path, name: Path) -> Path | None:
    """The first path at which an entry of the old folder meets one of the new, folders excepted."""
    if not os.path.lexists(new / name):
        return None
    if _is_no_folder(new / name) or _is_no_folder(old / name):
        return name
    return next((found for child in sorted(os.listdir(old / name)) if (found := _meeting(new, old, name / child))), None)


def _is_no_folder(path: Path) -> bool:
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())


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
        present = _listing(out)[0]
        if missing := next((name for name in present if not (out / name).is_file()), None):
            raise UsageError("", why=f"{out / missing} is missing")
        listing = _listing(swap)[0] if os.path.lexists(swap / MANIFEST) else {}
        for _ in range(100):  # a program that works in the old folder may go on making files there
            for name in list(_foreign(swap, listing)):
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
    for name in sorted(_folders(listing) - {"."}, key=len, reverse=True):
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
    elif not _is_no_folder(source) and not _is_no_folder(target):
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
    return not _is_no_folder(folder) and not os.listdir(folder)


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


def other_model(old: OldBuild, name: str) -> str | None:
    """What to say when a build of another model is replaced."""
    return f"replacing the build of {old.name}" if old.name and old.name != name else None
