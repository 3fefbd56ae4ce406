"""The compiler that counts were taken with."""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks import instructions
from recurc.targets.boards import load_board
from recurc.targets.toolchain import find_compiler
from tests.tools import need


def committed() -> dict:
    return json.loads(instructions.DATA.read_text(encoding="utf-8"))


def need_same_compiler(name: str) -> None:
    """The counts belong to one compiler's code."""
    need(name)
    said = subprocess.run([find_compiler(load_board(name).family), "-dumpfullversion"], capture_output=True, text=True)
    if said.stdout.strip() != committed()[name]["gcc"]:
        pytest.skip(f"the committed counts are GCC {committed()[name]['gcc']}'s")
