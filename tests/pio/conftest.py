"""One build with a board that links only, its emulated twin, and a puzzle table that both keep apart from the firmware."""

from __future__ import annotations

from pathlib import Path

import pytest

import recurc
from recurc.api import Gate
from recurc.build.manifest import Build
from recurc.package.platformio import PROJECT
from recurc.targets.platformio import find_platformio
from tests.tools import missing, need

GOOD = Gate(1.0, 1, "calibration puzzles", ())


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Build:
    """Target stm32h7 (table in QSPI flash), twin mps2-an500 (table in its PSRAM)."""
    need("mps2-an500")
    if find_platformio() is None:
        missing("PlatformIO")
    quantized = recurc.load("arc-mini").quantize("int4", method="min-max", puzzle_table="int8")
    return quantized.build("stm32h7", tmp_path_factory.mktemp("pio") / "out", gate=GOOD)


@pytest.fixture(scope="session")
def project(made) -> Path:
    return made.path / PROJECT
