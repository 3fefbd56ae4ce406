"""What CONTRIBUTING names is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
GROUPS = {"recurc.ops", "recurc.precisions", "recurc.families", "recurc.packages"}  # of entry points


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(recurc(?:\.\w+)+)", TEXT)) - GROUPS))
def test_names_lead_somewhere(name):
    module, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert hasattr(importlib.import_module(module), last)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:recurc|tests|boards|chips|runtime_c|benchmarks)/[\w./]*)`", TEXT)))
)
def test_paths_are_there(path):
    assert (ROOT / path.replace("scheme_NAME", "scheme_int4").replace("ops/NAME", "ops/attention")).exists()
