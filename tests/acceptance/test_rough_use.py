"""What a new user does wrong, through the command line: exit code, one JSON error, nothing left behind."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import recurc
from recurc.api import Model
from recurc.build.folder import fresh_folder
from recurc.build.listing import MANIFEST
from recurc.cli.main import main
from tests.build.conftest import built, data, gate, model, quantized  # noqa: F401 - fixtures
from tests.models.builders import PREFIX, arch, state_dict, write_checkpoint, write_dataset, write_model
from tests.tools import need

MLP = arch(mlp_t=True, pos_encodings="none")


def failure(capsys, *args: object) -> tuple[int, dict]:
    """Exit code and the one JSON document of a command that must fail, without a traceback."""
    status = main([*map(str, args), "--json"])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err and "error: " in said.err
    error = json.loads(said.out)["error"]
    assert set(error) == {"code", "what", "where", "why", "next"}
    return status, error


# -- checkpoints ------------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def damaged(kind: str, folder: Path) -> Path:
    """A checkpoint folder with one thing wrong."""
    sd, a = {PREFIX + k: v for k, v in state_dict(MLP).items()}, dict(MLP)
    marker = folder.parent / "marker"
    if kind == "misspelt":
        sd[PREFIX + "lm_heed.weight"] = sd.pop(PREFIX + "lm_head.weight")
        del sd[PREFIX + "H_init"]
    elif kind == "shape":
        sd[PREFIX + "q_head.bias"] = torch.zeros(3)
    elif kind == "nan":
        sd[PREFIX + "lm_head.weight"][2, 3] = float("nan")
        sd[PREFIX + "H_init"][1] = float("inf")
    elif kind == "code":
        sd["more"] = Evil(marker)
    elif kind == "sparse":
        sd[PREFIX + "lm_head.weight"] = sd[PREFIX + "lm_head.weight"].to_sparse()
    elif kind in ("trm_singlez", "trm_hier6"):
        a["name"] = a["name"].replace("trm@", f"{kind}@")
    file = write_checkpoint(folder, a, sd, prefix="")
    blob = file.read_bytes()
    raw = {"text": b"no checkpoint\n", "empty": b"", "truncated": blob[: len(blob) // 2], "tail": blob[:-100],
           "raw code": pickle.dumps(Evil(marker))}  # fmt: skip
    if kind in raw:
        file.write_bytes(raw[kind])
    if kind == "yaml code":
        (folder / "all_config.yaml").write_text(f"!!python/object/apply:os.system ['touch {marker}']")
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", ["not a checkpoint", "text file"]),
        ("empty", ["not a checkpoint", "empty"]),
        ("truncated", ["cannot be read", "truncated"]),
        ("tail", ["cannot be read", "truncated"]),
        ("code", ["code or objects", "posix.system"]),
        ("raw code", ["code or objects", "posix.system"]),
        ("yaml code", ["configuration file cannot be read"]),
        ("misspelt", ["missing H_init", "missing lm_head.weight (there is lm_heed.weight: misspelt?)"]),
        ("shape", ["q_head.bias is 3, expected 2"]),
        ("nan", ["H_init[1] is inf", "lm_head.weight[2, 3] is nan"]),
        ("sparse", ["lm_head.weight is no plain tensor (sparse tensor)"]),
        ("trm_singlez", ["not supported", "single-state"]),
        ("trm_hier6", ["not supported", "six-state"]),
    ],
)
def test_a_bad_checkpoint_is_one_error(tmp_path, capsys, kind, words):
    status, error = failure(capsys, "inspect", damaged(kind, tmp_path / "run"))
    assert status == 3 and error["code"] == "input"
    assert all(word in f"{error['what']} {error['why']}" for word in words), error
    assert not (tmp_path / "marker").exists(), "code of the file was run"


def test_rows_of_an_unconfigured_mlp_model_leave_a_whole_grid(tmp_path):
    """82 rows and 11 tokens are a 9x9 sudoku with one puzzle row, 17 rows and 6 tokens a 4x4 one; 97 are 81 + 16."""
    for side, rows in ((9, 1), (9, 16), (4, 1), (4, 16), (6, 1)):
        a = MLP | {"puzzle_emb_len": rows}
        sd = state_dict(a, seq_len=side * side, vocab=side + 2)
        file = write_checkpoint(tmp_path / f"{side}-{rows}", a, sd, config=False)
        loaded = recurc.load(file)
        assert (loaded.config.seq_len, loaded.config.puzzle_rows) == (side * side, rows)
        assert any("puzzle_emb_len is not given" in note for note in loaded.reasoner.notes)


# -- output folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a file", "in a file", "holds something", "not writable"])
def test_build_refuses_its_output_folder_before_the_long_work(tmp_path, capsys, monkeypatch, where):
    need("host")
    need("mps2-an500")

    def long_work(*args, **options):
        raise AssertionError("quantized first")

    monkeypatch.setattr(Model, "quantize", long_work)
    file = write_model(tmp_path / "run", MLP)
    full, closed = tmp_path / "full", tmp_path / "closed"
    full.mkdir(), closed.mkdir()
    (full / "thesis.txt").write_text("mine")
    if where == "not writable":
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != closed and real(p, mode))  # root may write anywhere
    out = {"a file": file, "in a file": file / "b", "holds something": full, "not writable": closed / "a" / "b"}[where]
    status, error = failure(capsys, "build", file, "--target", "mps2-an500", "--out", out)
    assert status == (2 if where in ("a file", "holds something") else 3)
    assert str(out) in error["where"]
    assert (full / "thesis.txt").read_text() == "mine" and not list(closed.iterdir())


def test_folder_names_are_no_patterns(tmp_path):
    """`[` and `*` in an output folder's name mean themselves when halves of earlier builds are removed."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    own, other = tmp_path / f".m[1].partial-{dead.pid}-a", tmp_path / f".mx.partial-{dead.pid}-a"
    own.mkdir(), other.mkdir()
    for name in ("m[1]", "m*"):
        with fresh_folder(tmp_path / name) as folder:
            (folder / MANIFEST).write_text("")
    assert not own.exists() and other.exists()


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("eval", "--halt", "--halt-threshold", "nan"), ("eval", "--limit", "0"), ("eval", "--steps", "0"),
        ("eval", "--precision", "int5"), ("build", "--steps", "256"), ("verify", "x", "--halt-threshold", "nan"),
        ("verify", "x", "--limit", "-1"), ("build", "--target", "stm32f7"), ("buidl",), ("eval", "--lmit", "3"),
    ],
)  # fmt: skip
def test_wrong_options_are_usage_errors(capsys, args):
    status, error = failure(capsys, *args)
    assert status == 2 and error["code"] == "usage"


def test_the_project_files_data_serves_the_default_model(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("recurc.toml").write_text('[model]\ndata = "nowhere"\n')
    status, error = failure(capsys, "eval", "--limit", "1")
    assert status == 3 and error["where"] == "nowhere"


def test_data_of_another_model_is_refused_by_verify(built, tmp_path, capsys):  # noqa: F811
    status, error = failure(capsys, "verify", built.path, "--data", write_dataset(tmp_path / "d"))
    assert status == 3 and "16" in error["why"] and "9" in error["why"]


def test_a_token_out_of_range_is_named(built, tmp_path, capsys):  # noqa: F811
    folder = write_dataset(tmp_path / "d", seq_len=16, vocab=6, identifiers=1)
    inputs = np.load(folder / "test/all__inputs.npy")
    inputs[1, 2] = 200
    np.save(folder / "test/all__inputs.npy", inputs)
    status, error = failure(capsys, "verify", built.path, "--data", folder)
    assert status == 3 and "all__inputs.npy[1, 2]" in error["where"] and "200" in error["why"]


# -- terminals and signals --------------------------------------------------------------------------------------------


def test_names_in_tables_are_never_broken(capsys, monkeypatch):
    """On 80 columns other columns fold, but what one would copy stays whole."""
    monkeypatch.setattr("recurc.cli.common.output.PIPE_WIDTH", 80)
    assert main(["boards"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("mps2-an500", "mps3-an547", "riscv32-virt", "stm32h7"))
    assert max(map(len, text.splitlines()[:20])) <= 80


def emulators(build: Path) -> list[int]:
    """Processes that run a firmware of the build."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if command.startswith((b"qemu", b"/usr/bin/qemu")) and str(build).encode() in command:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["int", "term", "kill"])
def test_an_ended_verify_leaves_no_emulator(built, data, number):  # noqa: F811
    need("mps2-an500")
    command = [sys.executable, "-m", "recurc", "verify", str(built.path), "--data", str(data), "--limit", "400"]
    restore = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731 - a shell's & ignores it
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          preexec_fn=restore) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not emulators(built.path) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert emulators(built.path), "it never started"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -number)
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while emulators(built.path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not emulators(built.path)
