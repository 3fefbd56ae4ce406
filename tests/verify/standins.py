"""Stand-ins of a build and its parts, for tests of verification on a dummy firmware."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import recurc.verify.run as run
from recurc.cli.main import main
from recurc.dataset import Dataset
from recurc.ir.lowering import Lowering
from recurc.targets.boards import load_board
from recurc.verify.options import split
from tests.device import dummy_build as dummy


@dataclass(frozen=True)
class Artifact:
    elf: Path
    model_sha256: str = dummy.SHA256.hex()
    build_id: str = dummy.BUILD_ID

    @property
    def image(self) -> Path:
        return self.elf.parent / "model.rcm"


@dataclass(frozen=True)
class Config:
    seq_len: int = 16
    vocab_size: int = 6
    num_puzzle_identifiers: int = 3
    puzzle_emb_ndim: int = 8
    rows: int = 17
    hidden_size: int = 8


@dataclass(frozen=True)
class Build:
    boards: dict
    host_library: Path = Path("lib")
    host_image: Path = Path("image")
    path: Path = Path("build")
    notes: tuple[str, ...] = ()
    checkpoint: str | None = None
    symbols: str = ""
    target: str = "stm32h7"
    twin: str | None = "mps2-an500"
    steps: int = 12
    lowering: Lowering = Lowering(steps=12, h_cycles=2, l_cycles=3, puzzle_table="image")
    table: None = None
    checkpoint: None = None
    symbols: str = ""
    config: Config = field(default_factory=Config)
    details: dict = field(default_factory=lambda: {"boards": defaultdict(dict), "carry": "fp32"})

    def board(self, name: str):
        return load_board(name)

    def open_table(self):
        return None

    def record(self, build_id: str, result) -> None:
        assert build_id and result["n"]


def dataset(n: int = 3, first: int = 0) -> Dataset:
    """n examples; every first cell is 2 in the last of them, which the planted difference looks for."""
    rng = np.random.default_rng(1)
    inputs = rng.integers(0, 6, (n, 16)).astype(np.uint8)
    inputs[:, 0] = first
    inputs[-1, 0] = 2
    labels = rng.integers(0, 6, (n, 16)).astype(np.int32)
    return Dataset(inputs, labels, np.arange(n, dtype=np.int32) % 3, 16, 6, 3, None, Path("data"), "test")


@pytest.fixture
def verify(monkeypatch, engine, elfs):
    """verify with the stand-in model, whose steps are one op: verify(board, **options of the firmware) -> run."""
    import recurc.targets.host

    monkeypatch.setattr(run, "build_places", lambda _: ())
    monkeypatch.setattr(recurc.targets.host, "HostEngine", lambda *_: engine)

    def call(board: str, data: Dataset, firmware: dict | None = None, **options):
        elf = elfs(board, **(firmware or {}))
        artifact = Artifact(elf)
        build = Build({board: artifact}, target=board if board != "host" else "stm32h7", twin=None)
        return run.verify(build, "host" if board == "host" else "qemu", data, *split(options))

    return call


@pytest.fixture
def command(monkeypatch, engine, elfs, tmp_path):
    """`recurc verify` with the stand-in: command(defines, *arguments) -> exit code."""
    import recurc.build.manifest
    import recurc.dataset
    import recurc.targets.host

    monkeypatch.setattr(run, "build_places", lambda _: ())
    monkeypatch.setattr(recurc.targets.host, "HostEngine", lambda *_: engine)
    monkeypatch.setattr(recurc.dataset, "load_dataset", lambda *_: dataset())

    def call(defines: dict, *arguments: str) -> int:
        elf = elfs("host", defines=defines)
        build = Build({"host": Artifact(elf)}, path=tmp_path)
        monkeypatch.setattr(recurc.build.manifest, "load_build", lambda folder, *_, **options: build)
        return main(["verify", "B", "--on", "host", "--data", "D", *arguments])

    return call
