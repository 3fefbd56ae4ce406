"""What `verify` found of a build's firmware, kept beside the build; believed is only what its journal says as well.

`verified.json` holds, by build id, the counts of the latest run and the name of its journal. Who reads them counts the
journal's lines again: a count that was written by hand, or whose journal is gone or was begun anew, is told and not shown.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from recurc.build.manifest import RESULTS_FILE, BoardArtifact, Build
from recurc.errors import InputError, RecurcError
from recurc.files import write_whole
from recurc.formats import parse_json
from recurc.reading import Unreadable, open_regular
from recurc.verify.journal import read_journal
from recurc.verify.result import Tally

_LARGEST = 1 << 20
_COUNTED = ("n", "matched", "bit_exact", "cell", "exact", "steps", "ticks")


def keep(build: Build, build_id: str, result: Mapping[str, Any], journal: Path | None) -> None:
    """Keep what `verify` found of a firmware ("n", "offset", "matched", ...), for reports.

    Nothing is kept without a journal; a folder that cannot be written is left as it is.
    """
    if journal is None:
        return
    known = {b.build_id for b in build.boards.values()}
    kept = {key: value for key, value in _results(build.path).items() if key in known}
    entry = {**result, "journal": _named(build.path, journal)}
    with suppress(InputError):
        write_whole(
            build.path / RESULTS_FILE, json.dumps({**kept, build_id: entry}, indent=2) + "\n", "the result", "", follow=False
        )


def verified(build: Build, board: str) -> tuple[dict[str, Any] | None, str]:
    """The latest `verify` of a board's firmware, None where there is none to believe; and what to say of one that is not."""
    artifact = build.boards.get(board)
    told = None if artifact is None else _results(build.path).get(artifact.build_id)
    if artifact is None or told is None:
        return None, ""
    try:
        path = _journal(build.path, told.get("journal"))
        counted = _count(path, artifact, board, told)
    except (Unreadable, OSError) as error:
        return None, _doubt(told, board, f"its journal cannot be read: {error}")
    except (ValueError, TypeError, KeyError) as error:
        return None, _doubt(told, board, str(error))
    found = {**told, **counted}
    differing = [name for name in counted if not _same(told.get(name), counted[name])]
    if not _same(told.get("instructions_per_step"), _instructions(build, board, found)):
        differing.append("instructions_per_step")
    if differing:
        return None, _doubt(
            told,
            board,
            f"its journal says {counted['matched']} of {counted['n']}, and the two differ in " + ", ".join(differing),
        )
    return found, ""


def _count(path: Path, artifact: BoardArtifact, board: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a journal says of the puzzles that a result is about."""
    header, results = read_journal(path)
    for key, wanted in (("build_id", artifact.build_id), ("model_sha256", artifact.model_sha256), ("board", board)):
        if header.get(key) != wanted:
            raise ValueError(f"its journal is of another {key.split('_')[0]}")
    first, n = told["offset"], told["n"]
    if type(first) is not int or type(n) is not int or n < 1 or first < 0:
        raise ValueError("it has no numbers of puzzles")
    tally = Tally(tuple(r for i, r in results.items() if first <= i < first + n))
    counted = {name: getattr(tally, name) for name in _COUNTED}
    return {
        **counted,
        "mean_steps": tally.steps / max(1, tally.n),
        "stack_used": max((p.stack_used for p in tally.puzzles), default=0),
    }


def _instructions(build: Build, board: str, found: Mapping[str, Any]) -> int | None:
    """Instructions of a step, from the counted ticks; as told where the board is not known any more."""
    try:
        per = build.board(board).ticks.per_instruction
    except RecurcError:
        told = found.get("instructions_per_step")
        return told if isinstance(told, int) else None
    if found.get("on") != "qemu" or per is None:
        return None
    return round(round(float(found["ticks"]) / max(1, int(found["steps"]))) / per)


def _same(a: object, b: object) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool) and not isinstance(b, bool):
        return math.isclose(a, b, rel_tol=1e-9)
    return a is b or (type(a) is type(b) and a == b)


def _doubt(told: Mapping[str, Any], board: str, why: str) -> str:
    said = f"{str(told.get('matched'))[:20]} of {str(told.get('n'))[:20]}"
    return f"{RESULTS_FILE} says that {said} puzzles were equal on {board}; that is not shown, because {why}"


def _named(folder: Path, journal: Path) -> str:
    """A journal's name from the build folder, where it lies in it; else its absolute path."""
    path = Path(os.path.abspath(journal))
    with suppress(ValueError):
        return path.relative_to(os.path.abspath(folder)).as_posix()
    return str(path)


def _journal(folder: Path, name: object) -> Path:
    if not isinstance(name, str) or not name or "\0" in name or ".." in PurePosixPath(name).parts:
        raise ValueError("it names no journal")
    return folder / name


def _results(folder: Path) -> dict[str, Any]:
    """Results by build id; empty where there are none or they cannot be read."""
    try:
        with open_regular(folder / RESULTS_FILE, follow=False) as file:
            found = parse_json(file.read(_LARGEST).decode(), _LARGEST)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(v, dict) for v in found.values()) else {}
