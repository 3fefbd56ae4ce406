"""`recurc.toml`: the model that commands mean when none is named, how it is stored, how long it reasons, where it runs."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from recurc.documents.manifest import Halting
from recurc.errors import InputError, RecurcError, UsageError
from recurc.formats import parse_toml
from recurc.ir.lowering import MOST_CYCLES, WORDS
from recurc.noise import NOISE_AT
from recurc.quant.weights import calibrations, precisions
from recurc.reading import Unreadable, is_file, not_read, read_text, shown
from recurc.solve import ACCEPT
from recurc.types import is_float32

PROJECT_FILE = "recurc.toml"
_DEPTH = ("h_cycles", "l_cycles", "steps")  # of a lowering, in the order in which the file has them
_SAID = 10  # mistakes that are named at once
_TRIED = 50  # lines that are looked at for a key, before its line is not told
_METHOD = "a calibration method"
_LAYERS, _TEXT, _COUNT, _NUMBER, _SEED = "layers", "text", "a whole number from 1", "a number", "a whole number from 0"
# Table -> key -> what it holds: a kind, or the words that it may be. One reader, one writer, one list.
_KEYS: dict[str, dict[str, object]] = {
    "model": {"checkpoint": _TEXT, "data": _TEXT},
    "quantize": {"precision": _TEXT, "layers": _LAYERS, "calibration": _METHOD, "calibration_puzzles": _COUNT, "seed": _SEED},
    "schedule": {**{name: _COUNT for name in _DEPTH}, "halt_threshold": _NUMBER, "min_steps": _COUNT, "patience": _SEED},
    "solve": {
        "symmetry": _TEXT,
        "first_steps": _COUNT,
        "restarts": _SEED,
        "restart_steps": _COUNT,
        "accept": ACCEPT,
        "noise": _NUMBER,
        "noise_at": NOISE_AT,
    },  # fmt: skip
    "build": {"target": _TEXT, **WORDS, "min_fidelity": _NUMBER},
}
_LOWERING = {*_DEPTH, *WORDS}
_SOLVING = {"symmetry", "first_steps", "restarts", "restart_steps", "accept", "noise", "noise_at"}
_OTHERWISE = {"puzzles": "calibration_puzzles"}  # options that the file calls otherwise
_LIMIT = 1 << 17  # bytes: a line for each layer of the largest model
_MOST = {
    **{name: MOST_CYCLES for name in _DEPTH},
    "min_steps": 255,
    "patience": 255,
    "first_steps": 255,
    "restarts": 255,
    "restart_steps": 255,
    "seed": 2**32 - 1,
}
_HOLDS = (
    'It holds [model] with checkpoint = "..." and data = "...", [quantize] with precision = "int4", '
    '[quantize.layers] with "name of a layer" = "int8", [schedule] with steps = 8 or halt_threshold = 0.5, [solve] with '
    'restarts = 4, and [build] with target = "stm32h7"'
)


@dataclass(frozen=True)
class Project:
    """What a project file says; keys as in the file, None: not given. layers: name or pattern -> precision; lowering: the
    knobs of a `Lowering` that the file has; solving: how puzzles are asked again."""

    checkpoint: str | None = None
    data: str | None = None
    precision: str | None = None
    layers: Mapping[str, str] = field(default_factory=dict)
    calibration: str | None = None
    calibration_puzzles: int | None = None
    seed: int | None = None
    halt_threshold: float | None = None
    min_steps: int | None = None
    patience: int | None = None
    target: str | None = None
    min_fidelity: float | None = None
    lowering: Mapping[str, int | str] = field(default_factory=dict)
    solving: Mapping[str, int | float | str] = field(default_factory=dict)
    file: Path | None = field(default=None, compare=False)
    text: str = field(default="", compare=False, repr=False)

    def value(self, option: str) -> Any:
        """What the file says for an option of the command line, None where it says nothing."""
        name = _OTHERWISE.get(option, option)
        if name == "patience" and self.halt is not None:
            return self.halt.get("patience")
        if name in _SOLVING:
            return self.solving.get(name)
        return self.lowering.get(name) if name in _LOWERING else vars(self).get(name)

    def place(self, key: str, what: str) -> tuple[str, ...]:
        """Where the file has a key, its parts from the outermost; of a layer that `what` names its own entry. () where it
        has none."""
        tables = [table for table, keys in _KEYS.items() if key in keys]
        if key == _LAYERS:
            named = [name for name in self.layers if shown(name) in what]
            return (*tables, key, named[0]) if named else ()
        return (*tables, key) if self.value(key) is not None else ()

    @property
    def halt(self) -> Halting | None:
        """{"threshold", "min_steps", "patience"} where the file says when to stop early; None: all steps are run. Without a
        patience that is 0: files were written before there was one."""
        if self.halt_threshold is None:
            return None
        return {"threshold": float(self.halt_threshold), "min_steps": self.min_steps or 1, "patience": self.patience or 0}


def read_project(path: Path | None = None) -> Project:
    """A project file, the one here when left out; an empty project where there is none here.

    Raises:
        InputError: it cannot be read or holds something else.
    """
    if path is None:
        path = Path(PROJECT_FILE)
        if not is_file(path):
            return Project()
    try:
        text = read_text(path, _LIMIT)
        content = parse_toml(text, _LIMIT)
    except Unreadable as error:
        raise not_read(error, path, path.name, f"{path.name} cannot be read", "Correct it") from None
    mistakes = list(islice(_mistakes(content), _SAID))
    if mistakes:
        told = [(f"line {n}: " if (n := line_of(text, *key)) else "") + why for key, why in mistakes]
        raise InputError(f"{path.name} is not valid", where=str(path), why="; ".join(told), next=_HOLDS)
    said = {key: value for table in content.values() for key, value in table.items()}
    return Project(
        **{key: value for key, value in said.items() if key not in _LOWERING | _SOLVING},
        lowering={key: value for key, value in said.items() if key in _LOWERING},
        solving={key: value for key, value in said.items() if key in _SOLVING},
        file=path,
        text=text,
    )


def line_of(text: str, *key: str) -> int | None:
    """The line of a TOML document in which a key is given, its parts from the outermost; None where that is not found."""
    lines = text.split("\n")
    for n in islice((n for n, line in enumerate(lines, 1) if key[-1] in line), _TRIED):
        try:  # the shortest beginning of the document that has the key: so no way to write it has to be known here
            found: Any = parse_toml("\n".join(lines[:n]), _LIMIT)
        except Unreadable:
            continue  # within a value of several lines
        for part in key:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            return n
    return None


def _mistakes(content: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with the file's content: the key, its parts from the outermost, and a clause."""
    for table, entry in content.items():
        if table not in _KEYS or not isinstance(entry, dict):
            yield (table,), f"unknown: {shown(table)}{_near(table, _KEYS)}"
            continue
        for key, value in entry.items():
            if key not in _KEYS[table]:
                yield (table, key), f"unknown: {shown(f'{table}.{key}')}{_near(key, [k for t in _KEYS.values() for k in t])}"
            elif wrong := _wrong(key, value, _KEYS[table][key]):
                yield (table, key), f"{table}.{key} {wrong}"
            elif key == _LAYERS:
                for name, precision in value.items():
                    if wrong := _no_precision(precision):
                        yield (table, key, name), f"{table}.{key}.{shown(name)} {wrong}"
    schedule = content.get("schedule")
    if isinstance(schedule, dict) and "min_steps" in schedule and "halt_threshold" not in schedule:
        why = "schedule.min_steps has no effect without schedule.halt_threshold, which says that a puzzle stops early"
        yield ("schedule", "min_steps"), why


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _no_precision(name: str) -> str:
    """What is wrong with the name of a precision; "" when there is one."""
    known = precisions()
    if name in known:
        return ""
    return f"is no precision: {shown(name)}{_near(name, known)}; known are {', '.join(known)}"


def _no_board(name: str) -> str:
    """What is wrong with the name of a board; "" when there is one, or it may be a file."""
    from recurc.targets.boards import bundled_board

    if name.endswith(".toml") or "/" in name:
        return ""
    try:
        bundled_board(name)
    except UsageError as error:
        return f"is no board: {shown(name)}, {error.why}"
    return ""


_NAMES = {"precision": _no_precision, "target": _no_board}


def _wrong(key: str, value: Any, kind: object) -> str:
    """What a value should be instead; "" when it is right."""
    if kind == _METHOD:
        kind = calibrations()
    if isinstance(kind, tuple):
        return "" if value in kind else f"is not one of {', '.join(kind)}"
    if kind == _LAYERS:
        good = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        return "" if good else "is not a table of names and precisions"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == _NUMBER:
        if key == "min_fidelity" and number and not -1 <= value <= 1:
            return "is no cosine: it has to be from -1 to 1"
        if key == "noise" and number and value < 0:
            return "is negative: it is a standard deviation"
        return "" if number and is_float32(value) else f"is not {kind}" + " of 32 bits" * (number and value == value)
    if kind == _TEXT:
        if not isinstance(value, str):
            return f"is not {kind}"
        return _NAMES.get(key, lambda _: "")(value) if value else "is empty"
    least, most = int(kind == _COUNT), _MOST.get(key)
    good = number and isinstance(value, int) and value >= least and (most is None or value <= most)
    return "" if good else f"is not {kind}" + (f" to {most}" if most else "")


def blamed(error: RecurcError, project: Project, options: Mapping[str, str]) -> RecurcError:
    """An error as one of the project file's, where it names an option whose value comes from there.

    Args:
        options: those options as they are spelt -> as they are passed on.
    """
    words = error.where.replace("=", " ").split()
    name = options.get(words[0]) if words else None
    if name is None:
        return error
    key = project.place(_OTHERWISE.get(name, name), error.what)
    if not key:
        return error
    line = line_of(project.text, *key)
    where = f"{project.file}, {f'line {line}, ' if line else ''}{'.'.join(key[:2])}"
    if isinstance(error, UsageError):  # the command line is not at fault
        return InputError(error.what, where=where, why=error.why, next=error.next)
    error.where = where
    return error


def project_text(project: Project, comment: str = "") -> str:
    """A project file's text, as `read_project` reads it. comment: lines that stand above."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for table, keys in _KEYS.items():
        given = {key: value for key in keys if key != "layers" and (value := project.value(key)) is not None}
        if given:
            lines += ["", f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in given.items())]
        if "layers" in keys and project.layers:
            lines += ["", f"[{table}.layers]", *(f"{_toml(name)} = {_toml(value)}" for name, value in project.layers.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _toml(value: object) -> str:
    """A value; a JSON string is a TOML basic string, a whole number a TOML integer."""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("-inf" if value < 0 else "inf")
    return json.dumps(value, ensure_ascii=False)
