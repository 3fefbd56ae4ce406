"""A rebuild keeps what is the user's, and a process that is killed at any call loses neither that nor the last good build."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

from recurc.build import swap
from recurc.build.folder import check_output, fresh_folder
from recurc.build.listing import MANIFEST
from recurc.errors import InputError, UsageError
from tests.build.folders import MINE, NEW, OLD, fill, holds, put, rebuild, whole
from tests.killed import fails_at, killed_at

STEP = 4  # of the calls that fail, one of so many is tried; 1: each


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Nothing waits for a disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def out(tmp_path) -> Path:
    """A build with files of the user's in it."""
    folder = tmp_path / "top" / "b"
    folder.mkdir(parents=True)
    fill(folder, OLD)
    put(folder, MINE)
    return folder


def test_a_rebuild_keeps_what_it_did_not_make(out):
    kept: list[str] = []
    rebuild(out, kept=kept.extend)
    assert holds(out, {**NEW, **MINE}) and whole(out)
    assert not (out / "only-old/firmware.elf").exists()
    assert sorted(kept) == [
        ".git",
        "empty",
        "link",
        "notes.txt",
        "only-old/kept.txt",
        "report.html",
        "src/own",
        "src/todo",
        "verified.json",
        "verify-host.jsonl",
    ]
    assert os.listdir(out.parent) == ["b"]
    rebuild(out, OLD)
    assert holds(out, {**OLD, **MINE}) and not (out / "deep").exists()


def test_an_open_journal_goes_on_in_the_new_folder(out):
    with open(out / "verify-host.jsonl", "a") as file:
        rebuild(out)
        file.write("more\n")
    assert (out / "verify-host.jsonl").read_text() == "{}\nmore\n"


@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_any_call_nothing_is_lost(out, exchange, tmp_path):
    made = 0
    while True:
        killed = killed_at(made, lambda: rebuild(out), exchange)
        good = [p for p in out.parent.iterdir() if whole(p) and (p == out or ".swap-" in p.name)]
        assert good, made
        for name, text in MINE.items():
            assert any(holds(p, {name: text}) for p in out.parent.iterdir() if p == out or ".swap-" in p.name), (made, name)
        if not (made % 2):  # whoever looks first: another command, or the next build
            swap.look_at(out)
            assert whole(out) and holds(out, MINE), made
            assert not [p for p in out.parent.iterdir() if ".swap-" in p.name], made
        rebuild(out, OLD)
        assert holds(out, {**OLD, **MINE}) and whole(out), made
        assert os.listdir(out.parent) == ["b"], made
        if not killed:
            break
        made += 1
    assert made > 50


@pytest.mark.parametrize("exchange", [True, False])
def test_killed_at_any_call_of_the_recovery_nothing_is_lost(out, exchange):
    """The old folder is half emptied; then the process that tidies up is killed, again and again."""
    first = next(
        n
        for n in range(60, 1000)
        if killed_at(n, lambda: rebuild(out), exchange)
        and ([p for p in out.parent.iterdir() if ".swap-" in p.name] and holds(out, NEW))
    )
    assert first
    rounds = 0
    while killed_at(3 + rounds % 17, lambda: swap.look_at(out), exchange):
        rounds += 1
        assert whole(out) and rounds < 200
    assert holds(out, {**NEW, **MINE}) and os.listdir(out.parent) == ["b"]


def _rebuilt(out: Path, said: list[str]) -> str:
    with fresh_folder(out, "model", said.append) as folder:
        try:
            fill(folder, NEW)
        except OSError as error:
            raise InputError("the build's own files") from error
    return "built"


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("exchange", [True, False])
def test_whichever_call_fails_what_is_said_is_true(out, exchange, lasting):
    """A build that failed has left the old one, with all of the user's; one that did not is there."""
    made = lasting + 2 * exchange
    while True:
        said: list[str] = []
        found = fails_at(made, partial(_rebuilt, out, said), errno.EIO, lasting, exchange)
        if lasting:  # whoever comes next, when the disk is well again, finds all
            swap.look_at(out)
        there = NEW if found in ("built", None) else OLD
        if found not in ("built", None) and not isinstance(found, InputError):
            raise AssertionError(f"call {made}") from found
        assert whole(out) and holds(out, there), (made, found, said)
        assert said or holds(out, MINE), (made, found)
        swap.look_at(out)
        assert whole(out) and holds(out, {**there, **MINE}), (made, found)
        rebuild(out, OLD)
        assert holds(out, {**OLD, **MINE}), made
        for left in set(os.listdir(out.parent)) - {"b"}:  # of this process, which lives
            assert lasting and left.startswith(f".b.partial-{os.getpid()}-"), (made, left)
            shutil.rmtree(out.parent / left)
        if found is None:
            break
        made += STEP
    assert made > 50


def test_a_missing_folder_is_restored_before_anything_is_removed(out, tmp_path):
    """As an earlier recurc left it: the old build under the name of a half, DIR missing."""
    for name in (".b.swap-1-abc", f".b.partial-{2**22 + 1}-abc-old"):
        out.rename(out.parent / name)
        check_output(out)
        assert holds(out, {**OLD, **MINE})
        out.rename(out.parent / name)
        rebuild(out)
        assert holds(out, {**NEW, **MINE}) and os.listdir(out.parent) == ["b"]
        rebuild(out, OLD)


def test_builds_that_end_at_once_never_mix(out, monkeypatch):
    def build(text: str) -> None:
        for _ in range(5):
            rebuild(out, {name: text for name in (*NEW, f"only-{text}")})

    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    threads = [threading.Thread(target=build, args=(text,)) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert whole(out) and holds(out, MINE) and os.listdir(out.parent) == ["b"]
    assert len({(out / name).read_text() for name in NEW}) == 1 and len(list(out.glob("only-?"))) == 1


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(out: Path, named: Path, files=NEW, kind=UsageError) -> None:
    before = {p: p.is_file() and p.read_bytes() for p in sorted(out.parent.rglob("*"))}
    with pytest.raises(kind) as error:
        rebuild(out, files)
    assert error.value.where == str(named), error.value
    assert {p: p.is_file() and p.read_bytes() for p in sorted(out.parent.rglob("*"))} == before


def test_a_changed_file_of_the_build_is_refused_by_name(out):
    (out / "src/model.c").write_text("changed by hand")
    with pytest.raises(UsageError, match="was changed"):
        check_output(out)
    refused(out, out / "src/model.c")


@pytest.mark.parametrize("name", ["src", "src/model.c"])
def test_a_link_or_folder_in_place_of_a_file_of_the_build(out, name, tmp_path):
    (out / name).rename(tmp_path / "elsewhere")
    (out / name).symlink_to(tmp_path / "elsewhere")
    refused(out, out / name)
    if name == "src/model.c":
        (out / name).unlink()
        put(out / name, {"in it": "mine"})
        refused(out, out / name)


def test_a_missing_file_of_the_build_is_no_loss(out):
    (out / "src/model.c").unlink()
    rebuild(out)
    assert holds(out, {**NEW, **MINE})


@pytest.mark.parametrize(("mine", "named"), [
    ({"deep": "a file where a folder comes"}, "deep"), ({"src/more.c": "mine"}, "src/more.c"),
    ({"deep/er": "mine"}, "deep/er"), ({"src/more.c/x": "mine"}, "src/more.c"), ({"deep/er/b": "mine"}, "deep/er/b"),
    ({"deep/er/b/c": "mine"}, "deep/er/b"),
])  # fmt: skip
def test_a_file_where_the_new_build_has_one_is_refused_by_name(out, mine, named):
    put(out, mine)
    refused(out, out / named)


def test_a_file_where_the_new_build_has_a_folders_parent(out):
    refused(out, out / "only-old", {"only-old": "now a file"})


def test_a_folder_of_the_users_is_joined_with_one_of_the_builds(out):
    put(out, {"deep/mine": "mine"})
    rebuild(out)
    assert holds(out, {**NEW, **MINE, "deep/mine": "mine"})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema": "recurc/build-folder/1"}', "damaged", "[" * 100_000])
def test_a_manifest_that_is_not_ours_is_refused(out, text):
    if text == "damaged":
        text = (out / MANIFEST).read_text().replace("model.c", "model.h")
    (out / MANIFEST).write_text(text)
    refused(out, out)


def test_a_manifest_cannot_name_files_outside(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "b").mkdir()
    fill(tmp_path / "b", {"../precious": "mine"})
    refused(tmp_path / "b", tmp_path / "b")
    fill(tmp_path / "b", {str(tmp_path / "precious"): "mine"})
    refused(tmp_path / "b", tmp_path / "b")


def test_files_of_the_user_in_a_swap_folder_never_overwrite(out):
    """Both the old folder and the new one have a file of that name: both stay."""
    old = out.parent / ".b.swap-1-abc"
    fill(old, OLD)
    put(old, {"notes.txt": "another", "notes.txt.kept-1": "a third"})
    rebuild(out)
    texts = {(out / name).read_text() for name in os.listdir(out) if name.startswith("notes.txt")}
    assert texts == {"mine", "another", "a third"} and os.listdir(out.parent) == ["b"]


def test_an_old_folder_is_left_alone_where_there_is_no_build(out):
    old = out.parent / ".b.swap-1-abc"
    out.rename(old)
    put(out, {"thesis": "mine"})
    said: list[str] = []
    with pytest.raises(UsageError, match="holds something else"):
        check_output(out, said.append)
    assert holds(old, {**OLD, **MINE}) and str(old) in said[0]


# -- links and mounts -------------------------------------------------------------------------------------------------


def test_a_link_stays_a_link(out, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(out)
    with fresh_folder(link) as folder:
        assert folder.parent == out.parent
        fill(folder, NEW)
    assert link.is_symlink() and holds(out, {**NEW, **MINE})
    link.unlink()
    link.symlink_to("made/later")
    rebuild(link)
    assert link.is_symlink() and holds(tmp_path / "made/later", NEW)
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(UsageError, match="no folder"):
        check_output(link)


def test_a_mount_is_refused_before_any_work(out, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda p: Path(p) == out)
    with pytest.raises(InputError, match="mounted there"):
        check_output(out)


def test_the_build_of_another_model_is_told(out):
    said: list[str] = []
    with fresh_folder(out, "another", said.append) as folder:
        fill(folder, NEW, "another")
    assert len(said) == 1 and "model for host" in said[0]
    with fresh_folder(out, "another", said.append) as folder:
        fill(folder, NEW, "another")
    assert len(said) == 1


def test_a_long_name(tmp_path):
    out = tmp_path / ("n" * 255)
    rebuild(out)
    rebuild(out, OLD)
    assert whole(out) and os.listdir(tmp_path) == [out.name]
