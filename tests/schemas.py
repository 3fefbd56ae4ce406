"""The published JSON Schemas, for tests: whatever document a test makes a command write is held to its schema."""

import json
from functools import lru_cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[1] / "docs/schemas"


@lru_cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / f"{name}.schema.json").read_text()))


def problems(name: str, document: object) -> list[str]:
    """Where a document is not what its schema says, with the reasons of each alternative."""
    return [
        f"{'/'.join(map(str, cause.absolute_path))}: {cause.message[:200]}"
        for error in validator(name).iter_errors(document)
        for cause in (error.context or [error])
    ]


def check(text: str) -> None:
    """Hold a command's document to the schema that it names, where that is published."""
    document = json.loads(text)
    name = str(document.get("schema", "")).split("/")[1:2]
    if name and (FOLDER / f"{name[0]}.schema.json").exists() and document["schema"] == f"recurc/{name[0]}/1":
        found = problems(name[0], document)
        assert not found, f"recurc {name[0]} --json is not what docs/schemas says: " + "; ".join(found)


@pytest.fixture(autouse=True)
def held_to_schemas(monkeypatch):
    """Every document that a command writes in this process."""
    from recurc.cli.common import output

    written = output.json_text

    def json_text(document):
        text = written(document)
        check(text)
        return text

    monkeypatch.setattr(output, "json_text", json_text)
