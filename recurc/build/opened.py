"""Builds as Python callers open them: what was assumed of the checkpoint is a warning."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from recurc.build import manifest
from recurc.build.manifest import Build
from recurc.errors import warn_assumed


def load_build(path: Path | str, to_run: bool = True, trust: bool = False) -> Build:
    """Open a build folder and check that every file is the one that was built; see `recurc.build.manifest.load_build`.

    Args:
        to_run: its host engine will be used here, so it must have been compiled for this CPU.
        trust: its native code may be run although this user did not build it on this computer.

    Raises:
        InputError: it is no build of this version, or not whole.

    Warns:
        RecurcWarning: for each thing that was assumed of its checkpoint, as in `Build.notes`.
    """
    return _warned(manifest.load_build(path, to_run, trust), 1)


def as_build(build: Build | str | os.PathLike[str], trust: bool, depth: int) -> Build:
    """The build that a Python caller means: one that is open, or the path of one.

    Args:
        trust: its native code may be run although this user did not build it on this computer.
        depth: frames between this and the caller, who is warned as by `load_build` when it is a path.

    Raises:
        InputError: as of `load_build`.
    """
    if isinstance(build, (str, os.PathLike)):
        return _warned(manifest.load_build(os.fspath(build), trust=trust), depth + 1)
    return replace(build, trusted=True) if trust else build


def _warned(build: Build, depth: int) -> Build:
    warn_assumed(build.path, build.notes, depth + 1)
    return build
