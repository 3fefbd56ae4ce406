"""The user's cache: where it is, what is trusted in it, how much it keeps, and that its trouble is nobody's error."""

import hashlib
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recurc.cachedir import ByteCache, cache_folder

ROOT = Path(__file__).parents[1]
LIMIT = 1 << 20


def key(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


@pytest.fixture
def cache(tmp_path) -> ByteCache:
    return ByteCache(tmp_path / "recurc" / "objects", LIMIT)


def entries(cache: ByteCache) -> list[Path]:
    return sorted(f for f in cache.folder.rglob("*") if f.is_file() and f.name != "written")


def test_the_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("RECURC_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder("sweep") == tmp_path / ".cache" / "recurc" / "sweep"
    monkeypatch.setenv("XDG_CACHE_HOME", "a/relative/one")
    assert cache_folder("sweep") == tmp_path / ".cache" / "recurc" / "sweep"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder("objects") == tmp_path / "x" / "recurc" / "objects"


@pytest.mark.parametrize("value, there", [("off", False), ("OFF", False), ("0", False), ("on", True), ("", True)])
def test_the_environment_switches_it_off(monkeypatch, value, there):
    monkeypatch.setenv("RECURC_CACHE", value)
    assert (cache_folder("objects") is not None) == there


def test_a_user_without_a_home_has_none(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError("no home"))))
    assert cache_folder("objects") is None
    none = ByteCache(None, LIMIT)
    none.put(key(1), b"x")
    assert none.get(key(1)) is None and none.usage().entries == 0


def test_what_is_put_is_got_and_closed_to_others(cache):
    old = os.umask(0)
    try:
        cache.put(key(1), b"one")
        cache.put(key(2), b"")
    finally:
        os.umask(old)
    assert cache.get(key(1)) == b"one" and cache.get(key(2)) == b"" and cache.get(key(3)) is None
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in entries(cache))
    assert cache.usage().entries == 2


def test_a_folder_that_was_open_to_others_is_closed(cache):
    cache.folder.mkdir(parents=True, mode=0o777)
    cache.folder.chmod(0o777)
    cache.put(key(1), b"one")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700 and cache.get(key(1)) == b"one"


@pytest.mark.parametrize("harm", [
    lambda data: data[:-1], lambda data: data[:10], lambda data: b"", lambda data: data + b"x",
    lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], lambda data: b"\0" + data[1:],
])  # fmt: skip
def test_a_damaged_entry_counts_as_absent_and_makes_room(cache, harm):
    cache.put(key(1), b"0123456789" * 100)
    (file,) = entries(cache)
    file.write_bytes(harm(file.read_bytes()))
    assert cache.get(key(1)) is None and entries(cache) == []
    cache.put(key(1), b"again")
    assert cache.get(key(1)) == b"again"


def test_an_entry_under_another_key_counts_as_absent(cache):
    cache.put(key(1), b"one")
    (file,) = entries(cache)
    other = cache.folder / key(2)[:2] / key(2)[2:]
    other.parent.mkdir(exist_ok=True)
    other.hardlink_to(file)
    assert cache.get(key(2)) is None and cache.get(key(1)) == b"one"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_can_write_is_not_used(cache, mode):
    cache.put(key(1), b"one")
    entries(cache)[0].chmod(mode)
    assert cache.get(key(1)) is None


def test_what_belongs_to_another_user_is_not_used(cache, monkeypatch):
    cache.put(key(1), b"one")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert cache.get(key(1)) is None
    assert "belongs to another user" in cache.refusal()
    cache.put(key(2), b"two")
    assert len(entries(cache)) == 1


def test_a_link_and_a_pipe_are_not_followed(cache, tmp_path):
    cache.put(key(1), b"one")
    (file,) = entries(cache)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert cache.get(key(1)) is None
    file.unlink()
    os.mkfifo(file, 0o600)
    assert cache.get(key(1)) is None


@pytest.mark.parametrize("where", ["/proc/none/recurc/objects", "/dev/null/recurc/objects"])
def test_a_folder_that_cannot_be_made_is_no_error(where):
    cache = ByteCache(Path(where), LIMIT)
    cache.put(key(1), b"one")
    assert cache.get(key(1)) is None and cache.refusal() and cache.usage().bytes == 0


def test_a_full_disk_is_no_error_and_leaves_nothing(cache):
    cache.put(key(0), b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        cache.put(key(1), bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.get(key(1)) is None and cache.get(key(0)) == b"before" and len(entries(cache)) == 1


def test_what_was_not_used_for_longest_makes_room(cache):
    size = LIMIT // 64 - 100
    for i in range(40):
        cache.put(key(i), bytes(size))
        file = cache.folder / key(i)[:2] / key(i)[2:]
        os.utime(file, (1000.0 + i, 1000.0 + i))
    assert cache.get(key(0)) is not None  # used now
    for i in range(40, 70):
        cache.put(key(i), bytes(size))
    assert cache.usage().bytes <= LIMIT
    assert cache.get(key(0)) is not None and cache.get(key(69)) is not None
    assert [cache.get(key(i)) for i in range(1, 6)] == [None] * 5


def test_what_a_killed_writer_left_is_removed(cache):
    cache.put(key(1), b"one")
    left, fresh = (entries(cache)[0].parent / name for name in ("tmpold.part", "tmpnew.part"))
    left.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(left, (time.time() - 7200,) * 2)
    for i in range(2, 20):
        cache.put(key(i), bytes(LIMIT // 64))
    assert not left.exists() and fresh.exists() and cache.get(key(1)) == b"one"


def test_processes_that_write_and_make_room_at_once_see_whole_entries(cache):
    code = (
        "import sys, hashlib; from pathlib import Path; from recurc.cachedir import ByteCache\n"
        "cache = ByteCache(Path(sys.argv[1]), 1 << 20)\n"
        "for i in range(400):\n"
        "    n = i % 50; key = hashlib.sha256(b'%d' % n).hexdigest(); want = bytes([n]) * (20000 + n)\n"
        "    assert cache.get(key) in (None, want)\n"
        "    cache.put(key, want)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(cache.folder)], cwd=ROOT) for _ in range(3)]
    assert [p.wait() for p in running] == [0, 0, 0]
    assert cache.usage().bytes <= LIMIT and not list(cache.folder.rglob("*.part"))
