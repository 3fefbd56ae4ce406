"""The firmware of each real chip on a simulated core, behind its own UART: it answers, and computes the host's bits."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from recurc.device.session import DeviceSession
from recurc.targets.boards import list_boards
from recurc.targets.host import HostEngine
from tests.device import dummy_build as dummy
from tests.device.runs import run_all
from tests.targets.chipmodel import BOARDS, Chip, Line
from tests.tools import need


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    need("host")
    folder = tmp_path_factory.mktemp("engine")
    image = folder / "model.rcm"
    image.write_bytes(dummy.image_bytes())
    return HostEngine(dummy.build_dummy_library(folder / "dummy.so"), image)


def session_of(chip: Chip) -> DeviceSession:
    return DeviceSession(Line(chip), timeout=10.0, step_timeout=60.0)


def test_every_chip_with_a_port_of_its_own_is_here():
    parts = {b.name: b.ports[-1] for b in list_boards() if "arm_chip" in b.ports}
    assert set(parts.values()) == set(BOARDS)


@pytest.mark.parametrize("port", BOARDS)
def test_it_computes_what_the_host_computes(port, start, engine):
    tokens = np.random.default_rng(3).integers(0, 6, 16).astype(np.uint8)
    chip = start(port)
    with session_of(chip) as session:
        hello = session.hello()
        assert (hello.board, hello.build_id, hello.status) == (chip.board.name, dummy.BUILD_ID, 0)
        session.load(tokens)
        events, result = run_all(session, 12, puzzle=2)
        read = {name: session.read_tensor(name).tobytes() for name in ("z_H", "z_L", "logits", "q", "tokens")}
    engine.begin(tokens, 2)
    for event in events:
        engine.step()
        assert event.carry_crc == zlib.crc32(engine.tensor("z_H").tobytes() + engine.tensor("z_L").tobytes())
        assert event.logits_crc == zlib.crc32(engine.tensor("logits").tobytes())
    assert read == {name: engine.tensor(name).tobytes() for name in read}
    assert len(events) == 12 and 256 < result.stack_used < chip.board.stack_bytes and result.ticks > 0


@pytest.mark.parametrize("port, stuck, hz", [
    ("stm32h743", {"RCC_CR": 1 << 25}, 64_000_000), ("stm32u5", {"RCC_CR": 1 << 25}, 16_000_000),
    ("imxrt", {"PLL_ARM": 1 << 31}, 24_000_000), ("rp2350", {"PLL_CS": 1 << 31}, 12_000_000),
])  # fmt: skip
def test_a_chip_without_its_pll_answers_and_tells_its_speed(port, stuck, hz, start):
    with session_of(start(port, stuck=stuck)) as session:
        assert session.hello().tick_hz == hz
        session.load(np.zeros(16))
        assert len(run_all(session, 2)[0]) == 2


@pytest.mark.parametrize("port, register, flags, cause", [
    ("stm32h743", 0x580244D0, 1 << 26, "watchdog"), ("stm32h743", 0x580244D0, 1 << 24, "software"),
    ("stm32h743", 0x580244D0, 1 << 23, "power"), ("stm32h743", 0x580244D0, 1 << 22, "pin"),
    ("stm32u5", 0x46020CF4, 1 << 29, "watchdog"), ("stm32u5", 0x46020CF4, 1 << 28, "software"),
    ("stm32u5", 0x46020CF4, 1 << 27, "power"), ("stm32u5", 0x46020CF4, 1 << 26, "pin"),
    ("imxrt", 0x400B8004, 2, "watchdog"), ("imxrt", 0x400B8004, 16, "power"), ("imxrt", 0x400B8004, 1, "software"),
    ("nrf53", 0x50005400, 2, "watchdog"), ("nrf53", 0x50005400, 8, "software"), ("nrf53", 0x50005400, 1, "pin"),
    ("nrf53", 0x50005400, 0, "power"), ("rp2350", 0x400D8008, 1, "watchdog"), ("rp2350", 0x400D8008, 2, "software"),
    ("apollo5", 0x40000000, 0, "unknown"),
])  # fmt: skip
def test_why_it_started_is_told(port, register, flags, cause, start):
    with session_of(start(port, values={register: flags})) as session:
        assert session.hello().reset_cause == cause
