"""The proof on every emulated core, with the stand-in model: its image is forged where it lies in the firmware."""

from __future__ import annotations

import zlib

import pytest

from recurc.device import frames as f
from recurc.errors import DeviceUnreachableError, MismatchError
from recurc.targets.boards import load_board
from recurc.verify import proof
from recurc.verify.device import check_identity, connect
from tests.device import dummy_build as dummy
from tests.tools import EMULATED
from tests.verify.standins import Artifact, Build


@pytest.mark.parametrize("board", ("host", *EMULATED))
def test_forged_weights_are_found_on_every_core(board, elfs, tmp_path):
    elf = elfs(board)
    build = Build({board: Artifact(elf)}, target=board)
    artifact = build.boards[board]
    good = dummy.image_bytes()
    told = dummy.SHA_END  # what comes before it says who it is
    forged = good[:told] + bytes(b ^ 1 for b in good[told:-4])
    forged += zlib.crc32(forged).to_bytes(4, "little")
    data = elf.read_bytes()
    assert data.count(good) == 1
    bad = tmp_path / "forged.elf"
    bad.write_bytes(data.replace(good, forged))
    bad.chmod(0o755)
    for program, right in ((elf, True), (bad, False)):
        with connect(load_board(board), program, "host" if board == "host" else "qemu") as session:
            check_identity(session.hello(), artifact)
            if right:
                assert proof.prove(session, build, load_board(board), artifact).bytes == len(good)
                continue
            with pytest.raises(MismatchError, match="weights are not the build's") as e:
                proof.prove(session, build, load_board(board), artifact)
            assert e.value.exit_code == 8


def test_the_wait_is_bounded_by_bytes_and_clock():
    chip, emulated = load_board("stm32h7"), load_board("mps2-an500")
    assert proof.patience(chip, 4 << 20, 0.5) < 60 and proof.patience(chip, 1, None) < 60
    assert proof.patience(emulated, 8 << 20, 30.0) < 600
    assert proof.patience(chip, 4 << 20, 60.0) > 10 * 60.0, "a slow clock has its time"


@pytest.mark.parametrize("hears", [(), (f.HELLO,)], ids=["nothing", "HELLO only"])
def test_a_device_that_never_ends_its_selftest_is_given_up(elfs, monkeypatch, hears):
    """It goes on answering HELLO between, or says nothing at all."""
    elf = elfs("host")
    build = Build({"host": Artifact(elf)}, target="host")
    monkeypatch.setattr(proof, "_LEAST_SECONDS", 0.6)
    with connect(load_board("host"), elf, "host") as session:
        session.hello()
        session.timeout = 0.1
        send = session._send
        monkeypatch.setattr(session, "_send", lambda frame: send(frame) if frame.type in hears else None)
        with pytest.raises(DeviceUnreachableError) as e:
            proof.prove(session, build, load_board("host"), build.boards["host"])
        assert e.value.exit_code == 7
