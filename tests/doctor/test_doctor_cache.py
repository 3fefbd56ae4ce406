"""What `recurc doctor` says of the cache of compiled objects."""

import pytest

from recurc.doctor.cache import check_cache
from recurc.targets.objectcache import object_cache


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("RECURC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_cache_is_told_with_its_size_and_how_to_clear_it(tmp_path):
    object_cache().put("ab" * 32, bytes(3 << 20))
    (found,) = check_cache()
    assert found.state == "ok" and found.exit_code == 0
    assert str(tmp_path / "recurc" / "objects") in found.detail
    assert "3.0 of 512 MiB in 1 entry" in found.detail and "remove the folder" in found.detail


def test_it_says_that_it_is_off(monkeypatch):
    monkeypatch.setenv("RECURC_CACHE", "off")
    (found,) = check_cache()
    assert found.state == "note" and "off: RECURC_CACHE says so" in found.detail


def test_it_says_why_it_is_not_used(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    (found,) = check_cache()
    assert (found.state, found.exit_code) == ("note", 0) and "is not used: Not a directory" in found.detail and found.next
