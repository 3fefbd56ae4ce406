"""`recurc.toml` in the current folder: the model that commands mean when none is named, and how it is stored."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recurc.errors import InputError

PROJECT_FILE = "recurc.toml"
_KEYS = {"model": ("checkpoint", "data"), "quantize": ("precision", "layers")}


@dataclass(frozen=True)
class Project:
    """[model] checkpoint, data; [quantize] precision; [quantize.layers] name or pattern -> precision. None: not given."""

    checkpoint: str | None = None
    data: str | None = None
    precision: str | None = None
    layers: Mapping[str, str] = field(default_factory=dict)


def read_project() -> Project:
    """The file here; an empty project where there is none.

    Raises:
        InputError: it cannot be read or holds something else. UsageError: a precision that does not exist.
    """
    from recurc.quant.weights import precision_named

    path = Path(PROJECT_FILE)
    if not path.is_file():
        return Project()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{PROJECT_FILE} cannot be read", where=str(path), why=str(error), next="Correct it") from None
    why = _mistake(content)
    if why:
        raise InputError(
            f"{PROJECT_FILE} is not valid", where=str(path), why=why,
            next='It holds [model] with checkpoint = "..." and data = "...", [quantize] with precision = "int4", and '
                 '[quantize.layers] with "name of a layer" = "int8"')
    model, quantize = content.get("model", {}), content.get("quantize", {})
    project = Project(model.get("checkpoint"), model.get("data"), quantize.get("precision"), quantize.get("layers", {}))
    for name in (*([project.precision] if project.precision else []), *project.layers.values()):
        precision_named(name)
    return project


def _mistake(content: Mapping[str, Any]) -> str:
    """What is wrong with the file's content; "" when nothing is."""
    unknown = [table for table in content if table not in _KEYS]
    wrong = []
    for table in _KEYS:
        entry = content.get(table, {})
        if not isinstance(entry, dict):
            unknown.append(table)
            continue
        unknown += [f"{table}.{key}" for key in entry if key not in _KEYS[table]]
        wrong += [f"{table}.{key}" for key in _KEYS[table] if key != "layers" and not isinstance(entry.get(key, ""), str)]
    layers = content.get("quantize", {}).get("layers", {}) if not unknown else {}
    if not isinstance(layers, dict):
        wrong.append("quantize.layers")
    else:
        wrong += [f"quantize.layers.{name}" for name, value in layers.items() if not isinstance(value, str)]
    return f"unknown: {', '.join(unknown)}" if unknown else f"not text: {', '.join(wrong)}" if wrong else ""


def project_text(checkpoint: str, data: Path | None, precision: str, layers: Mapping[str, str]) -> str:
    """A project file's text, as `read_project` reads it."""
    def quoted(text: object) -> str:
        return json.dumps(str(text), ensure_ascii=False)  # a JSON string is a TOML basic string

    lines = ["[model]", f"checkpoint = {quoted(checkpoint)}", *([f"data = {quoted(data)}"] if data else []), "",
             "[quantize]", f"precision = {quoted(precision)}", "", "[quantize.layers]",
             *(f"{quoted(name)} = {quoted(value)}" for name, value in layers.items())]
    return "\n".join(lines) + "\n"
