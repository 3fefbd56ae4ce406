"""Build folders from Python: whole or absent, checked by their manifest, and refused for the right reasons."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import recurc
from recurc.build.folder import fresh_folder
from recurc.build.listing import MANIFEST, file_sha256
from recurc.build.manifest import load_build
from recurc.errors import FidelityError, InputError, ToolchainError, UsageError
from recurc.make import host, project
from recurc.package import firmware as package
from recurc.targets.host import HostEngine
from tests.build.conftest import GOOD
from tests.tools import need


@pytest.fixture
def copy(built, tmp_path):
    """A copy of the build that a test may damage."""
    return shutil.copytree(built.path, tmp_path / "copy")


# -- a finished build -----------------------------------------------------------------------------------------------


def test_a_build_is_whole(built, quantized):
    assert (built.target, built.twin, built.precision, built.name) == ("mps2-an500", None, "int4", "sudoku4-tiny")
    assert set(built.boards) == {"mps2-an500", "host"}
    assert built.config == quantized.model.config and built.steps == quantized.model.config.halt_max_steps
    for artifact in built.boards.values():
        assert artifact.elf.is_file() and artifact.image.is_file()
        assert len(artifact.build_id) == 32 and len(artifact.model_sha256) == 64
    details = built.details
    assert details["fidelity"] > 0.9 and details["calibration"]["puzzles"] == 8
    assert details["image_bytes"] == built.boards["mps2-an500"].image.stat().st_size
    regions = {r["name"]: r for r in details["boards"]["mps2-an500"]["regions"]}
    parts = {part: size for r in regions.values() for part, size in r["parts"].items()}
    sums = {part: sum(r["parts"].get(part, 0) for r in regions.values()) for part in parts}
    image = ("weights", "scales", "tables", "vectors", "headers")
    assert details["image_bytes"] - 64 * 40 < sum(sums[kind] for kind in image) <= details["image_bytes"]
    assert {"code", "constants", "data", "stack", "carry", "scratch", "io"} <= set(parts)
    assert all(r["used"] == sum(r["parts"].values()) <= r["size"] for r in regions.values())
    assert not [p for p in built.path.parent.iterdir() if p != built.path], "nothing is left beside it"


def test_the_built_host_engine_is_the_simulator(built, quantized, data):
    test = recurc.load_dataset(data, "test").take(2)
    engine = HostEngine(built.host_library, built.host_image)
    for row in test.inputs:
        engine.begin(row)
        other = quantized.engine.clone()
        other.begin(row)
        for _ in range(2):
            engine.step()
            other.step()
            assert engine.tensor("z_H").tobytes() == other.tensor("z_H").tobytes()


def test_building_again_gives_the_same_bytes_and_replaces_the_old(built, quantized, gate, tmp_path):
    out = tmp_path / "it's 100%s, a=ü$x" / "b,c"  # what shells, linkers and assemblers stumble over
    shutil.copytree(built.path, out)
    (out / "notes").write_text("mine")
    again = quantized.build("mps2-an500", out, gate=gate)
    assert (out / "notes").read_text() == "mine" and again.kept == ("notes",)
    assert [p.name for p in out.parent.iterdir()] == ["b,c"]
    one, two = (dict(b.details["files"]) for b in (built, again))
    assert sorted(one) == sorted(two)
    assert [n for n in one if one[n] != two[n] and not n.endswith(".map")] == []


def test_the_engine_of_the_gate_is_the_builds(quantized, gate, built, tmp_path, monkeypatch):
    """It is compiled once: the build takes the library that the gate ran, which is the one that it would compile."""
    need("mps2-an386")
    assert quantized.engine
    fresh = replace(quantized).build("mps2-an386", tmp_path / "fresh", gate=gate)
    monkeypatch.setattr(host, "compile_shared", None)
    reused = quantized.build("mps2-an386", tmp_path / "reused", gate=gate)
    assert reused.host_library.read_bytes() == fresh.host_library.read_bytes()
    assert {k: v for k, v in reused.details["files"].items() if not k.endswith(".map")} == {
        k: v for k, v in fresh.details["files"].items() if not k.endswith(".map")
    }
    engine = HostEngine(reused.host_library, reused.host_image)
    assert engine.info.hidden == quantized.model.config.hidden_size


def test_the_engines_folder_goes_with_its_model(model):
    need("host")
    other = model.quantize("int8")
    folder = other._engine_folder
    assert other.engine and folder.is_dir()
    del other
    gc.collect()
    assert not folder.exists()


def test_the_manifest_notices_changed_and_missing_files(copy):
    assert load_build(copy).path == copy
    for name in ("mps2-an500/firmware.elf", "host/librecurc.so", "src/model.rcm", "src/model.c", "runtime/wire/rc_cobs.c"):
        file = copy / name
        good = file.read_bytes()
        file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(InputError, match=f"{name} has changed"):
            load_build(copy)
        file.unlink()
        with pytest.raises(InputError, match=f"{name} is missing") as e:
            load_build(copy)
        assert e.value.exit_code == 3
        file.write_bytes(good)
    load_build(copy)


def test_no_damaged_manifest_is_taken(copy):
    manifest = copy / MANIFEST
    good = manifest.read_text()
    document = json.loads(good)
    for bad in (
        "",
        "{",
        "[]",
        "null",
        good[: len(good) // 2],
        json.dumps({**document, "schema": "recurc/build-folder/9"}),
        json.dumps({k: v for k, v in document.items() if k != "boards"}),
        json.dumps({k: v for k, v in document.items() if k != "files"}),
        json.dumps({**document, "config": {"surprise": 1}}),
    ):
        manifest.write_text(bad)
        with pytest.raises(InputError, match="not a usable build"):
            load_build(copy)
    manifest.unlink()
    with pytest.raises(InputError, match="interrupted"):
        load_build(copy)
    with pytest.raises(InputError, match="not a usable build"):
        load_build(copy / "nowhere")


def test_the_manifest_lists_every_file(built):
    files = {str(p.relative_to(built.path)) for p in built.path.rglob("*") if p.is_file()}
    assert files == {*built.details["files"], MANIFEST}
    assert file_sha256(built.host_library) == built.details["files"]["host/librecurc.so"]


# -- interrupted builds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("room, where", [
    (package, "compile_firmware_for"), (host, "compile_firmware"), (host, "compile_shared"), (project, "write_manifest"),
])  # fmt: skip
def test_an_interrupted_build_leaves_nothing(room, where, error, quantized, tmp_path, monkeypatch, no_compile):
    def stop(*args, **kwargs):
        raise error("stopped here")

    monkeypatch.setattr(room, where, stop)
    with pytest.raises(error):
        replace(quantized).build("mps2-an500", tmp_path / "b", gate=GOOD)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_build_keeps_the_old_one(quantized, copy, monkeypatch):
    monkeypatch.setattr(package, "compile_firmware_for", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt()))
    before = (copy / MANIFEST).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        quantized.build("mps2-an500", copy, gate=GOOD)
    assert (copy / MANIFEST).read_bytes() == before
    load_build(copy)
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_stale_half_of_a_killed_build_is_never_used_and_removed(quantized, tmp_path, no_compile):
    stale = tmp_path / f".b.partial-{dead_process()}-abc123"
    (stale / "src").mkdir(parents=True)
    (stale / "src" / "model.rcm").write_bytes(b"half")
    running = tmp_path / f".b.partial-{os.getppid()}-abc123"  # another build of the same name, alive
    other = tmp_path / f".c.partial-{dead_process()}-abc123"  # not ours to judge
    running.mkdir()
    other.mkdir()
    with pytest.raises(InputError, match="never built"):
        load_build(tmp_path / "b")
    build = quantized.build("mps2-an500", tmp_path / "b", gate=GOOD)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([running.name, other.name, "b"])
    assert build.host_image.read_bytes() != b"half"


def test_a_killed_process_leaves_no_output(tmp_path):
    """SIGKILL in the middle: the name that was asked for does not exist, and the next build cleans up."""
    code = (
        "import os, signal, sys, pathlib\nfrom recurc.build.folder import fresh_folder\n"
        "with fresh_folder(pathlib.Path(sys.argv[1])) as f:\n"
        "    (f / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")])
    assert done.returncode == -9
    assert not (tmp_path / "b").exists()
    assert [p.name.startswith(".b.partial-") for p in tmp_path.iterdir()] == [True]
    with fresh_folder(tmp_path / "b") as folder:
        (folder / "whole").write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["whole"]


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_build_is_left_alone(quantized, tmp_path, no_compile):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("precious")
    with pytest.raises(UsageError, match="holds something else") as e:
        quantized.build("mps2-an500", out, gate=GOOD)
    assert e.value.exit_code == 2
    assert [p.name for p in out.iterdir()] == ["chapter1.tex"] and list(tmp_path.iterdir()) == [out]
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(UsageError, match="holds something else"):
        quantized.build("mps2-an500", file, gate=GOOD)
    assert file.read_text() == "precious"


def test_an_empty_folder_is_filled(quantized, tmp_path, no_compile):
    (tmp_path / "b").mkdir()
    assert load_build(quantized.build("mps2-an500", tmp_path / "b", gate=GOOD).path).target == "mps2-an500"


def test_a_parent_that_cannot_be_written(quantized, tmp_path, no_compile):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file" / "b", tmp_path / "file" / "deeper" / "b"):
        with pytest.raises(InputError, match="cannot be written") as e:
            quantized.build("mps2-an500", out, gate=GOOD)
        assert e.value.exit_code == 3 and "out=" in str(e.value)
    with pytest.raises(InputError, match="cannot be written"):
        quantized.build("mps2-an500", "/proc/b", gate=GOOD)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_compiler_means_nothing_is_written(quantized, gate, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ToolchainError, match="apt-get install") as e:
        quantized.build("mps2-an500", tmp_path / "b", gate=gate)
    assert e.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ToolchainError, match="apt-get install"):
        _ = replace(quantized).engine


def test_unknown_board(quantized, tmp_path):
    with pytest.raises(UsageError, match="mps2-an500"):
        quantized.build("mps2-an501", tmp_path / "b", gate=GOOD)


def test_low_fidelity_is_refused_and_names_the_layers(quantized, gate, tmp_path, no_compile):
    with pytest.raises(FidelityError) as e:
        quantized.build("mps2-an500", tmp_path / "b", min_fidelity=1.1, gate=gate)
    text = str(e.value)
    assert e.value.exit_code == 5 and f"{gate.fidelity:.3f}" in text and "1.1" in text
    worst = quantized.layers()
    assert [phi for _, phi in worst] == sorted(phi for _, phi in worst) and len(worst) == len(quantized.model.weights)
    assert all(f"{name} ({phi:.3f})" in text for name, phi in worst[:3])
    assert len(gate.damage) == 3 and "recurc gate" in text
    assert list(tmp_path.iterdir()) == []
    quantized.build("mps2-an500", tmp_path / "b", min_fidelity=1.1, gate=gate, allow_lossy=True)
    # Without calibration data fidelity is told, not judged.
    replace(quantized, sample=None).build("mps2-an500", tmp_path / "c", min_fidelity=1.1, gate=gate)


def test_the_naive_precision_needs_a_word(model, tmp_path, no_compile):
    naive = model.quantize("int4-naive")
    with pytest.raises(FidelityError, match="allow_lossy=True") as e:
        naive.build("mps2-an500", tmp_path / "b", gate=GOOD)
    assert e.value.exit_code == 5 and list(tmp_path.iterdir()) == []
    assert naive.build("mps2-an500", tmp_path / "b", gate=GOOD, allow_lossy=True).precision == "int4-naive"


@pytest.mark.parametrize("ids", [[5, 0], [-1, 0], [0], [[0, 0]]])
def test_puzzle_identifiers_out_of_range(model, quantized, ids):
    for runner in (model, quantized):
        with pytest.raises(InputError, match="puzzle identifiers"):
            runner.run(np.ones((2, 16), np.uint8), np.array(ids), steps=1)


@pytest.mark.parametrize("inputs", [np.ones((2, 15)), np.ones(16), np.full((1, 16), 6), np.full((1, 16), -1), np.ones((0, 16))])
def test_inputs_that_do_not_fit(model, quantized, inputs):
    for runner in (model, quantized):
        with pytest.raises(InputError):
            runner.run(inputs.astype(np.int64), steps=1)


def test_the_same_run_from_python(model, quantized, data):
    test = recurc.load_dataset(data, "test").take(3)
    full, device = (m.run(test.inputs, test.puzzle_ids, steps=2) for m in (model, quantized))
    for out in (full, device):
        assert out.logits.shape == (3, 16, 6) and out.q.shape == (2, 3, 2)
        assert out.z_H.shape == (3, model.config.rows, 32) and out.tokens.shape == (3, 16)
    assert (full.tokens == device.tokens).mean() > 0.9
