"""`recurc.toml`: the model that commands mean when none is named, how it is stored, how long it reasons, where it runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recurc.documents.manifest import Halting
from recurc.errors import InputError
from recurc.formats import parse_toml
from recurc.ir.lowering import MOST_CYCLES, WORDS
from recurc.quant.weights import calibrations, precision_named
from recurc.reading import Unreadable, is_file, not_read, read_text, shown

PROJECT_FILE = "recurc.toml"
_DEPTH = ("h_cycles", "l_cycles", "steps")  # of a lowering, in the order in which the file has them
_SAID = 10  # mistakes that are named at once
_METHOD = "a calibration method"
_TEXT, _COUNT, _NUMBER, _SEED = "text", "a whole number from 1", "a number", "a whole number from 0"
# Table -> key -> what it holds: a kind, or the words that it may be. One reader, one writer, one list.
_KEYS: dict[str, dict[str, object]] = {
    "model": {"checkpoint": _TEXT, "data": _TEXT},
    "quantize": {"precision": _TEXT, "layers": "layers", "calibration": _METHOD, "calibration_puzzles": _COUNT, "seed": _SEED},
    "schedule": {**{name: _COUNT for name in _DEPTH}, "halt_threshold": _NUMBER, "min_steps": _COUNT, "patience": _SEED},
    "build": {"target": _TEXT, **WORDS, "min_fidelity": _NUMBER},
}
_LOWERING = {*_DEPTH, *WORDS}
_OTHERWISE = {"puzzles": "calibration_puzzles"}  # options that the file calls otherwise
_LIMIT = 1 << 17  # bytes: a line for each layer of the largest model
_MOST = {**{name: MOST_CYCLES for name in _DEPTH}, "min_steps": 255, "patience": 255, "seed": 2**32 - 1}
_HOLDS = (
    'It holds [model] with checkpoint = "..." and data = "...", [quantize] with precision = "int4", '
    '[quantize.layers] with "name of a layer" = "int8", [schedule] with steps = 8 or halt_threshold = 0.5, and [build] '
    'with target = "stm32h7"'
)


@dataclass(frozen=True)
class Project:
    """What a project file says; keys as in the file, None: not given. layers: name or pattern -> precision; lowering: the
    knobs of a `Lowering` that the file has."""

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

    def value(self, option: str) -> Any:
        """What the file says for an option of the command line, None where it says nothing."""
        name = _OTHERWISE.get(option, option)
        if name == "patience" and self.halt is not None:
            return self.halt.get("patience")
        return self.lowering.get(name) if name in _LOWERING else vars(self).get(name)

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
        InputError: it cannot be read or holds something else. UsageError: a precision that does not exist.
    """
    if path is None:
        path = Path(PROJECT_FILE)
        if not is_file(path):
            return Project()
    try:
        content = parse_toml(read_text(path, _LIMIT), _LIMIT)
    except Unreadable as error:
        raise not_read(error, path, path.name, f"{path.name} cannot be read", "Correct it") from None
    why = _mistake(content)
    if why:
        raise InputError(f"{path.name} is not valid", where=str(path), why=why, next=_HOLDS)
    said = {key: value for table in content.values() for key, value in table.items()}
    project = Project(
        **{key: value for key, value in said.items() if key not in _LOWERING},
        lowering={key: value for key, value in said.items() if key in _LOWERING},
    )
    for name in (*([project.precision] if project.precision else []), *project.layers.values()):
        precision_named(name)
    return project


def _mistake(content: Mapping[str, Any]) -> str:
    """What is wrong with the file's content; "" when nothing is."""
    unknown = [table for table, entry in content.items() if table not in _KEYS or not isinstance(entry, dict)]
    entries = [(table, key, value) for table, entry in content.items() if table not in unknown for key, value in entry.items()]
    unknown += [f"{table}.{key}" for table, key, _ in entries if key not in _KEYS[table]]
    if unknown:
        return f"unknown: {', '.join(shown(name) for name in unknown[:_SAID])}"
    wrong = ((f"{table}.{key}", _wrong(key, value, _KEYS[table][key])) for table, key, value in entries)
    return "; ".join([f"{name} {text}" for name, text in wrong if text][:_SAID])


def _wrong(key: str, value: Any, kind: object) -> str:
    """What a value should be instead; "" when it is right."""
    if kind == _METHOD:
        kind = calibrations()
    if isinstance(kind, tuple):
        return "" if value in kind else f"is not one of {', '.join(kind)}"
    if kind == "layers":
        good = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        return "" if good else "is not a table of names and precisions"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == _NUMBER:
        if key == "min_fidelity" and number and not -1 <= value <= 1:
            return "is no cosine: it has to be from -1 to 1"
        return "" if number and not math.isnan(value) else f"is not {kind}"
    if kind == _TEXT:
        return "" if isinstance(value, str) else f"is not {kind}"
    least, most = int(kind == _COUNT), _MOST.get(key)
    good = number and isinstance(value, int) and value >= least and (most is None or value <= most)
    return "" if good else f"is not {kind}" + (f" to {most}" if most else "")


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
