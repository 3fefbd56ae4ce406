"""The commands of the campaign, and the folder that each finds: checkpoints, a build, arrays, results of before."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SMALL = "--limit 1 --steps 1"
CHEAP = "--calibration min-max"


@dataclass(frozen=True)
class Command:
    """A command line, the parts of the prepared folder that it needs, and whether a run takes seconds.

    `tells`: what it prints is what fails, such as a table of programs, and no error.
    """

    line: str
    needs: str = "ck"
    slow: bool = False
    tells: bool = False

    @property
    def arguments(self) -> list[str]:
        return self.line.split()


COMMANDS = {name: command for name, command in {
    "boards": Command("boards", ""),
    "boards-show": Command("boards show board.toml", "board.toml"),
    "inspect": Command("inspect ck"),
    "inspect-raw": Command("inspect raw", "raw"),
    "convert": Command("convert raw new", "raw"),
    "convert-over": Command("convert raw converted", "raw converted"),
    "report": Command("report b", "b"),
    "report-plan": Command("report ck --target stm32h7 --html page.html", "ck page.html"),
    "report-html": Command("report b --html", "b"),
    "make": Command("dataset make new --inputs x.npy --labels y.npy --split 0.5", "x.npy y.npy"),
    "make-csv": Command("dataset make new --inputs t.csv --split test", "t.csv"),
    "describe": Command("dataset describe ck/data"),
    "run": Command("run ck --steps 1 --out a.npy", "ck a.npy"),
    "run-input": Command("run ck --steps 1 --input x.npy --limit 1", "ck x.npy"),
    "run-build": Command("run b --steps 1 --on host --trust-build", "b cache"),
    "run-raw": Command("run raw --steps 1", "raw"),
    "ci": Command("ci b --out . --limit 1", "b"),
    "export": Command("export ck --precision fp32 --onnx new"),
    "export-build": Command("export b --onnx onnx", "b onnx"),
    "eval": Command(f"eval ck {SMALL} --precision int8", "ck cache"),
    "eval-project": Command(f"eval {SMALL}", "ck recurc.toml cache"),
    "verify": Command(f"verify b --on host {SMALL} --fidelity 1 --trust-build --junit j.xml", "b ck cache"),
    "verify-qemu": Command(f"verify b {SMALL} --fidelity 0 --trust-build", "b ck cache", True),
    "verify-onnx": Command(f"verify b --on onnxruntime {SMALL} --fidelity 0 --trust-build", "b ck", True),
    "doctor": Command("doctor", "", True, True),
    "doctor-build": Command("doctor b", "b", True, True),
    "layers": Command(f"layers ck --fidelity-puzzles 1 --steps 1 {CHEAP} --budget 30000 --write recurc.toml",
                      "ck recurc.toml cache", True),
    "sweep": Command(f"sweep ck {SMALL} --precisions int8 --jobs 1 --out out", "ck cache", True),
    "gate": Command(f"gate ck {SMALL} --jobs 1 --out out", "ck cache", True),
    "halting": Command(f"halting ck --limit 8 --restarts 1 {CHEAP} --jobs 1 --out out", "ck", True),
    "tune": Command(f"tune ck --limit 2 --precisions int8 --carries fp32 --h-cycles 2 --l-cycles 2 {CHEAP} --jobs 1 "
                    "--min-fidelity 0.1", "ck cache", True),
    "study": Command(f"study ck {SMALL} --methods weights --jobs 1 --out out", "ck cache", True),
    "build-host": Command(f"build ck --target host {CHEAP} --accuracy-puzzles 0 --out new", "ck cache", True),
    "build": Command(f"build ck --target mps2-an500 {CHEAP} --accuracy-puzzles 0 --out b", "ck b cache", True),
    "build-written": Command(f"build ck --target esp32s3 {CHEAP} --accuracy-puzzles 0 --out new", "ck", True),
    "flash": Command("flash b --port socket://127.0.0.1:45993 --trust-build", "b cache", True),
}.items()}  # fmt: skip


def needed(names: list[str]) -> set[str]:
    """Parts of the prepared folder that these commands need."""
    return {part for name in names for part in COMMANDS[name].needs.split()}


def prepare(folder: Path, parts: set[str]) -> None:
    """Make parts that are not there, below a folder, which is the current one."""
    from recurc.cli.main import main
    from recurc.resources import bundled_models, resource_dir

    source = bundled_models()["sudoku4-tiny"]
    parts = parts | {"ck"} | ({"raw"} if "converted" in parts else set()) | ({"cache"} if "b" in parts else set())
    if "ck" in parts:
        shutil.copytree(source / "data", folder / "ck/data")
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(source / name, folder / "ck" / name)
    if "raw" in parts:
        _raw(source, folder / "raw")
    inputs, labels = (np.load(source / f"data/test/all__{kind}.npy")[:4] for kind in ("inputs", "labels"))
    np.save(folder / "x.npy", inputs)
    np.save(folder / "y.npy", labels)
    np.save(folder / "a.npy", inputs)
    rows = [f"{' '.join(map(str, x))},{' '.join(map(str, y))}" for x, y in zip(inputs, labels)]
    (folder / "t.csv").write_text("\n".join(["inputs,labels", *rows]) + "\n")
    shutil.copyfile(Path(resource_dir("boards")) / "mps2-an500.toml", folder / "board.toml")
    (folder / "page.html").write_text("a page of before")
    (folder / "recurc.toml").write_text('[model]\ncheckpoint = "ck"\n[quantize]\nprecision = "int8"\n')
    (folder / "cache").mkdir()
    lines = {"cache": f"eval ck {SMALL} --precision int8",
             "b": f"build ck --target mps2-an500 {CHEAP} --accuracy-puzzles 0 --out b",
             "converted": "convert raw converted", "onnx": "export ck --precision fp32 --onnx onnx"}  # fmt: skip
    for part, line in lines.items():
        if part in parts and main(line.split()):
            raise AssertionError(f"recurc {line} failed")


def _raw(source: Path, folder: Path) -> None:
    """A checkpoint as the original code writes it."""
    import torch
    import yaml

    import recurc

    shutil.copytree(source / "data", folder / "data")
    config = json.loads((source / "config.json").read_text())
    left = ("seq_len", "vocab_size", "num_puzzle_identifiers", "format", "notes", "arch_name")
    arch = {"name": config["arch_name"], **{k: v for k, v in config.items() if k not in left}}
    (folder / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch, "data_paths": ["data"]}))
    tensors = recurc.load("sudoku4-tiny").reasoner.tensors
    torch.save({f"_orig_mod.model.inner.{k}": torch.tensor(np.array(v)) for k, v in tensors.items()}, folder / "step_1")
