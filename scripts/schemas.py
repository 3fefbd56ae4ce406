"""Writes docs/schemas: the JSON Schema of each document that recurc writes, from the document's type.

python scripts/schemas.py        writes them
python scripts/schemas.py DIR    writes them to another folder, to compare
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from pathlib import Path
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from recurc.documents.published import COMMANDS, FILES

FOLDER = Path(__file__).parents[1] / "docs/schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[object, dict[str, Any]] = {
    str: {"type": "string"}, Path: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"},
    bool: {"type": "boolean"}, type(None): {"type": "null"},
}  # fmt: skip


def schema_of(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; those of objects are put into `found` by their names and referred to."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if is_typeddict(kind):
        if kind.__name__ not in found:
            found[kind.__name__] = {}  # its own fields may refer to it
            found[kind.__name__] = object_of(kind, found)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is NotRequired:
        return schema_of(arguments[0], found)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        options = [schema_of(a, found) for a in arguments]
        if all(list(option) == ["type"] for option in options):
            return {"type": [option["type"] for option in options]}
        return {"anyOf": options}
    if origin is list or (origin is tuple and arguments[1:] == (...,)):
        return {"type": "array", "items": schema_of(arguments[0], found)}
    if origin is tuple:
        items = [schema_of(a, found) for a in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], found)}
    raise TypeError(f"a document has no {kind!r}")


def object_of(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object: its fields, which of them must be there, and no others."""
    fields = get_type_hints(kind, include_extras=True)
    return {
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "type": "object",
        "properties": {name: schema_of(field, found) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if get_origin(field) is not NotRequired],
        "additionalProperties": False,
    }


def command_schema(name: str) -> dict[str, Any]:
    """What `recurc NAME --json` writes."""
    found: dict[str, Any] = {}
    options = []
    for kind in COMMANDS[name]:
        document = object_of(kind, found)
        document["properties"] = {
            **document["properties"], "schema": {"const": f"recurc/{name}/1"}, "notes": {"type": "array", "items": _PLAIN[str]}
        }  # fmt: skip
        document["required"] = list(dict.fromkeys(["schema", *document["required"]]))
        options.append(document)
    return {"$schema": DIALECT, "title": f"recurc {name} --json", "anyOf": options, "$defs": dict(sorted(found.items()))}


def file_schema(name: str) -> dict[str, Any]:
    """A document that stands alone."""
    found: dict[str, Any] = {}
    return {
        "$schema": DIALECT,
        "title": f"recurc {name}",
        **object_of(FILES[name], found),
        "$defs": dict(sorted(found.items())),
    }


def schemas() -> dict[str, str]:
    """The text of every schema, by the name of its file."""
    made = {name: command_schema(name) for name in COMMANDS} | {name: file_schema(name) for name in FILES}
    return {f"{name}.schema.json": json.dumps(schema, indent=1) + "\n" for name, schema in sorted(made.items())}


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
