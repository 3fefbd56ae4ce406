"""An emulated board that is reset after each supervision step: the session notices at once and the answer is right."""

from __future__ import annotations

import json
import socket
import time

import numpy as np
import pytest

from recurc.device.session import DeviceRestartedError, DeviceSession
from recurc.targets.boards import load_board
from recurc.targets.qemu import QemuTransport
from tests.device.runs import run_all

STEPS = 6


class Monitor:
    """QEMU's control socket."""

    def __init__(self, path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + 10
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        self._file = self._socket.makefile("rw")
        self._file.readline()
        self.do("qmp_capabilities")

    def do(self, command: str) -> None:
        self._file.write(json.dumps({"execute": command}) + "\n")
        self._file.flush()
        while "return" not in json.loads(self._file.readline()):
            pass

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.mark.parametrize("board", ("mps2-an500", "mps2-an505", "riscv32-virt"))
def test_a_reset_after_every_step(board, elfs, tmp_path):
    control = tmp_path / "qmp"
    extra = ("-action", "reboot=reset", "-qmp", f"unix:{control},server=on,wait=off")
    with DeviceSession(QemuTransport(load_board(board), elfs(board), extra), timeout=10.0, step_timeout=60.0) as session:
        monitor = Monitor(control)
        session.hello()
        tokens = np.arange(16) % 6
        session.load(tokens)
        want = [e.carry_crc for e in run_all(session, STEPS)[0]]
        for at in range(STEPS):
            start = time.monotonic()
            resets = 0

            def puzzle(at=at):
                nonlocal resets
                session.load(tokens)
                found = []
                if at == 0 and not resets:
                    resets += 1
                    monitor.do("system_reset")
                for step in range(STEPS):
                    event, result = session.run(1, begin=step == 0)
                    found.append(event.carry_crc)
                    if step + 1 == at and not resets:
                        resets += 1
                        monitor.do("system_reset")
                return found

            assert session.persist(puzzle) == want
            assert resets == 1 and time.monotonic() - start < 60
        assert session.retries >= STEPS

        monitor.do("system_reset")
        with pytest.raises(DeviceRestartedError, match="started anew") as e:
            session.load(tokens)
            run_all(session, 1)
            session.load(tokens)
        assert e.value.exit_code == 7
        session.reset()
        assert session.hello().board == board
        monitor.close()
