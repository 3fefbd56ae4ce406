"""Faults of the environment are not ours: signals, mounts, variables of somebody's shell, addresses of something else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recurc.cli._signals import Ended, ended_by_signals
from recurc.cli.main import main
from recurc.errors import ToolchainError, UsageError
from recurc.targets import programs, toolchain

ROOT = Path(__file__).parents[2]


# -- signals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_and_what_it_began(number, code, tmp_path):
    """The command waits for its input; its temporary folder is gone after it."""
    (tmp_path / "temporary").mkdir()
    script = ("import sys, time, recurc.cli.main as m, recurc.cli.run as r\n"
              "from recurc.targets.programs import program_folder\n"
              "import tempfile\n"
              "def wait(name):\n"
              "    with tempfile.TemporaryDirectory():\n"
              "        print('waiting', flush=True)\n"
              "        time.sleep(60)\n"
              "r.from_file = wait\n"
              "sys.exit(m.main(['run', 'sudoku4-tiny', '--input', '-']))\n")
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(ROOT)}
    default = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731 - nohup and a shell's & ignore some
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, preexec_fn=default)
    assert process.stdout.readline() == "waiting\n"
    assert os.listdir(tmp_path / "temporary") != []
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in told
    assert os.listdir(tmp_path / "temporary") == []


def test_signals_of_somebody_else_are_left_alone():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Ended):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    found = []
    thread = threading.Thread(target=lambda: [found.append(1) for _ in [0] if ended_by_signals().__enter__() is None])
    thread.start()
    thread.join()
    assert found == [1]


# -- mounts -----------------------------------------------------------------------------------------------------------------


def test_where_the_temporary_folder_allows_no_programs_the_cache_does(tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(programs.tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.delenv("RECURC_CACHE", raising=False)
    assert programs.program_folder("a-").parent == tmp_path / "t"
    monkeypatch.setattr(programs, "runs_programs", lambda folder: Path(folder) != tmp_path / "t")
    assert programs.program_folder("a-").parent == tmp_path / "c/recurc/programs"
    monkeypatch.setattr(programs, "runs_programs", lambda folder: False)
    with pytest.raises(ToolchainError, match="noexec"):
        programs.program_folder("a-")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_real_noexec_mount_is_seen(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "tmpfs", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert not programs.runs_programs(tmp_path) and programs.runs_programs(ROOT)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# -- variables --------------------------------------------------------------------------------------------------------------


def test_variables_that_reach_compilers_do_not(tmp_path, monkeypatch):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/stdint.h").write_text("#error somebody's own header")
    (tmp_path / "a.c").write_text("#include <stdint.h>\nuint8_t a;\n")
    for name in ("CPATH", "C_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX"):
        monkeypatch.setenv(name, str(tmp_path / "bad"))
    monkeypatch.setenv("RECURC_CACHE", "off")
    assert toolchain.compile_shared([tmp_path / "a.c"], [], tmp_path / "out/a.so").exists()


def test_platformio_is_asked_for_the_projects_own_build(tmp_path, monkeypatch):
    from recurc.targets import platformio

    seen = {}

    class Done:
        stdout, returncode = (), 0

        def __init__(self, command, env, **options):
            seen.update(env)

        def wait(self):
            return 0

        poll = kill = wait

    monkeypatch.setattr(platformio, "preflight", lambda env: None)
    monkeypatch.setattr(platformio.subprocess, "Popen", Done)
    for name in ("PLATFORMIO_BUILD_DIR", "PLATFORMIO_WORKSPACE_DIR", "PLATFORMIO_BUILD_FLAGS", "CPATH"):
        monkeypatch.setenv(name, "/elsewhere")
    platformio.run(platformio.Environment(tmp_path, "x", "native", {}), variables={"RECURC_UPLOAD": "all"})
    assert seen["PLATFORMIO_CORE_DIR"] and seen["RECURC_UPLOAD"] == "all" and seen["PATH"] == os.environ["PATH"]
    assert "/elsewhere" not in seen.values()


# -- addresses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["foo", "tcp://foo", "tcp://:1", "tcp://a b:1", "8786"])
def test_addresses_without_a_port_are_refused(address):
    from recurc.study.cluster import Cluster

    with pytest.raises(UsageError, match="no address of a Dask scheduler"):
        Cluster(address)


def test_something_else_at_the_schedulers_address_is_not_waited_for():
    """A server that says nothing at all, as one of another protocol does."""
    from recurc.study.cluster import Cluster

    server = socket.create_server(("127.0.0.1", 0))
    try:
        with pytest.raises(ToolchainError, match="no Dask scheduler answers"):
            Cluster(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout=1)
    finally:
        server.close()


def test_urls_without_a_write_time_out(monkeypatch):
    import serial

    from recurc.device.transports import SerialTransport

    opened = []

    class Port:
        def close(self):
            opened.append("closed")

    def for_url(url, **options):
        if "write_timeout" in options:
            raise NotImplementedError("write_timeout is currently not supported")
        opened.append(options)
        return Port()

    monkeypatch.setattr(serial, "serial_for_url", for_url)
    transport = SerialTransport("rfc2217://127.0.0.1:1", 115200)
    transport.close()
    assert opened[0] == {"baudrate": 115200, "timeout": 0}


# -- folders ----------------------------------------------------------------------------------------------------------------


def test_keep_is_refused_before_the_measurement(tmp_path, capsys, monkeypatch):
    from recurc.study import own_gate

    monkeypatch.setattr(own_gate.os, "access", lambda path, mode: False)
    monkeypatch.setattr("recurc.study.gate.gate_of", lambda *args, **options: pytest.fail("it has measured already"))
    options = ["--limit", "2", "--steps", "1", "--out", str(tmp_path / "g")]
    assert main(["sweep", "sudoku4-tiny", "--gate", "--keep", *options]) == 3
    told = capsys.readouterr().err
    assert "cannot be kept" in told and "--min-fidelity" in told
