"""Closed and full streams, and other faults of the surroundings: one paragraph, its exit code, and never "a bug"."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from recurc.cli.main import main
from recurc.files import environment_error

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


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENAMETOOLONG", "EMFILE"])
def test_the_systems_refusals_are_no_bugs(number, capsys, monkeypatch):
    number = getattr(errno, number)

    def fail():
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr("recurc.cli.boards.command.callback", lambda **options: fail())
    assert main(["boards"]) == 3
    said = capsys.readouterr().err
    assert "/some/file" in said and os.strerror(number) in said and "bug" not in said and len(said.splitlines()) == 1


def test_what_is_a_mistake_of_ours_stays_one():
    assert environment_error(OSError(errno.ENOENT, "No such file", "x")) is None
    assert environment_error(OSError("no number")) is None and environment_error(ValueError()) is None


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
