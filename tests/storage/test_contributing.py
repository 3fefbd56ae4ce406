"""What CONTRIBUTING says of precisions is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text().split("## Adding a precision")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(recurc(?:\.\w+)+)", TEXT)) - {"recurc.precisions"}))
def test_names_lead_somewhere(name):
    module, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), last)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:recurc|tests)/[\w./]+)`", TEXT))))
def test_paths_are_there(path):
    assert (ROOT / path.replace("scheme_NAME", "scheme_int4")).exists()
