"""What lies in a folder that a build is to replace: the files of a build, and what is somebody's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from recurc.arguments import argument
from recurc.build.listing import MANIFEST, SCHEMA, TABLE_FILE, digest_of, file_sha256
from recurc.errors import InputError, UsageError
from recurc.formats import parse_json
from recurc.reading import Refused, read_text

Listing = Mapping[str, str | None]  # path in the folder -> sha256, None where the manifest gives none
_MANIFEST_LIMIT = 1 << 24  # bytes


@dataclass(frozen=True)
class OldBuild:
    """A folder that a build may replace: what its manifest lists and says, and the other entries, topmost only."""

    listing: Listing
    name: str
    target: str
    foreign: tuple[str, ...]


def read_old(folder: Path) -> OldBuild:
    """What a folder holds that a build is to replace.

    Raises:
        UsageError: it is no build of this recurc's, or a file that its manifest lists was changed; names it.
    """
    listing, said = listed(folder)
    foreign = tuple(strangers(folder, listing))
    above = folders_of(listing)
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


def listed(folder: Path) -> tuple[Listing, Mapping[str, Any]]:
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


def folders_of(listing: Listing) -> set[str]:
    """The folders in which listed files lie."""
    return {str(parent) for name in listing for parent in Path(name).parents}


def strangers(folder: Path, listing: Listing) -> Iterator[str]:
    """The entries of a folder that are no listed files and hold none, topmost only, in order; no link is followed."""
    above = folders_of(listing)

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
        taken = next((part for part in reversed(Path(name).parents) if str(part) != "." and is_no_folder(new / part)), None)
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
    if is_no_folder(new / name) or is_no_folder(old / name):
        return name
    return next((found for child in sorted(os.listdir(old / name)) if (found := _meeting(new, old, name / child))), None)


def is_no_folder(path: Path) -> bool:
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())
