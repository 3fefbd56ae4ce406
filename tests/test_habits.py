"""What a project has beside its code: changelog, versions, citation, templates and workflows say what is so, and are valid."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import recurc
from recurc.build.listing import SCHEMA
from recurc.device.frames import VERSION as WIRE
from recurc.emit.image import ARITHMETIC_ID, VERSION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VALID = {
    "vendor.github-workflows": [".github/workflows/tests.yml"],
    "vendor.github-issue-forms": [".github/ISSUE_TEMPLATE/wrong.yml", ".github/ISSUE_TEMPLATE/checkpoint.yml"],
    "vendor.github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
    "vendor.citation-file-format": ["CITATION.cff"],
}


@pytest.mark.parametrize("schema", VALID)
def test_documents_are_valid(schema):
    files = [str(ROOT / name) for name in VALID[schema]]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_of_versions_says_todays():
    rows = dict(re.findall(r"^\| ([\w ]+?) \| ([\d.]+) \|", (ROOT / "docs/versions.md").read_text(), re.M))
    assert rows == {
        "package": recurc.__version__,
        "arithmetic": str(ARITHMETIC_ID),
        "image": ".".join(map(str, VERSION)),
        "wire": str(WIRE),
        "build folder": SCHEMA.rpartition("/")[2],
    }


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == recurc.__version__
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert heads[0] == "Unreleased" and recurc.__version__ in heads


def test_commands_of_the_changelog_exist():
    from recurc.cli.main import cli

    text = (ROOT / "CHANGELOG.md").read_text()
    assert set(re.findall(r"`recurc (\w+)", text)) <= set(cli.list_commands(None))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([\w-]+)", text)) <= targets


def test_workflows_and_hooks_run_what_is_there():
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    lines = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    made = {line.removeprefix("make ") for line in lines if line.startswith("make ")}
    assert {"lint", "test"} <= made <= targets
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert all(hook["entry"].split()[0] in lint for hook in repo["hooks"])
    pythons = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    listed = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert pythons == listed and PROJECT["project"]["requires-python"] == f">={listed[0]}"
