"""The wire server with the stand-in model: as a process, and on every emulated core; each answer against the host's."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from recurc.device import frames as f
from recurc.device.session import DeviceFaultError, DeviceRefusedError
from recurc.errors import DeviceUnreachableError, InputError
from recurc.targets.boards import load_board
from recurc.verify.device import connect
from tests.device import dummy_build as dummy
from tests.device.runs import run_all
from tests.tools import EMULATED

ALL = ("host", *EMULATED)


def crc(*arrays: np.ndarray) -> int:
    return zlib.crc32(b"".join(a.tobytes() for a in arrays))


@pytest.mark.parametrize("session", ALL, indirect=True)
def test_hello_tells_who_it_is(session):
    hello = session.hello()
    assert hello.board == session.transport.description.split(" in ")[0] or hello.board == "host"
    assert (hello.version, hello.status, hello.can_exit) == (f.VERSION, 0, True)
    assert (hello.build_id, hello.model_sha256, hello.model) == (dummy.BUILD_ID, dummy.SHA256.hex(), "dummy fp32")
    assert (hello.seq_len, hello.vocab, hello.rows, hello.hidden, hello.steps) == (16, 6, 17, 8, 12)
    assert (hello.carry, hello.table_mode, hello.table_status, hello.record_bytes) == ("fp32", 0, 0, 0)
    assert hello.stack_bytes == load_board(hello.board).stack_bytes
    assert hello.tick_hz == load_board(hello.board).ticks.hz


@pytest.mark.parametrize("session", ALL, indirect=True)
def test_every_step_and_tensor_equals_the_host(session, engine):
    tokens = np.random.default_rng(3).integers(0, 6, 16).astype(np.uint8)
    session.load(tokens)
    engine.begin(tokens, 2)
    events, result = run_all(session, 12, puzzle=2)
    assert [e.step for e in events] == list(range(1, 13))
    for event in events:
        engine.step()
        assert event.carry_crc == crc(engine.tensor("z_H"), engine.tensor("z_L"))
        assert event.logits_crc == crc(engine.tensor("logits"))
        assert event.tokens_crc == crc(engine.tensor("tokens"))
        assert event.q_bytes == engine.tensor("q").tobytes()
        assert event.ticks > 0
    assert (result.steps, result.total_steps, result.halted) == (12, 12, False)
    assert result.ticks == sum(e.ticks for e in events)
    for name in ("z_H", "z_L", "logits", "q", "tokens", "input"):
        assert session.read_tensor(name).tobytes() == engine.tensor(name).tobytes(), name
    if session.info.stack_bytes:
        assert 256 < result.stack_used < 4096


@pytest.mark.parametrize("session", ("mps2-an500", "riscv32-virt"), indirect=True)
def test_ticks_count_instructions_the_same_every_time(session):
    session.load(np.zeros(16))
    per = load_board(session.info.board).ticks.per_instruction
    counts = [[e.ticks / per for e in run_all(session, 4)[0]] for _ in range(3)]
    assert np.ptp(counts, axis=0).max() <= 2  # the counter's own resolution
    assert 4000 < counts[0][0] < 8000


def test_stepping_one_by_one_is_the_same_run(session):
    session.load(np.arange(16) % 6)
    whole, _ = run_all(session, 5)
    single = []
    for step in range(5):
        event, result = session.run(1, begin=step == 0)
        single.append(event)
        assert result.total_steps == step + 1
    assert [e.carry_crc for e in single] == [e.carry_crc for e in whole]


@pytest.mark.parametrize(("threshold", "min_steps", "steps"), [(0.0, 1, 6), (2.0, 1, 8), (0.0, 9, 9), (99.0, 1, 12)])
def test_halting(session, threshold, min_steps, steps):
    session.load(np.zeros(16))
    events, result = run_all(session, 12, halt=True, threshold=threshold, min_steps=min_steps)
    assert len(events) == result.steps == steps
    assert result.halted == (steps < 12)


@pytest.mark.parametrize("board", EMULATED)
def test_what_is_only_zeroed_is_loaded_nowhere(board, elfs):
    """A loader that zeroes variables at a load address in flash would zero what lies there, as a puzzle table does."""
    with open(elfs(board), "rb") as file:
        loaded = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]
    assert all(s["p_paddr"] == s["p_vaddr"] for s in loaded if not s["p_filesz"])
    assert all(s["p_memsz"] == s["p_filesz"] for s in loaded if s["p_paddr"] != s["p_vaddr"])


def test_refusals(session):
    with pytest.raises(DeviceRefusedError, match="earlier step"):
        session.read_tensor("logits")
    session.hello()
    with pytest.raises(DeviceRefusedError, match="earlier step"):
        list(session.run(1, begin=False))
    session.load(np.zeros(16))
    for options, said in (({"steps": 13}, "all compiled supervision steps"), ({"steps": 1, "puzzle": 3}, "puzzle identifier")):
        with pytest.raises(DeviceRefusedError, match=said):
            list(session.run(**options))
    session.load(np.full(16, 6))
    with pytest.raises(DeviceRefusedError, match="vocabulary"):
        list(session.run(1))
    session.load(np.zeros(16))
    (result,) = session.run(0)  # begins the puzzle, and no more
    assert (result.steps, result.total_steps) == (0, 0)
    with pytest.raises(DeviceRefusedError, match="out of range"):
        list(session.run(0, begin=False))
    list(session.run(12))
    with pytest.raises(DeviceRefusedError, match="all compiled supervision steps"):
        list(session.run(1, begin=False))


def test_a_row_must_fit(session):
    for row in (np.zeros(15), np.full(16, 256), np.full(16, -1)):
        with pytest.raises(InputError, match="input row"):
            session.load(row)


@pytest.mark.parametrize("session", ALL, indirect=True)
def test_selftest_checks_the_image_and_forgets_the_carry(session):
    session.hello()
    session.load(np.zeros(16))
    run_all(session, 1)
    image = dummy.image_bytes()
    for nonce in (bytes(16), bytes(range(16)), b"\xff" * 16):
        told = session.selftest(nonce)
        assert (told.status, told.image_bytes, told.image_crc) == (0, dummy.IMAGE_BYTES, zlib.crc32(image))
        assert told.image_sha256 == hashlib.sha256(nonce + image).digest()
        assert (told.table_bytes, told.table_crc, told.table_sha256) == (0, 0, bytes(32))
    with pytest.raises(DeviceRefusedError, match="earlier step"):
        session.read_tensor("z_H")


def test_selftest_without_a_whole_nonce_is_refused(session):
    for nonce in (b"", bytes(15), bytes(17)):
        with pytest.raises(DeviceRefusedError, match="out of range"):
            session.selftest(nonce)


@pytest.mark.parametrize("board", ("host", "mps2-an500"))
def test_a_bad_image_is_told_and_never_run(board, elfs):
    elf = elfs(board, good_image=False)
    with connect(load_board(board), elf, "host" if board == "host" else "qemu") as session:
        assert session.hello().status == 6
        session.load(np.zeros(16))
        with pytest.raises(DeviceRefusedError, match="checksum"):
            list(session.run(1))
        with pytest.raises(DeviceRefusedError, match="checksum"):
            session.read_tensor("tokens")
        assert session.selftest().status == 6


@pytest.mark.parametrize("board", EMULATED)
def test_a_crash_reports_its_registers(board, elfs):
    with connect(load_board(board), elfs(board, defines={"DUMMY_CRASH_STEP": 2}), "qemu", step_timeout=30) as session:
        session.load(np.zeros(16))
        run = session.run(3)
        assert next(run).step == 1
        with pytest.raises(DeviceFaultError) as e:
            next(run)
    fault = e.value.fault
    assert fault.pc and fault.lr and fault.cfsr
    assert 0xFFFFFF00 in (fault.bfar, fault.mmfar)
    assert f"pc={fault.pc:08x}" in str(e.value)


@pytest.mark.parametrize("board", EMULATED)
def test_a_stack_overflow_is_a_fault_and_not_silence(board, elfs):
    with connect(load_board(board), elfs(board, defines={"DUMMY_DEEP_STEP": 2}), "qemu", step_timeout=30) as session:
        session.load(np.zeros(16))
        with pytest.raises(DeviceFaultError) as e:
            list(session.run(3))
    assert e.value.fault.cfsr


@pytest.mark.parametrize("session", ALL, indirect=True)
def test_exit_ends_it_with_the_code(session):
    session.exit(42)
    with pytest.raises(DeviceUnreachableError, match="status 42|nothing|closed|no reply"):
        session.hello()
    process = getattr(session.transport, "process", None) or session.transport._process
    assert process.wait(timeout=5) == 42
