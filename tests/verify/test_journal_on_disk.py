"""What a journal has told is on disk: after a power cut only what was synced is there."""

from __future__ import annotations

import errno
import os

import pytest

from recurc.errors import DeviceUnreachableError, InputError
from recurc.verify.journal import Journal
from tests.verify.journals import RESULTS, RUN


class Disk:
    """Watches this process's files: which hold bytes, by inode, that a power cut would lose."""

    def __init__(self, monkeypatch) -> None:
        self.unsynced: set[int] = set()
        self.synced: set[int] = set()
        self.broken = False  # a disk that no longer takes what is synced to it
        real = {name: getattr(os, name) for name in ("write", "pwrite", "writev", "ftruncate", "fsync", "fdatasync")}

        def changes(name):
            def call(file, *args):
                self.unsynced.add(os.fstat(file).st_ino)
                return real[name](file, *args)

            return call

        def syncs(name):
            def call(file):
                if self.broken:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                real[name](file)
                self.unsynced.discard(os.fstat(file).st_ino)
                self.synced.add(os.fstat(file).st_ino)

            return call

        for name in real:
            monkeypatch.setattr(os, name, (syncs if "sync" in name else changes)(name))


def test_a_result_is_synced_before_it_is_told(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with Journal(tmp_path / "j.jsonl", RUN) as journal:
        inode = (tmp_path / "j.jsonl").stat().st_ino
        assert inode in disk.synced and not disk.unsynced, "the header"
        assert tmp_path.stat().st_ino in disk.synced, "the file's name"
        for result in RESULTS:
            disk.synced.clear()
            journal.append(result)
            assert inode in disk.synced and not disk.unsynced


def test_one_gone_on_with_is_synced_too(tmp_path, monkeypatch):
    with Journal(tmp_path / "j.jsonl", RUN) as journal:
        journal.append(RESULTS[0])
    disk = Disk(monkeypatch)
    with Journal(tmp_path / "j.jsonl", RUN, resume=True) as journal:
        journal.append(RESULTS[1])
        assert not disk.unsynced and (tmp_path / "j.jsonl").stat().st_ino in disk.synced


def test_what_cannot_be_synced_is_not_told(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    with Journal(tmp_path / "j.jsonl", RUN) as journal:
        disk.broken = True
        with pytest.raises(InputError, match="cannot be written"):
            journal.append(RESULTS[0])


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINTR])
def test_a_filesystem_without_locks_has_journals_too(number, tmp_path, monkeypatch):
    """Nobody is said to write to it."""

    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("recurc.verify.journal.fcntl.flock", refuse)
    with Journal(tmp_path / "j.jsonl", RUN, resume=False) as journal:
        journal.append(RESULTS[0])
    with Journal(tmp_path / "j.jsonl", RUN, resume=True) as journal:
        assert list(journal.results) == [RESULTS[0].puzzle]


def test_ports_are_opened_where_locks_have_no_room(tmp_path, monkeypatch):
    from recurc.device import ports

    monkeypatch.setattr(ports, "lock_folder", lambda: tmp_path)
    write = os.write

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ports.os, "write", refuse)
    lock = ports.PortLock("socket://nowhere:1")
    monkeypatch.setattr(ports.os, "write", write)
    with pytest.raises(DeviceUnreachableError, match="another process"):
        ports.PortLock("socket://nowhere:1")
    lock.release()
    monkeypatch.setattr(ports.fcntl, "flock", refuse)
    ports.PortLock("socket://nowhere:1").release()
