"""Chips on a simulated core, for the tests of their ports."""

from __future__ import annotations

import functools

import pytest

from tests.device.dummy_build import build_dummy
from tests.targets.chipmodel import BOARDS, Chip
from tests.tools import need

READS = 2000  # of a register that answers by Python, in place of the port's million


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """A chip with the stand-in model's firmware, each built once: port, macros, and the options of `Chip`.

    `reads`: bound of the port's waits, 0 for its own.
    """

    @functools.cache
    def firmware(port: str, defines: tuple):
        need(BOARDS[port])
        # Unicorn knows no Cortex-M55: that port's C for the core before it
        flags = ("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16") if port == "apollo5" else ()
        return build_dummy(BOARDS[port], tmp_path_factory.mktemp(port), extra_flags=flags, defines=dict(defines))

    def get(port: str, *defines: tuple[str, int], reads: int = READS, **options) -> Chip:
        return Chip(port, firmware(port, (*defines, *((("RC_CHIP_WAIT_READS", reads),) if reads else ()))), **options)

    return get
