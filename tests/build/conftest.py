"""The bundled tiny model, quantized and built once a test process."""

from __future__ import annotations

from pathlib import Path

import pytest

import recurc
from recurc.api import Gate, Model, Quantized
from recurc.build.manifest import Build
from recurc.make import host
from recurc.package import firmware as package
from recurc.package.linking import Firmware
from recurc.resources import bundled_models
from tests.tools import need

NAME = "sudoku4-tiny"
GOOD = Gate(1.0, 1, "calibration puzzles", ())


@pytest.fixture(scope="session")
def data() -> Path:
    return bundled_models()[NAME] / "data"


@pytest.fixture(scope="session")
def model() -> Model:
    return recurc.load(NAME)


@pytest.fixture(scope="session")
def quantized(model, data) -> Quantized:
    """int4, calibrated on a few puzzles; its engine is compiled at first use."""
    need("host")
    return model.quantize("int4", recurc.load_dataset(data, "train"), puzzles=8)


@pytest.fixture(scope="session")
def gate(quantized):
    return quantized.gate()


@pytest.fixture(scope="session")
def built(quantized, gate, tmp_path_factory) -> Build:
    need("mps2-an500")
    return quantized.build("mps2-an500", tmp_path_factory.mktemp("built") / "out", gate=gate)


@pytest.fixture
def no_compile(monkeypatch):
    """Compilers that make an empty file at once; the folder logic around them is what is tested."""

    def shared(sources, include_dirs, out, extra_flags=()):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(b"")
        return out

    def planned(folder, board, sources, runtime, plan):
        folder.mkdir(parents=True, exist_ok=True)
        return Firmware(firmware(board, [], [], {}, None, folder), "0" * 32, plan)

    def firmware(board, sources, include_dirs, defines, script, out_dir, extra_flags=()):
        (out_dir / "firmware.elf").write_bytes(b"")
        return out_dir / "firmware.elf"

    monkeypatch.setattr(Quantized, "_known_answer", lambda self: None)
    monkeypatch.setattr(host, "compile_shared", shared)
    monkeypatch.setattr(host, "compile_firmware", firmware)
    monkeypatch.setattr(package, "compile_firmware_for", planned)
    monkeypatch.setattr(package, "plan_entry", lambda firmware: {})


@pytest.fixture
def no_gate(monkeypatch):
    """Every model passes the fidelity gate, without an engine being compiled for it."""
    monkeypatch.setattr(Quantized, "gate", lambda self: GOOD)
