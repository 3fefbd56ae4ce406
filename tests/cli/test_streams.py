"""Closed and full streams, and other faults of the surroundings: one paragraph, its exit code, and never "a bug"."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from recurc import reading
from recurc.cli.main import main
from recurc.environment import environment_error
from recurc.errors import InputError, ToolchainError
from recurc.files import put, write_whole

RUN = f"{sys.executable} -m recurc"


@pytest.mark.parametrize(("command", "code", "said"), [
    ("boards > /dev/full", 3, "No space left"), ("boards --json > /dev/full", 3, "No space left"),
    ("boards >&-", 3, "Bad file descriptor"), ("--help > /dev/full", 3, "No space left"),
    ("boards --json 2>&- > /dev/null", 0, None), ("boards > /dev/null 2>/dev/full", 0, None),
    ("boards nowhere --json 2>&- >&-", 2, None), ("no-such-command --json > /dev/full", 2, "no command"),
])  # fmt: skip
def test_streams_that_cannot_be_written(command, code, said, tmp_path):
    done = subprocess.run(["bash", "-c", f"{RUN} {command}"], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and ("error: " in done.stderr) == bool(said)
    if said:
        assert said in done.stderr.splitlines()[-1] and (len(done.stderr.splitlines()) == 1 or "--json" in command)
    assert "bug" not in done.stderr and "Exception ignored" not in done.stderr


def test_files_never_get_the_number_of_a_closed_stream(tmp_path):
    """With stdout closed, the first file that is opened would be descriptor 1, and what is printed would land in it."""
    code = "import sys\nfrom recurc.cli.main import main\nmain(['--version'])\nf = open(sys.argv[1], 'w')\nsys.exit(f.fileno())"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "$0" "$1" <&- >&- 2>&-', code, str(tmp_path / "f")])
    assert done.returncode > 2


@pytest.mark.parametrize(
    "number",
    [
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EACCES",
        "EPERM",
        "EIO",
        "ENAMETOOLONG",
        "EMFILE",
        "ENOMEM",
        "EAGAIN",
        "ENOENT",
        "ENOTDIR",
        "EISDIR",
        "EXDEV",
        "ESTALE",
        "ENOEXEC",
        "EINTR",
    ],
)
def test_the_systems_refusals_are_no_bugs(number, capsys, monkeypatch):
    number = getattr(errno, number)

    def fail():
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr("recurc.cli.boards.command.callback", lambda **options: fail())
    assert main(["boards"]) == 3
    said = capsys.readouterr().err
    assert "/some/file" in said and os.strerror(number) in said and "bug" not in said and len(said.splitlines()) == 1


def test_what_is_a_mistake_of_ours_stays_one():
    assert environment_error(OSError(errno.EBADF, "Bad file descriptor")) is None
    assert environment_error(OSError("no number")) is None and environment_error(ValueError()) is None
    assert environment_error(RuntimeError("dictionary changed size")) is None


def test_a_file_of_ours_that_cannot_be_read_is_no_bug(tmp_path, monkeypatch):
    """Readers that do not expect it let it pass."""
    (tmp_path / "ours.py").write_text("text")

    def fails(self, size=-1):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    class Bad:
        def __init__(self, file):
            self.file, self.name = file, file.name

        def __enter__(self):
            return self

        def __exit__(self, *stopped):
            self.file.close()

        fileno = property(lambda self: self.file.fileno)
        read = fails

    real = reading.open_regular
    monkeypatch.setattr(reading, "open_regular", lambda path: Bad(real(path)))
    with pytest.raises(reading.Refused) as caught:
        reading.read_text(tmp_path / "ours.py")
    told = environment_error(caught.value)
    assert told.where == str(tmp_path / "ours.py") and "Input/output error" in told.why
    monkeypatch.setattr(reading.os, "pread", lambda *a: fails(None))
    with real(tmp_path / "ours.py") as file, pytest.raises(reading.Refused) as caught:
        reading.read_part(file, 0, 1)
    assert environment_error(caught.value).where == str(tmp_path / "ours.py")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError("libx.so: cannot allocate memory in static TLS block"),
        RuntimeError("can't start new thread"),
    ],
)
def test_memory_that_runs_out_is_told_with_what_is_left(error, capsys, monkeypatch):
    def fail(*args, **options):
        raise error

    def printing(*args, **options):
        raise MemoryError

    monkeypatch.setattr("recurc.cli.boards.command.callback", fail)
    assert main(["boards"]) == 3
    told = capsys.readouterr().err
    monkeypatch.setattr("recurc.cli.common.output._TextConsole.print", printing)
    assert main(["boards"]) == 3
    assert "ulimit" in told and "bug" not in told and capsys.readouterr().err.split() == told.split()


def test_a_write_that_fails_names_its_file(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            put(tmp_path / "model.rcm", b"x" * 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert environment_error(caught.value).where == str(tmp_path / "model.rcm")
    put(tmp_path / "model.rcm", "ü")
    assert (tmp_path / "model.rcm").read_bytes() == "ü".encode()


def test_limits_are_told_where_a_program_does_not_start(monkeypatch):
    from recurc.targets import toolchain

    for number, said in ((errno.EMFILE, "ulimit -n"), (errno.EAGAIN, "ulimit -u"), (errno.ENOENT, "installation")):
        refused = OSError(number, os.strerror(number))
        monkeypatch.setattr(toolchain.subprocess, "run", lambda *a, refused=refused, **o: (_ for _ in ()).throw(refused))
        with pytest.raises(ToolchainError) as caught:
            toolchain._call(["cc"], "a.c does not compile", "a.c")
        assert said in caught.value.next


@pytest.mark.parametrize("kind", ["pipe", "loop", "file"])
def test_what_is_no_folder_is_called_that(kind, tmp_path, capsys):
    out = tmp_path / "out"
    {"pipe": os.mkfifo, "loop": lambda path: path.symlink_to("out"), "file": lambda path: path.write_text("x")}[kind](out)
    assert main(["convert", "sudoku4-tiny", str(out)]) == 3
    assert "no folder has that name" in capsys.readouterr().err
    if kind == "loop":
        with pytest.raises(InputError, match="Too many levels of symbolic links"):
            write_whole(out, "x", "the page", "Name another")
        assert main(["ci", str(out)]) == 3 and "bug" not in capsys.readouterr().err


def test_what_vanishes_is_told_and_asked_to_be_reported():
    told = environment_error(OSError(errno.ENOENT, "No such file", "x"))
    assert "x" in told.where and "report it if it stays" in told.next


def test_copies_and_temporary_files(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    monkeypatch.setattr(shutil, "copyfile", lambda *a, **k: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(shutil.Error) as caught:
        shutil.copytree(tmp_path / "a", tmp_path / "c", copy_function=shutil.copyfile)
    assert "No space left" in environment_error(caught.value).why
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [])
    with pytest.raises(FileNotFoundError) as missing:
        tempfile._get_default_tempdir()
    assert "TMPDIR" in environment_error(missing.value).next


@pytest.mark.parametrize(
    "number, words", [(errno.EMFILE, "ulimit -n"), (errno.ENOSPC, "Make room"), (errno.EACCES, "can be written in TMPDIR")]
)
def test_why_there_is_no_place_for_temporary_files_is_told(number, words, tmp_path, monkeypatch):
    """`tempfile` itself tells only where it looked, whatever the system said there."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileNotFoundError) as missing:
        tempfile.gettempdir()
    told = environment_error(missing.value)
    assert os.strerror(number) in told.why and words in told.next


@pytest.mark.parametrize("command", ["boards", "--help", "boards --json", "inspect sudoku4-tiny"])
def test_a_reader_that_goes_is_told_by_the_shells_code(command):
    """What is written to a pipe that nobody reads, whoever of click and rich writes it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(["bash", "-c", f"{RUN} {command}"], stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141 and "error" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("command", ["boards", "report sudoku4-tiny", "inspect sudoku4-tiny --json", "inspect nowhere-ü"])
def test_a_terminal_of_few_letters(command):
    """LANG=C: nothing that is printed needs more letters than the terminal has."""
    letters = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}
    environment = {**os.environ, **letters}
    done = subprocess.run([sys.executable, "-m", "recurc", *command.split()], capture_output=True, env=environment)
    assert done.returncode == (3 if "nowhere" in command else 0), done.stderr
    assert (done.stdout + done.stderr).isascii() and b"bug" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("inspect sudoku4-tiny", 0),
        ("run sudoku4-tiny --steps 1", 0),
        ("inspect model", 3),
        ("convert sudoku4-tiny out", 3),
        ("run sudoku4-tiny --steps 1 --out a.npy", 3),
        ("ci b", 3),
    ],
)
def test_the_current_folder_is_gone(command, code, tmp_path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        ["bash", "-c", f"mkdir gone && cd gone && rmdir ../gone && {RUN} {command}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("note: the current folder was removed") and "bug" not in done.stderr
    assert done.stderr.count("error: ") == (code != 0)
