"""Build folders of a few small files: what `recurc.build.swap` is tested with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from recurc.build.folder import fresh_folder
from recurc.build.listing import MANIFEST, SCHEMA, digest_of, file_sha256

# What a user may have put into a build folder, as `put` makes it: text, None for a folder, "-> x" for a link.
MINE: dict[str, str | None] = {
    ".git/HEAD": "ref",
    ".git/objects/ab/cd": "blob",
    "notes.txt": "mine",
    "verify-host.jsonl": "{}\n",
    "src/own/x.c": "int x;",
    "src/todo": "later",
    "empty": None,
    "link": "-> notes.txt",
    "only-old/kept.txt": "beside a file that goes away",
    "verified.json": "{}\n",
    "report.html": "<p>",
}
OLD = {"src/model.c": "old", "only-old/firmware.elf": "old", "host/a": "old", "same": "same"}
NEW = {"src/model.c": "new", "src/more.c": "new", "host/a": "new", "deep/er/b": "new", "same": "same"}


def put(folder: Path, files: Mapping[str, str | None]) -> None:
    for name, text in files.items():
        path = folder / name
        (path if text is None else path.parent).mkdir(parents=True, exist_ok=True)
        if text is not None and text.startswith("-> "):
            path.symlink_to(text[3:])
        elif text is not None:
            path.write_text(text)


def fill(folder: Path, files: Mapping[str, str], name: str = "model") -> None:
    """Make a folder the whole build `name` of these files."""
    put(folder, files)
    said = {"schema": SCHEMA, "name": name, "target": "host", "files": {f: file_sha256(folder / f) for f in files}}
    (folder / MANIFEST).write_text(json.dumps({**said, "digest": digest_of(said)}))


def rebuild(out: Path, files: Mapping[str, str] = NEW, **options) -> None:
    with fresh_folder(out, "model", **options) as folder:
        fill(folder, files)


def holds(folder: Path, files: Mapping[str, str | None]) -> bool:
    """Whether a folder has all of these, as `put` made them."""

    def there(path: Path, text: str | None) -> bool:
        if text is None:
            return path.is_dir()
        if text.startswith("-> "):
            return path.is_symlink() and os.readlink(path) == text[3:]
        return path.is_file() and not path.is_symlink() and path.read_text() == text

    return all(there(folder / name, text) for name, text in files.items())


def whole(folder: Path) -> bool:
    """Whether a folder has every file of a build, and its manifest."""
    try:
        said = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return all((folder / f).is_file() and file_sha256(folder / f) == digest for f, digest in said["files"].items())
