"""The output folder of a build: it appears whole, or not at all, and nothing of the user's is ever overwritten."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from recurc.codegen.manifest import MANIFEST
from recurc.errors import InputError, UsageError


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well, and disappears otherwise.

    Raises:
        InputError: `out` cannot be written. UsageError: it exists and is not a build of ours.
    """
    check_output(out)
    tag = f".{out.name}.partial-"
    partial = out.parent / f"{tag}{os.getpid()}-{uuid.uuid4().hex[:6]}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for stale in list(out.parent.iterdir()):  # halves that an interrupted build left behind
            if stale.name.startswith(tag) and not _alive(stale.name[len(tag):].split("-")[0]):
                shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir()
    except OSError as e:
        raise _not_writable(out, e.strerror or str(e)) from e
    try:
        yield partial
        _swap_in(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _swap_in(partial: Path, out: Path) -> None:
    """Make `partial` the folder `out` in place of what is there; of builds that end at once, the last one stays."""
    old = partial.with_name(partial.name + "-old")
    for attempt in range(100):
        with suppress(FileNotFoundError):
            out.rename(old)
        try:
            partial.rename(out)
            break
        except OSError:  # another build has put its folder there in between
            if attempt == 99:
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def check_output(out: Path) -> None:
    """That a build may be written to `out`, as far as that can be told without writing.

    Raises:
        InputError: no folder can be made there. UsageError: it exists and is not a build of ours.
    """
    if out.exists() and not ((out / MANIFEST).is_file() or (out.is_dir() and not any(out.iterdir()))):
        raise UsageError("the output folder holds something else", where=str(out),
                         why=f"it exists and has no {MANIFEST}", next="name another folder, or remove it yourself")
    above = Path(os.path.abspath(out)).parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise _not_writable(out, f"{above} is not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _not_writable(out, f"{above} may not be written")


def _not_writable(out: Path, why: str) -> InputError:
    return InputError("the output folder cannot be written", where=str(out), why=why,
                      next="name a folder that you may write with --out")


def _alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
