"""Other weights for a firmware that is there: `Quantized.image_for` and `recurc build --update-of`."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recurc
from recurc.api import Model
from recurc.cli.main import main
from recurc.emit.image import build_image, check_image
from recurc.errors import InputError, MismatchError, ToolchainError, UsageError
from recurc.flash import weights, write_weights
from recurc.flash.run import Asked
from recurc.flash.weights import command_for
from recurc.make.update import check_fits, pinned
from recurc.models.checkpoint import save
from recurc.plan.kernels import kernel_set
from recurc.storage.known import unpack
from recurc.targets.boards import load_board
from recurc.verify.device import check_identity, connect
from recurc.verify.known import meet_known
from tests.build import forging
from tests.randmodels import random_reasoner

BOARD = "mps2-an500"


@pytest.fixture(scope="module")
def retrained(model) -> Model:
    """The same model after some more training: every weight is another one."""
    rng = np.random.default_rng(7)
    tensors = {
        name: t + (0.02 * t.std() * rng.normal(size=t.shape)).astype(np.float32) for name, t in model.reasoner.tensors.items()
    }
    return Model(replace(model.reasoner, tensors=tensors, sha256="ab" * 32, source="retrained"), "retrained")


@pytest.fixture(scope="module")
def again(retrained, data):
    return retrained.quantize("int4", recurc.load_dataset(data, "train"), puzzles=8)


@pytest.fixture(scope="module")
def update(again, built) -> bytes:
    return again.image_for(built, counter=3)


def digest(folder) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()


def test_the_image_takes_the_place_of_the_builds(update, built, again):
    before = built.boards[BOARD].image.read_bytes()
    assert len(update) == len(before) and update != before and update[72:88] == before[72:88]
    assert struct.unpack_from("<I", update, 88) == (3,) and struct.unpack_from("<I", before, 88) == (0,)
    _, offset, size = check_image(update)[-1]
    known = unpack(update[offset : offset + size], again.model.program)
    assert known is not None and known.tokens == again.sample.inputs[0].astype("u1").tobytes()
    assert again.image_for(built.path, counter=3) == update, "the same bytes, and a folder is as good as a build"


def test_the_firmware_that_is_there_runs_it(update, built, again, tmp_path, data):
    """Its program is as it was, to the byte; the bits are those of the retrained model."""

    def other(image):
        image[:] = update

    elf = forging.forged_elf(built.boards[BOARD].elf, tmp_path / "updated.elf", other)
    tokens = recurc.load_dataset(data, "test").inputs[0]
    engine = again.engine.clone()
    engine.begin(tokens)
    with connect(load_board(BOARD), elf, "qemu") as session:
        hello = session.hello()
        assert (hello.status, hello.model_sha256) == (0, hashlib.sha256(update[128:]).hexdigest())
        with pytest.raises(MismatchError, match="another model"):
            check_identity(hello, built.boards[BOARD])
        session.load(tokens.astype(np.uint8))
        events = [event for event in session.run(2) if hasattr(event, "carry_crc")]
    for event in events:
        engine.step()
        assert event.carry_crc == zlib.crc32(engine.carry_bytes())
    assert len(events) == 2


def test_another_architecture_is_refused_and_says_what_differs(built, model):
    found = pinned(built)
    for change, words in (
        ({"hidden_size": 128}, "hidden_size is 128, the build has 32"),
        ({"vocab_size": 9}, "vocab_size is 9, the build has"),
        ({"L_layers": 2}, "ops of L_level is 4, the build has 2"),
    ):
        with pytest.raises(InputError, match="cannot run in the build's firmware") as e:
            check_fits(found, replace(model.config, **change), "other")
        assert words in e.value.why and e.value.exit_code == 3
    check_fits(found, model.config, "same")
    other = Model(random_reasoner(hidden=64), "other").quantize("int4")
    with pytest.raises(InputError, match="hidden_size is 64, the build has 32"):
        other.image_for(built)
    other = model.quantize("int8")
    with pytest.raises(InputError, match="s8, the build has .* s4"):
        other.image_for(built)


def test_the_command(built, retrained, data, tmp_path, capsys, monkeypatch):
    save(retrained.reasoner, tmp_path / "retrained")
    monkeypatch.chdir(tmp_path)
    before, out = digest(built.path), tmp_path / "new.rcm"
    line = ["build", str(tmp_path / "retrained"), "--update-of", str(built.path), "--out", str(out)]
    options = ["--data", str(data), "--calibration-puzzles", "8"]
    assert main([*line, *options, "--counter", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    image = out.read_bytes()
    check_image(image)
    assert told["counter"] == 7 and told["model_sha256"] == image[40:72].hex() and struct.unpack_from("<I", image, 88) == (7,)
    assert digest(built.path) == before, "the build stays as it is"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.rcm", "retrained"]
    for wrong, code, words in (
        ([*line, "--precision", "int8"], 2, "--precision cannot be chosen here"),
        ([*line, "--target", "stm32h7"], 2, "--target cannot be chosen here"),
        (["build", "sudoku6-mlp", "--update-of", str(built.path), "--out", str(out)], 3, "the build has"),
        (["build", "sudoku4-tiny", "--counter", "1"], 2, "counter"),
        ([*line[:3], str(tmp_path)], 3, "recurc-build.json"),
    ):
        assert main(wrong) == code, wrong
        assert words in capsys.readouterr().err
    assert out.read_bytes() == image


# -- on a board -------------------------------------------------------------------------------------------------------------


def entry(region: str = "qspi", parts: tuple[str, ...] = ("weights",), address: int = 0x9000_0000) -> dict:
    """What a manifest says of where the weights lie, as far as flashing asks."""
    pieces = [{"address": address + 128}, {"address": address}]
    return {"plan": {"regions": [{"name": region, "parts": dict.fromkeys(parts, 1), "pieces": pieces}]}}


@pytest.mark.parametrize("board, said, why, cure", [
    (BOARD, entry(), "keeps nothing", "Build from the new checkpoint"),
    ("stm32h7", entry("flash", ("code", "weights")), "with the code, which a disk writes as a whole", "rc_choose"),
    ("nrf5340", entry("flash", ("code", "weights")), "which nrfutil writes as a whole", "rc_choose"),
    ("portenta-h7", entry(), "no tool is known here that writes qspi", "to 0x90000000 with your own tool"),
    ("stm32h7", {}, "does not say where", "Build from"),
])  # fmt: skip
def test_boards_whose_flashing_writes_no_address_say_why(board, said, why, cure):
    with pytest.raises(UsageError, match=f"weights alone cannot be written to {board}") as e:
        command_for(load_board(board), said, Path("new.rcm"))
    assert why in e.value.why and cure in e.value.next


@pytest.fixture
def on_a_board(built, monkeypatch, tmp_path):
    """The build as if its board were one whose weights lie in a flash chip of their own; its tool notes its words."""
    tool = tmp_path / "tools" / "STM32_Programmer_CLI"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "erasing"\nprintf "%s\\n" "$@" > "{tool.parent}/words"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RECURC_STM32_LOADER", "my.stldr")
    board = replace(load_board("stm32h7"), name=BOARD)
    monkeypatch.setattr(weights, "choose_board", lambda build, name: (board, built.boards[BOARD]))
    monkeypatch.setattr(weights, "wire_port", lambda board: "")
    return replace(built, details={**built.details, "boards": {BOARD: entry()}}), tool.parent / "words"


def test_only_the_image_is_written(on_a_board, update, tmp_path):
    build, words = on_a_board
    (tmp_path / "new.rcm").write_bytes(update)
    heard: list[str] = []
    result = write_weights(build, tmp_path / "new.rcm", echo=heard.append)
    image = str(tmp_path / "new.rcm")
    assert words.read_text().split() == ["-c", "port=SWD", "-el", "my.stldr", "-w", image, "0x90000000", "-v"]
    assert result.weights_only and not result.checked and "erasing" in heard
    assert [(p.name, p.crc) for p in result.pieces] == [("weights image", zlib.crc32(update))]


def test_an_image_of_another_firmware_is_written_nowhere(on_a_board, update, tmp_path):
    build, words = on_a_board
    other = Model(random_reasoner(hidden=64), "other").quantize("int4")
    damaged = bytearray(update)
    damaged[-1] ^= 1
    another, bent = build_image(other.model, kernel_set("dsp")).data, bytearray(update)
    bent[72] ^= 1  # another architecture of the same size
    bent[124:128] = struct.pack("<I", zlib.crc32(bent[:124]))
    for data, match in (
        (bent, "is not for this firmware"),
        (another, "is not for this firmware"),
        (damaged, "sha256 is wrong"),
        (update[:-4], None),
        (b"", None),
    ):
        (tmp_path / "new.rcm").write_bytes(data)
        with pytest.raises(InputError, match=match):
            write_weights(build, tmp_path / "new.rcm")
    with pytest.raises(InputError):
        write_weights(build, tmp_path / "none.rcm")
    assert not words.exists()


def test_what_goes_wrong_with_the_tool_is_said(on_a_board, update, tmp_path, monkeypatch):
    build, words = on_a_board
    (tmp_path / "new.rcm").write_bytes(update)
    tool = words.with_name("STM32_Programmer_CLI")
    tool.write_text("#!/bin/sh\necho no target\nexit 3\n")
    with pytest.raises(ToolchainError, match="status 3: no target"):
        write_weights(build, tmp_path / "new.rcm")
    monkeypatch.delenv("RECURC_STM32_LOADER")
    with pytest.raises(ToolchainError, match="lacks a word.*RECURC_STM32_LOADER"):
        write_weights(build, tmp_path / "new.rcm")
    monkeypatch.setenv("RECURC_STM32_LOADER", "my.stldr")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="cannot be run.*-w"):
        write_weights(build, tmp_path / "new.rcm")


def test_flashing_tells_of_the_weights_that_were_written(on_a_board, update, tmp_path, monkeypatch, capsys):
    """The board is checked for the new weights: their sha256 is told, and no `verify` of the build, which has others."""
    build, _ = on_a_board
    (tmp_path / "new.rcm").write_bytes(update)
    asked_for = []

    def ask(build, board, artifact, port):
        asked_for.append(artifact.model_sha256)
        return Asked()

    monkeypatch.setattr(weights, "ask", ask)
    monkeypatch.setattr("recurc.cli.flash.open_build", lambda *args, **options: build)
    line = ["flash", str(build.path), "--weights-only", str(tmp_path / "new.rcm"), "--port", "/dev/ttyACM0"]
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["checked"] and told["weights_only"] and told["model_sha256"] == update[40:72].hex() == asked_for[0]
    assert told["build_id"] == build.boards[BOARD].build_id and told["elf"] == str(build.boards[BOARD].elf)
    assert main(line) == 0
    text = capsys.readouterr().out
    assert update[40:72].hex()[:16] in text and build.boards[BOARD].model_sha256[:16] not in text and "verify" not in text


def test_no_elf_is_told_where_the_build_has_none(on_a_board, update, built, tmp_path, monkeypatch):
    build, _ = on_a_board
    (tmp_path / "new.rcm").write_bytes(update)
    chosen = replace(load_board("stm32h7"), name=BOARD), replace(built.boards[BOARD], elf=None)
    monkeypatch.setattr(weights, "choose_board", lambda build, name: chosen)
    assert write_weights(build, tmp_path / "new.rcm").elf is None


def test_the_flash_command_takes_weights_only_or_firmware(built, update, tmp_path, capsys):
    (tmp_path / "new.rcm").write_bytes(update)
    line = ["flash", str(built.path), "--weights-only", str(tmp_path / "new.rcm")]
    assert main([*line, "--firmware-only"]) == 2 and "left as it is" in " ".join(capsys.readouterr().err.split())
    assert main([*line, "--stop"]) == 2 and "--stop writes nothing" in " ".join(capsys.readouterr().err.split())
    assert main(line) == 2 and "keeps nothing" in " ".join(capsys.readouterr().err.split())


def test_a_device_is_asked_what_its_image_knows(update, built, tmp_path):
    """The program computes right; one with other weights than it is asked about does not meet their answer."""
    (tmp_path / "new.rcm").write_bytes(update)
    board, artifact = load_board(BOARD), built.boards[BOARD]
    with connect(board, artifact.elf, "qemu") as session:
        assert meet_known(session, built, board, artifact.image)
        with pytest.raises(MismatchError, match="computes something else") as e:
            meet_known(session, built, board, tmp_path / "new.rcm")
    assert e.value.exit_code == 8
