"""SECURITY.md promises nothing without a test: each that it names is there, and each kind of input is on the page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_the_page_names_is_there():
    missing = [
        f"{file}::{name}" for file, name in NAMED if not re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert len(NAMED) > 35 and not missing


def test_every_promise_names_a_test():
    """Each point of a list under Inputs does, or belongs to one that does."""
    inputs = PAGE.split("## Inputs")[1].split("## What is not promised")[0]
    points = re.split(r"\n(?=\* )", inputs)[1:]
    assert len(points) > 15 and [p for p in points if "::test_" not in p] == []


def test_every_kind_of_input_is_there():
    for word in (
        "Checkpoints",
        "all_config.yaml",
        "dataset.json",
        "Board files",
        "recurc.toml",
        "Build folders",
        "Images",
        "tables",
        "wire",
        "cache",
        "Names",
        "Reporting",
    ):
        assert word in PAGE


def test_files_that_the_page_names_are_there():
    for name in re.findall(r"`(recurc/[\w/]+\.py)`", PAGE):
        assert (ROOT / name).is_file()
