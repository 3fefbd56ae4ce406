"""Results kept by content: what is not exactly what was written counts as absent, and a full disk stops no sweep."""

import errno
import os

import numpy as np
import pytest

from recurc.study import units
from recurc.study.store import Store
from recurc.study.variants import Variant
from tests.study.bench import workbench

KEY = "ab" + "0" * 62
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(True)}
VARIANTS = [Variant("int4", "int8-tensor", steps=1)]


def equal(found, wanted) -> bool:
    return (
        found is not None
        and sorted(found) == sorted(wanted)
        and all(found[n].dtype == wanted[n].dtype and np.array_equal(found[n], wanted[n]) for n in wanted)
    )


def test_it_comes_back_under_its_key_only(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, ARRAYS)
    assert equal(store.get(KEY), ARRAYS) and store.get("cd" + KEY[2:]) is None and store.get(KEY[:-1] + "1") is None
    (file,) = [p for p in tmp_path.rglob("*") if p.is_file()]
    file.rename(file.with_name(file.name.replace("000", "111", 1)))
    assert store.get(KEY[:2] + "111" + KEY[5:]) is None, "another key's"


def test_any_damage_counts_as_absent(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, ARRAYS)
    (file,) = [p for p in tmp_path.rglob("*") if p.is_file()]
    good, rng = file.read_bytes(), np.random.default_rng(1)
    bad = [good[:n] for n in (0, 1, 31, 32, 33, len(good) // 2, len(good) - 1)] + [good + b"x", b"\0" * len(good)]
    for at in rng.integers(len(good), size=200):
        bad.append(good[:at] + bytes([good[at] ^ 1 << int(rng.integers(8))]) + good[at + 1 :])
    with open(tmp_path / "other.npz", "wb") as other:
        np.savez(other, **ARRAYS)
    bad.append((tmp_path / "other.npz").read_bytes())
    for data in bad:
        file.write_bytes(data)
        assert store.get(KEY) is None
    store.put(KEY, ARRAYS)
    assert equal(store.get(KEY), ARRAYS)
    file.unlink()
    file.mkdir()
    assert store.get(KEY) is None


WRONG = (
    lambda arrays: {},
    lambda arrays: {**arrays, "more": np.zeros(3)},
    lambda arrays: dict(list(arrays.items())[1:]),
    lambda arrays: {n: a[..., :-1] if a.ndim else a for n, a in arrays.items()},
    lambda arrays: {n: a[None] for n, a in arrays.items()},
    lambda arrays: {f"x|Y|{n}": a for n, a in arrays.items()},
)


def test_readable_but_wrong_entries_are_computed_again(tmp_path, monkeypatch):
    """As a file of another version, or one that was written on purpose: the sums agree, the arrays are not those."""
    put, kept, run, run_part = Store.put, {}, [], units.run_part
    monkeypatch.setattr(Store, "put", lambda self, key, arrays: (kept.update({key: dict(arrays)}), put(self, key, arrays))[1])
    monkeypatch.setattr(units, "run_part", lambda *a: (run.append(1), run_part(*a))[1])
    first = workbench(4, store=Store(tmp_path)).evaluate(VARIANTS)
    assert len(kept) == 2 and len(run) == 1, "weights, and a part"
    good = dict(kept)
    for number, wrong in enumerate(WRONG, start=2):
        for key, arrays in good.items():
            put(Store(tmp_path), key, wrong(arrays))
        kept.clear()
        again = workbench(4, store=Store(tmp_path)).evaluate(VARIANTS)
        assert [o.as_dict() for o in again] == [o.as_dict() for o in first]
        assert sorted(kept) == sorted(good) and len(run) == number
    assert len(workbench(4, store=Store(tmp_path)).evaluate(VARIANTS)) == 1 and len(run) == number


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path, monkeypatch):
    said: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    found = workbench(4, store=Store(tmp_path, said.append)).evaluate(VARIANTS)
    assert found[0].n == 4 and len(said) == 1 and "No space left" in said[0] and "folder=" in said[0]
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    monkeypatch.setattr(os, "fsync", real)
    with pytest.warns(UserWarning, match="not kept"):
        (tmp_path / "file").write_text("")
        Store(tmp_path / "file").put(KEY, ARRAYS)
