"""Forged weights, all checksums mended: the device that carries them cannot prove that it has the build's."""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
from dataclasses import replace

import pytest

import recurc
import recurc.build.manifest
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.device.session import DeviceSession
from recurc.errors import MismatchError
from recurc.targets.boards import load_board
from recurc.targets.host import _U8P, HostEngine, _aligned
from recurc.verify.device import check_identity, connect
from recurc.verify.options import RunOptions
from recurc.verify.proof import prove, sums
from recurc.verify.run import verify
from tests.build import forging

HASH, MODEL = 18, 8
FORGERIES = (forging.weight_bytes, forging.one_weight_bit, forging.padding, forging.reserved, forging.minor, forging.swapped)
BOARDS = ("host", "mps2-an500")
NAMES = [change.__name__ for change in FORGERIES]


def opened(board: str, elf):
    return connect(load_board(board), elf, "host" if board == "host" else "qemu")


def forged_build(build, board, tmp_path, change):
    """The build, with the forged firmware behind the wire: what it says of itself is unchanged."""
    elf = forging.forged_elf(build.boards[board].elf, tmp_path / "forged.elf", change)
    return replace(build, boards={**build.boards, board: replace(build.boards[board], elf=elf)})


@pytest.mark.parametrize("board", BOARDS)
def test_a_device_with_the_builds_bytes_proves_it(built, board):
    artifact = built.boards[board]
    with opened(board, artifact.elf) as session:
        check_identity(session.hello(), artifact)
        proofs = [prove(session, built, built.board(board), artifact) for _ in range(2)]
    image = artifact.image.read_bytes()
    for proof in proofs:
        (piece,) = proof.pieces
        assert (piece.name, piece.bytes) == ("weights image", len(image)) == ("weights image", proof.bytes)
        assert piece.sha256 == hashlib.sha256(bytes.fromhex(proof.nonce) + image).hexdigest()
    assert proofs[0].nonce != proofs[1].nonce and proofs[0].pieces != proofs[1].pieces, "an answer serves once"
    assert (proofs[0].seconds is None) == (board != "mps2-an500") and proofs[0].clocked == board


@pytest.mark.parametrize("change", FORGERIES, ids=NAMES)
@pytest.mark.parametrize("board", BOARDS)
def test_a_forged_image_passes_every_checksum_and_proves_nothing(built, board, change, tmp_path):
    build = forged_build(built, board, tmp_path, change)
    artifact = build.boards[board]
    with opened(board, artifact.elf) as session:
        check_identity(session.hello(), artifact)  # identity and checksums are content
        assert session.selftest().status == 0
        with pytest.raises(MismatchError, match="the device's weights are not the build's") as e:
            prove(session, build, build.board(board), artifact)
    assert e.value.exit_code == 8 and "\n" not in e.value.paragraph()


def with_its_hash(image):
    """Weights are changed, and the header tells the sha256 that they have now."""
    forging.weight_bytes(image)
    image[forging.SHA : forging.SHA + 32] = hashlib.sha256(image[forging.HEADER :]).digest()
    forging.with_right_checksums(image)


@pytest.mark.parametrize("board", BOARDS)
def test_an_image_with_a_hash_of_its_own_is_another_model(built, board, tmp_path, data):
    old = built.boards[board].model_sha256
    whole = built.boards[board].elf.read_bytes()
    assert whole.count(bytes.fromhex(old)) == 1, "the image's header has it, and no code"
    forged = forged_build(built, board, tmp_path, with_its_hash)
    artifact = forged.boards[board]
    with opened(board, artifact.elf) as session:
        hello = session.hello()
        assert hello.status == 0 and hello.model_sha256 != old == artifact.model_sha256
        with pytest.raises(MismatchError, match="the device runs another model") as e:
            check_identity(hello, artifact)
        assert e.value.exit_code == 8
        with pytest.raises(MismatchError, match="not the build's"):
            prove(session, forged, forged.board(board), artifact)
    with pytest.raises(MismatchError, match="the device runs another model"):
        verify(forged, "host" if board == "host" else "qemu", recurc.load_dataset(data, "test"), RunOptions(limit=1))


@pytest.mark.parametrize("board", BOARDS)
def test_an_image_of_another_architecture_is_refused_by_the_device(built, board, tmp_path):
    """Whatever the header says: the constant that it is compared with is the code's."""

    def other(image):
        image[forging.ARCHITECTURE] ^= 1
        forging.with_right_checksums(image)

    forged = forged_build(built, board, tmp_path, other)
    with opened(board, forged.boards[board].elf) as session:
        hello = session.hello()
        assert (hello.status, session.selftest().status) == (MODEL, MODEL)
        with pytest.raises(MismatchError, match="refuses its weights image"):
            check_identity(hello, forged.boards[board])


def test_a_stored_answer_is_of_no_use(built, monkeypatch):
    """A liar that repeats what the right device once said."""
    artifact = built.boards["host"]
    with opened("host", artifact.elf) as session:
        session.hello()
        once = session.selftest(b"0123456789abcdef")
        monkeypatch.setattr(DeviceSession, "selftest", lambda *_: once)
        with pytest.raises(MismatchError, match="not the build's"):
            prove(session, built, built.board("host"), artifact)
        for lie in (
            {"image_bytes": once.image_bytes + 1},
            {"image_crc": once.image_crc ^ 1},
            {"image_sha256": bytes(32)},
            {"table_bytes": 1},
            {"table_sha256": b"\1" * 32},
            {"status": 6},
            {"status": 2**32 - 1},
        ):
            monkeypatch.setattr("os.urandom", lambda n: b"0123456789abcdef")
            prove(session, built, built.board("host"), artifact)
            with monkeypatch.context() as patch:
                patch.setattr(DeviceSession, "selftest", lambda *_, lie=lie: replace(once, **lie))
                with pytest.raises(MismatchError):
                    prove(session, built, built.board("host"), artifact)


@pytest.mark.parametrize("board", BOARDS)
def test_verify_ends_with_8_and_says_so(built, board, tmp_path, monkeypatch, capsys, data):
    forged = forged_build(built, board, tmp_path, forging.weight_bytes)
    monkeypatch.setattr(recurc.build.manifest, "load_build", lambda *_, **__: forged)
    where = ["--on", "host" if board == "host" else "qemu"]
    for arguments in ([], ["--json"]):
        status = main(
            [
                "verify",
                str(built.path),
                *where,
                "--data",
                str(data),
                "--limit",
                "1",
                "--fidelity",
                "0",
                "--journal",
                str(tmp_path / "journal"),
                *arguments,
            ]
        )
        said = capsys.readouterr()
        assert status == 8 and "the device's weights are not the build's" in said.err
        assert not (tmp_path / "journal").exists(), "nothing was run"
    error = json.loads(said.out)["error"]
    assert (error["code"], error["what"]) == ("device-differs", "the device's weights are not the build's")


def test_verify_says_what_was_checked(built, tmp_path, capsys, data):
    arguments = [
        "verify",
        str(built.path),
        "--on",
        "host",
        "--data",
        str(data),
        "--limit",
        "1",
        "--fidelity",
        "0",
        "--steps",
        "1",
        "--journal",
        str(tmp_path / "journal"),
    ]
    assert main(arguments) == 0
    assert "weights: sha256 computed on the device" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["weights"]
    size, crc, digest = sums(built.boards["host"].image, bytes.fromhex(told["nonce"]))
    assert told["checked"] == "sha256 computed on the device" and told["bytes"] == size
    assert told["pieces"] == [{"name": "weights image", "bytes": size, "crc": crc, "sha256": digest.hex()}]


def test_verify_from_python_raises(built, tmp_path, data):
    forged = forged_build(built, "host", tmp_path, forging.one_weight_bit)
    with pytest.raises(MismatchError, match="weights are not the build's"):
        verify(forged, "host", recurc.load_dataset(data, "test"), RunOptions(limit=1))
    assert verify(built, "host", recurc.load_dataset(data, "test"), RunOptions(limit=1, steps=1)).proof is not None


def test_an_image_that_is_gone_or_a_folder_is_said(built, tmp_path):
    for image in (tmp_path / "gone.rcm", tmp_path):
        artifact = replace(built.boards["host"], image=image)
        with opened("host", artifact.elf) as session:
            with pytest.raises(recurc.errors.InputError, match="cannot be read"):
                prove(session, built, built.board("host"), artifact)


# -- the library's own self-test --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def selftest(built):
    """rc_prove of the host library: status of image bytes, which may lie beside an alignment."""
    engine = HostEngine(built.host_library, built.host_image)
    function = engine._lib.rc_prove
    function.argtypes = [_U8P, ctypes.c_uint32, ctypes.c_void_p]

    def call(data: bytes, shift: int = 0) -> int:
        room = _aligned(len(data) + 64)
        room[shift : shift + len(data)] = list(data)
        return function(room[shift:].ctypes.data_as(_U8P), len(data), None)

    return call


def test_a_firmwares_own_selftest_computes_the_hash(built, selftest):
    image = built.host_image.read_bytes()
    assert selftest(image) == 0
    for change in (forging.weight_bytes, forging.one_weight_bit, forging.padding, forging.swapped):
        forged = bytearray(image)
        change(forged)
        assert selftest(bytes(forged)) == HASH, change.__name__
    for wrong, status in ((image[:-64], 5), (image + bytes(64), 5), (bytes(128), 2), (image[:100], 5)):
        assert selftest(wrong) == status
    bent = bytearray(image)
    bent[-1000] ^= 1
    assert selftest(bytes(bent)) == 6 and selftest(image, 4) == 9
    for at, status in ((forging.SHA, HASH), (forging.ARCHITECTURE, MODEL)):
        bent = bytearray(image)
        bent[at] ^= 1
        forging.with_right_checksums(bent)
        assert selftest(bytes(bent)) == status
    other = bytearray(image)
    with_its_hash(other)
    assert selftest(bytes(other)) == 0, "another model, as whole as this one"


def test_the_hash_in_the_header_is_that_of_the_bytes_after_it(built):
    for name in ("host", "mps2-an500"):
        artifact = load_build(built.path).boards[name]
        image = artifact.image.read_bytes()
        assert hashlib.sha256(image[128:]).hexdigest() == artifact.model_sha256 == image[40:72].hex()
        assert struct.unpack_from("<I", image, 28)[0] == len(image)
