"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import threading

import pytest

from recurc import files
from recurc.environment import copy_failure
from recurc.errors import InputError
from recurc.files import whole_file, write_whole

WORDS = {"what": "the page", "next": "Name another file"}


def test_writes_text_and_bytes(tmp_path):
    assert write_whole(tmp_path / "a", "ü\n", **WORDS).read_bytes() == "ü\n".encode()
    write_whole(tmp_path / "a", b"\0\1", **WORDS)
    assert (tmp_path / "a").read_bytes() == b"\0\1"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "mkstemp"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_was_there_stays_when_it_fails(call, number, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    if call == "write":
        monkeypatch.setattr(files.WholeFile, "write", lambda self, data: _raise_through(self, fail))
    else:
        monkeypatch.setattr(
            *{"fsync": (os, "fsync"), "replace": (os, "replace"), "mkstemp": (files.tempfile, "mkstemp")}[call], fail
        )
    with pytest.raises(InputError, match=os.strerror(number)) as caught:
        write_whole(path, "new", **WORDS)
    assert caught.value.where == str(path) and caught.value.next == "Name another file"
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["page.html"]


def _raise_through(watched, fail):
    try:
        fail()
    except OSError as error:
        watched.error = error
        raise


def test_another_files_error_is_not_taken_for_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a", **WORDS):
        open(tmp_path / "not there")
    assert os.listdir(tmp_path) == []


def test_interrupted_it_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a", **WORDS) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "new", **WORDS)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    with pytest.raises(InputError, match="symbolic link"):
        write_whole(tmp_path / "link", "newer", **WORDS, follow=False)
    assert (tmp_path / "real").read_text() == "new"


def test_a_link_in_a_circle_and_a_folder(tmp_path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "x", "new", **WORDS)
    with pytest.raises(InputError, match="directory"):
        write_whole(tmp_path, "new", **WORDS)
    with pytest.raises(InputError, match="No such file"):
        write_whole(tmp_path / "no" / "such", "new", **WORDS)


def test_what_is_no_file_is_written_as_it_is(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, "through", **WORDS)
    reader.join(10)
    assert got == [b"through"] and os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_dev_full_is_a_full_disk():
    with pytest.raises(InputError, match="No space left"):
        write_whole("/dev/full", "x" * 100_000, **WORDS)
    with pytest.raises(InputError, match="No space left"):
        write_whole("/dev/full", "x", **WORDS)


def test_modes_are_those_that_open_gives(tmp_path):
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "x", **WORDS)
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    (tmp_path / "a").chmod(0o600)
    write_whole(tmp_path / "a", "y", **WORDS)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    child = os.fork()
    if not child:
        with whole_file(tmp_path / "a", **WORDS) as file:
            file.write(b"half")
            os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / ".a.mine.part").write_text("mine")
    assert len(os.listdir(tmp_path)) == 2
    with whole_file(tmp_path / "a", **WORDS):  # one that lives is left alone
        write_whole(tmp_path / "a", "b", **WORDS)
        assert len(os.listdir(tmp_path)) == 3
    assert sorted(os.listdir(tmp_path)) == [".a.mine.part", "a"]


def test_a_tree_that_cannot_be_copied_says_why_and_which_file(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "from/a.c").write_text("int a;")

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    with pytest.raises(shutil.Error) as found:
        shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=full)
    assert copy_failure(found.value) == (str(tmp_path / "to/a.c"), "No space left on device")
    assert copy_failure(shutil.Error("the same file")) == ("", "the same file")
