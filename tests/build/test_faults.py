"""A real model's firmware refuses what it should, and answers right over a bad line."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest

import recurc
from recurc.device import frames as f
from recurc.device.session import DeviceRefusedError, DeviceSession
from recurc.errors import MismatchError
from recurc.targets.boards import load_board
from recurc.targets.host import HostEngine
from recurc.targets.qemu import QemuTransport
from recurc.verify.device import check_identity, connect
from recurc.verify.options import Listener, RunOptions
from recurc.verify.run import Side, verify_session
from tests.boardfiles import board_text
from tests.build.forging import forged_elf
from tests.device.runs import run_all

HEADER, ENTRY, HEADER_CRC = 128, 32, 124
MAGIC, VERSION, FLAGS, SIZE, TABLE_CRC, SHA, ARCHITECTURE = 0, 8, 12, 28, 36, 40, 72


def with_right_checksums(image: bytearray) -> None:
    sections = struct.unpack_from("<I", image, 24)[0]
    struct.pack_into("<I", image, TABLE_CRC, zlib.crc32(image[HEADER : HEADER + ENTRY * sections]))
    struct.pack_into("<I", image, HEADER_CRC, zlib.crc32(image[:HEADER_CRC]))


def flipped(at: int, fixed: bool):
    def change(image: bytearray) -> None:
        image[at] ^= 0x40
        if fixed:
            with_right_checksums(image)

    return change


CHANGES = {
    "magic": (flipped(MAGIC, False), 2), "version": (flipped(VERSION, True), 3), "flags": (flipped(FLAGS, True), 4),
    "size": (flipped(SIZE, True), 5), "header checksum": (flipped(HEADER_CRC, False), 6),
    "table checksum": (flipped(HEADER + 4, False), 6), "weights": (flipped(-1000, False), 6),
    "section table": (flipped(HEADER + 8, True), 7), "model": (flipped(ARCHITECTURE, True), 8),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("board", ("mps2-an500", "host"))
def test_a_damaged_or_foreign_image_is_never_run(built, board, what, tmp_path):
    """The image in the linked firmware changed, as flash that lost a bit or another tool's write would."""
    change, status = CHANGES[what]
    bad = forged_elf(built.boards[board].elf, tmp_path / "bad.elf", change)
    with connect(load_board(board), bad, "host" if board == "host" else "qemu") as session:
        hello = session.hello()
        assert hello.status == status
        session.load(np.ones(hello.seq_len))
        for request in (lambda: list(session.run(1)), lambda: session.read_raw("z_H")):
            with pytest.raises(DeviceRefusedError) as e:
                request()
            assert e.value.status == status and e.value.exit_code == 7
        assert session.selftest().status == status
        with pytest.raises(MismatchError, match="refuses its weights image") as wrong:
            check_identity(hello, built.boards[board])
        assert wrong.value.exit_code == 8


@pytest.mark.parametrize("board", ("mps2-an500", "host"))
def test_other_weights_of_the_same_shape_are_told_by_their_hash(built, board, tmp_path):
    """The code takes them, they may be newer ones; the host does not take them for the build's."""
    bad = forged_elf(built.boards[board].elf, tmp_path / "bad.elf", flipped(SHA, True))
    with connect(load_board(board), bad, "host" if board == "host" else "qemu") as session:
        hello = session.hello()
        assert hello.status == 0
        with pytest.raises(MismatchError, match="runs another model") as wrong:
            check_identity(hello, built.boards[board])
        assert wrong.value.exit_code == 8


@pytest.mark.parametrize("board", ("mps2-an500", "host"))
def test_oversized_frames_and_unknown_flags_are_refused(built, board):
    with connect(load_board(board), built.boards[board].elf, "host" if board == "host" else "qemu") as session:
        session.hello()
        session.load(np.ones(session.info.seq_len))
        session.transport.write(b"\x2a" * 5000 + b"\0")
        deadline = time.monotonic() + 10
        frame = session._receive(deadline)
        assert (frame.type, frame.seq, frame.body) == (f.NAK, 0, bytes([f.STATUS_FRAME, 0]))
        for flags in (4, 0x80):
            body = f.run_body(flags | f.RUN_BEGIN, 1, 1, 0, 0, session._input_crc, 0.0)
            session._send(f.Frame(f.RUN, 77, body))
            frame = session._receive(deadline)
            assert (frame.type, frame.seq, frame.body[1]) == (f.NAK, 77, f.RUN)
            assert f.status_text(frame.body[0]) == "unknown command or flag"
        with pytest.raises(DeviceRefusedError, match="unknown command"):
            session._request(0x55)
        assert len(run_all(session, 1)[0]) == 1 and session.retries == 0


class BadUart:
    """A UART of 115200 baud on which a share of the frames, both ways, loses a bit."""

    SECONDS_A_BYTE = 10 / 115200

    def __init__(self, inner, share: float, seed: int) -> None:
        self.inner, self.description, self.share = inner, inner.description, share
        self.rng = np.random.default_rng(seed)
        self.frames = self.damaged = 0
        self._tail = b""

    def _line(self, data: bytes) -> bytes:
        """What arrives of whole frames, when it has arrived."""
        parts = []
        for part in data.split(b"\0")[:-1]:
            self.frames += bool(part)
            if part and self.rng.random() < self.share:
                self.damaged += 1
                at = int(self.rng.integers(len(part)))
                part = part[:at] + bytes([part[at] ^ 1 << int(self.rng.integers(8))]) + part[at + 1 :]
            parts.append(part + b"\0")
        time.sleep(len(data) * self.SECONDS_A_BYTE)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        self.inner.write(self._line(data))

    def read(self, timeout: float) -> bytes:
        whole, zero, self._tail = (self._tail + self.inner.read(timeout)).rpartition(b"\0")
        return self._line(whole + zero)

    def close(self) -> None:
        self.inner.close()


def test_200_puzzles_over_a_bad_uart(built, data):
    """One frame in a hundred is damaged: 200 right answers, none lost, none different."""
    puzzles = recurc.load_dataset(data, "test")
    puzzles = puzzles.take(200)
    assert len(puzzles.inputs) == 200
    board = load_board("mps2-an500")
    uart = BadUart(QemuTransport(board, built.boards[board.name].elf), 0.01, seed=7)
    with DeviceSession(uart, timeout=1.0, step_timeout=60.0) as session:
        check_identity(session.persist(session.hello), built.boards[board.name])
        engine = HostEngine(built.host_library, built.host_image)
        arrived = []
        result = verify_session(
            session, engine, puzzles, Side(board, "qemu"), RunOptions(steps=2), Listener(on_result=arrived.append)
        )
    assert len(arrived) == len(result.puzzles) == 200 and all(p.matched for p in result.puzzles)
    assert [p.puzzle for p in arrived] == list(range(200))
    assert result.first_difference is None
    print(f"{uart.frames} frames, {uart.damaged} damaged, {result.retries} said again")
    assert uart.frames > 1500 and 0.005 < uart.damaged / uart.frames < 0.02
    assert result.retries >= uart.damaged / 2


def test_a_run_that_is_longer_than_the_watchdog_is_no_hang(quantized, gate, data, tmp_path):
    """The schedule feeds it between tiles, so a puzzle may take many times its time."""
    text = board_text("mps2-an500")
    assert "seconds = 80" in text
    short = tmp_path / "short-watch.toml"
    text = text.replace('name = "mps2-an500"', 'name = "short-watch"').replace("seconds = 80", "seconds = 1")
    short.write_text(text.replace('aliases = ["qemu-m7", "an500"]', "aliases = []"))
    build = quantized.build(str(short), tmp_path / "out", gate=gate)
    board = build.board("short-watch")
    assert board.defines["RC_WATCHDOG_MS"] == 1000
    with connect(board, build.boards[board.name].elf, "qemu", step_timeout=60) as session:
        session.hello()
        session.load(recurc.load_dataset(data, "test").inputs[0])
        events, result = run_all(session, session.info.steps)
    assert result.ticks / board.ticks.hz > 3 and session.retries == 0
