"""The C runtime's files in folders that recurc writes: copied here and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from recurc.reading import matching

_NO_PART = shutil.ignore_patterns("*.md", "CMakeLists.txt", "tests")  # of what a firmware is compiled from


def copy_runtime(
    runtime: Path, folder: Path, files: Iterable[Path] | None = None, *, beside: Iterable[Path] = (), sources: str = ""
) -> list[str]:
    """Copy the runtime's headers and sources into `folder`, which is made.

    Args:
        runtime: the runtime_c folder, or a build's copy of it.
        files: C files and assembly that are wanted, all of them when None; with each comes every header of its folder.
        beside: more folders whose headers are wanted.
        sources: folder in `folder` for what is not in include/.

    Returns:
        The wanted files' paths in `folder`, sorted; none where all were copied.
    """
    if files is None:
        shutil.copytree(runtime, folder, ignore=_NO_PART)
        return []
    shutil.copytree(runtime / "include", folder / "include")
    wanted = sorted(set(files))
    headers = {header for parent in {*(file.parent for file in wanted), *beside} for header in matching(parent, "*.h")}
    for file in sorted({*wanted, *headers}):
        target = folder / sources / file.relative_to(runtime)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return [str(Path(sources) / file.relative_to(runtime)) for file in wanted]
