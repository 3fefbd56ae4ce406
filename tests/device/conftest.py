"""Fixtures of the device tests: the stand-in model on the host and its firmware for any board."""

from __future__ import annotations

import pytest

from recurc.targets.boards import load_board
from recurc.targets.host import HostEngine
from recurc.verify.device import connect
from tests.device import dummy_build as dummy
from tests.tools import need


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    need("host")
    folder = tmp_path_factory.mktemp("engine")
    image = folder / "model.rcm"
    image.write_bytes(dummy.image_bytes())
    return HostEngine(dummy.build_dummy_library(folder / "dummy.so"), image)


@pytest.fixture(scope="session")
def elfs(tmp_path_factory):
    """Firmware by board and options, each built once."""
    made = {}

    def get(board: str, **options):
        need(board)
        key = (board, repr(options))
        if key not in made:
            made[key] = dummy.build_dummy(board, tmp_path_factory.mktemp(board), **options)
        return made[key]

    return get


@pytest.fixture
def session(request, elfs):
    """A session with the firmware on one board; the process on this computer unless parametrized."""
    board = getattr(request, "param", "host")
    with connect(load_board(board), elfs(board), "host" if board == "host" else "qemu", step_timeout=30) as opened:
        yield opened
