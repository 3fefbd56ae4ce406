"""The JSON documents of commands and builds, held to their published schemas."""

import importlib.util
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from recurc.cli.main import main
from recurc.documents.published import COMMANDS, FILES
from tests.schemas import FOLDER, problems, validator

ROOT = Path(__file__).parents[1]


def _script():
    spec = importlib.util.spec_from_file_location("schemas_script", ROOT / "scripts/schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_published_schemas_are_those_of_the_types():
    made = _script().schemas()
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == made, "run scripts/schemas.py"
    for text in made.values():
        Draft202012Validator.check_schema(json.loads(text))


def _document(capsys, *arguments):
    main(list(arguments))
    written = capsys.readouterr()
    assert written.out, f"{arguments} wrote no document: {written.err}"
    return json.loads(written.out)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemas") / "b"
    assert main(["build", "sudoku4-tiny", "--target", "host", "--accuracy-puzzles", "2", "--out", str(folder)]) == 0
    return folder


def test_commands_write_what_their_schemas_say(build, capsys):
    made = str(build)
    for name, *more in (
        ("inspect", "sudoku4-tiny"),
        ("eval", "sudoku4-tiny", "--limit", "2", "--fidelity-puzzles", "1"),
        ("eval", "sudoku4-tiny", "--limit", "2", "--fidelity-puzzles", "2", "--halt"),
        ("run", "sudoku4-tiny", "--limit", "1"),
        ("run", made, "--on", "host", "--limit", "2"),
        ("verify", made, "--on", "host", "--limit", "1"),
        ("verify", made, "--on", "host", "--limit", "2", "--fidelity", "0"),
        ("report", made),
        ("report", "sudoku4-tiny", "--target", "stm32h7"),
        ("report", "hrm-sudoku4", "--target", "nrf5340", "--precision", "fp32"),
        ("build", "hrm-sudoku4", "--target", "nrf5340", "--precision", "fp32", "--out", made + "-refused"),
        ("build", "sudoku4-tiny", "--target", "none-such", "--out", made + "-refused"),
        ("doctor", made),
    ):
        document = _document(capsys, name, *more, "--json")
        assert document["schema"] == f"recurc/{name}/1"
        assert problems(name, document) == [], (name, *more)


def test_a_build_and_its_plan_are_what_their_schemas_say(build, capsys):
    assert problems("manifest", json.loads((build / "recurc-build.json").read_text())) == []
    refused = _document(
        capsys, "build", "hrm-sudoku4", "--target", "nrf5340", "--precision", "fp32", "--out", str(build) + "-r", "--json"
    )
    assert not refused["fits"] and problems("plan", refused["plan"]) == []


@pytest.mark.parametrize("name", [*COMMANDS, *FILES])
def test_a_schema_refuses_what_it_does_not_describe(name):
    for wrong in ({}, [], {"schema": f"recurc/{name}/1"}, {"schema": "recurc/other/1", "error": {}}):
        assert not validator(name).is_valid(wrong)
