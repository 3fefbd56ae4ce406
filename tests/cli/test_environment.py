"""Faults of the environment are not ours: signals, mounts, variables of somebody's shell, addresses of something else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from recurc.cli.common.signals import Ended, ended_by_signals
from recurc.cli.main import main
from recurc.errors import InputError, ToolchainError, UsageError
from recurc.targets import programs, toolchain

ROOT = Path(__file__).parents[2]


# -- signals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_and_what_it_began(number, code, tmp_path):
    """The command waits for its input; its temporary folder is gone after it."""
    (tmp_path / "temporary").mkdir()
    script = (
        "import sys, time, recurc.cli.main as m, recurc.cli.run as r\n"
        "from recurc.targets.programs import program_folder\n"
        "import tempfile\n"
        "def wait(name):\n"
        "    with tempfile.TemporaryDirectory():\n"
        "        print('waiting', flush=True)\n"
        "        time.sleep(60)\n"
        "r.from_file = wait\n"
        "sys.exit(m.main(['run', 'sudoku4-tiny', '--input', '-']))\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(ROOT)}
    default = lambda: signal.signal(number, signal.SIG_DFL)  # noqa: E731 - nohup and a shell's & ignore some
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default,
    )
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
    from recurc.evaluate import beside

    monkeypatch.setattr(beside.os, "access", lambda path, mode: False)
    monkeypatch.setattr("recurc.study.ladder.measure_ladder", lambda *args, **options: pytest.fail("it has measured already"))
    options = ["--limit", "2", "--steps", "1", "--out", str(tmp_path / "g")]
    assert main(["gate", "sudoku4-tiny", "--keep", *options]) == 3
    told = capsys.readouterr().err
    assert "cannot be kept" in told and "--min-fidelity" in told


_UNREADABLE = (
    ("ck/model.safetensors", "inspect ck"), ("ck/config.json", "inspect ck"), ("ck/data", "eval ck --limit 1 --steps 1"),
    ("ck/data/test/all__labels.npy", "eval ck --limit 1 --steps 1"), ("ck", "inspect ck"), ("recurc.toml", "inspect"),
    ("ck/data/test/dataset.json", "dataset describe ck/data"), ("ck/data/test", "dataset describe ck/data"),
)  # fmt: skip
_AS_NOBODY = """
import contextlib, io, json, os, sys
from recurc.cli.main import main
for command in dict.fromkeys(c for _, c in json.loads(sys.argv[1])):  # as root, which loads what is loaded when it is needed
    assert main(command.split()) == 0, command
for name, command in json.loads(sys.argv[1]):
    mode = os.stat(name).st_mode
    os.chmod(name, 0)
    os.seteuid(65534)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(command.split())
    os.seteuid(0)
    os.chmod(name, mode)
    print(json.dumps([name, code, said.getvalue()]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become nobody")
def test_what_a_user_may_not_read_is_named_and_nothing_is_taken_in_its_place():
    """In a process that has given up root's rights; each of the files and folders in turn."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        shutil.copytree(ROOT / "examples/models/sudoku4-tiny", folder / "ck")
        (folder / "recurc.toml").write_text('[model]\ncheckpoint = "ck"\n')
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, json.dumps(_UNREADABLE)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert len(told) == len(_UNREADABLE), done.stderr
    for name, code, said in told:
        error = said.splitlines()[-1]
        assert code == 3 and "Permission denied" in error and Path(name).name in error and "bug" not in error, (name, said)


def test_a_table_that_finds_no_room_to_be_widened(tmp_path, monkeypatch):
    """A sparse file that is mapped would be SIGBUS: the process gone without a word."""
    import resource

    import numpy as np

    from recurc.models import tensorfile

    monkeypatch.setattr(tensorfile, "_IN_MEMORY", 1)
    monkeypatch.setattr(tensorfile.tempfile, "tempdir", str(tmp_path))
    table = np.full((1 << 12, 256), 0x3F80, "<u2")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(InputError, match="4,194,304 bytes") as refused:
            tensorfile.widen(table, tensorfile.widen_bfloat16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path) in refused.value.where and "TMPDIR" in refused.value.next
    wide = tensorfile.widen(table, tensorfile.widen_bfloat16)
    assert wide.dtype == np.float32 and (wide == 1).all() and not wide.flags.writeable


def test_types_of_numbers_that_are_not_read_are_named(tmp_path, capsys):
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"x")
    assert main(["inspect", str(tmp_path)]) == 3
    assert "F8_E4M3" in capsys.readouterr().err


def test_a_comma_in_the_temporary_folder_reaches_qemu_doubled(tmp_path, monkeypatch):
    from recurc.targets import qemu
    from recurc.targets.boards import load_board

    started = []

    class Ended:
        returncode = 1

        def __init__(self, command, **options):
            started.append(command)

        def poll(self):
            return 1

    (tmp_path / "a,b").mkdir()
    (tmp_path / "f.elf").touch()
    monkeypatch.setattr(qemu, "_LONGEST_SOCKET_PATH", 1000)
    monkeypatch.setattr(qemu, "find_qemu", lambda board: "qemu")
    monkeypatch.setattr(qemu.tempfile, "tempdir", str(tmp_path / "a,b"))
    monkeypatch.setattr(qemu.subprocess, "Popen", Ended)
    with pytest.raises(ToolchainError):
        qemu.QemuTransport(load_board("mps2-an500"), tmp_path / "f.elf")
    serial = started[0][started[0].index("-serial") + 1]
    assert serial.startswith(f"unix:{tmp_path}/a,,b/recurc-") and serial.endswith(",server=on,wait=on")


def test_an_emulator_that_does_not_start_leaves_nothing(tmp_path, monkeypatch):
    from recurc.targets import qemu
    from recurc.targets.boards import load_board

    (tmp_path / "t").mkdir()
    (tmp_path / "f.elf").touch()
    program = tmp_path / "qemu"
    program.write_bytes(b"\x7fELF of another computer")
    program.chmod(0o755)
    monkeypatch.setattr(qemu, "find_qemu", lambda board: str(program))
    monkeypatch.setattr(qemu.tempfile, "tempdir", str(tmp_path / "t"))
    with pytest.raises(ToolchainError, match=r"QEMU does not start \(.*qemu\): Exec format error"):
        qemu.QemuTransport(load_board("mps2-an500"), tmp_path / "f.elf")
    monkeypatch.setattr(qemu.tempfile, "TemporaryFile", lambda: open(tmp_path / "no/such"))
    with pytest.raises(FileNotFoundError):
        qemu.QemuTransport(load_board("mps2-an500"), tmp_path / "f.elf")
    assert os.listdir(tmp_path / "t") == []
