"""A build folder from somewhere else is data: forged ones are refused, and none of its native code runs unasked."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import recurc
from recurc.api import Model
from recurc.build import trust
from recurc.build.listing import MANIFEST, digest_of, file_sha256
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.errors import InputError
from recurc.make.ci import ignored_by_git, write_files
from recurc.package.pio import only_listed
from recurc.targets.boards import load_board
from recurc.targets.chips import whole_text
from tests.report.samples import build_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """A whole build folder that nobody made here: its files are empty, its manifest fits."""
    made = tmp_path / "foreign"
    (made / "project" / "src").mkdir(parents=True)
    (made / "project" / "src" / "model.c").write_text("int x;\n")
    (made / "stm32h7").mkdir()
    path = load_board("stm32h7").path
    (made / "stm32h7" / "board.toml").write_text(whole_text(path.read_text(), path))
    return build_folder(made)


def forge(folder: Path, change) -> None:
    """Change the manifest as an attacker would, and make its digest right again."""
    document = json.loads((folder / MANIFEST).read_text())
    change(document)
    document["digest"] = digest_of(document)
    (folder / MANIFEST).write_text(json.dumps(document))


def listed(folder: Path, name: str) -> None:
    """Put a file of the folder on the list."""
    forge(folder, lambda d: d["files"].update({name: file_sha256(folder / name)}))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as e:
        load_build(folder)
    assert e.value.exit_code == 3
    said = str(e.value)
    assert "not a usable build" in said and not any(ord(c) < 32 and c != "\n" for c in said)
    return said


def set_at(*path):
    """A change that puts the last of `path` where the others lead."""
    *keys, last, value = path

    def change(document):
        for key in keys:
            document = document[key]
        document[last] = value

    return change


def test_the_sample_is_whole_and_not_trusted(folder):
    assert not load_build(folder).trusted and load_build(folder, trust=True).trusted


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [
    "/tmp/evil.so", "../evil.so", "host/../../evil.so", "./librecurc.so", "a//b", "", "librecurc.so/", "a\\b", "x\n.so",
    "\x1b[2J", None, 7, ["librecurc.so"],
])  # fmt: skip
@pytest.mark.parametrize("entry", [
    ("host_library",), ("host_image",), ("boards", "stm32h7", "elf"), ("boards", "host", "image"),
])  # fmt: skip
def test_paths_lead_nowhere_else(folder, entry, path):
    if path is None and entry[-1] == "elf":
        pytest.skip("a board's own SDK compiles it")
    forge(folder, set_at(*entry, path))
    refusal(folder)
    if isinstance(path, str):
        forge(folder, set_at("files", path, "0" * 64))  # listing it does not help
        refusal(folder)


def test_what_is_not_listed_is_not_used(folder):
    (folder / "other.so").write_bytes(b"x")
    forge(folder, set_at("host_library", "other.so"))
    assert "does not list it" in refusal(folder)


@pytest.mark.parametrize("name", ["librecurc.so", "project/src/model.c", "stm32h7/board.toml"])
def test_no_symbolic_link_is_followed(folder, tmp_path, name):
    target = tmp_path / "elsewhere"
    shutil.copyfile(folder / name, target)
    (folder / name).unlink()
    (folder / name).symlink_to(target)
    assert "symbolic link" in refusal(folder) or "not one of the build's" in refusal(folder)


def test_no_linked_folder_is_followed(folder, tmp_path):
    shutil.move(folder / "stm32h7", tmp_path / "moved")
    (folder / "stm32h7").symlink_to(tmp_path / "moved")
    assert "stm32h7 is a symbolic link" in refusal(folder)
    (folder / MANIFEST).rename(tmp_path / "manifest")
    (folder / MANIFEST).symlink_to(tmp_path / "manifest")
    assert "symbolic link" in refusal(folder)


def test_a_pipe_in_place_of_a_file_does_not_hang(folder):
    (folder / "model.rcm").unlink()
    os.mkfifo(folder / "model.rcm")
    assert "no regular file" in refusal(folder)
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    assert "no regular file" in refusal(folder)


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert load_build(tmp_path / "link").name == "model"


# -- sources ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "src/evil.c", "src/boards/stm32h7/extra.c", "lib/evil/library.json", "platformio.ini", "pio/upload.py", "include/rc_wire.h",
    ".pio",
])  # fmt: skip
def test_an_unlisted_source_is_refused_by_name(folder, name):
    file = folder / "project" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("int evil;\n")
    assert f"project/{name} is not one of the build's files" in refusal(folder)


def test_sources_that_cannot_be_listed_are_refused(folder, monkeypatch):
    """A source in a folder that the system does not list would be compiled by whoever may list it."""
    (folder / "project" / "lib").mkdir()
    scandir = os.scandir

    def failing(path):
        if str(path).endswith("lib"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    assert "lib cannot be listed: Input/output error" in refusal(folder)
    monkeypatch.setattr(os, "scandir", scandir)
    build = load_build(folder)
    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(InputError, match="cannot be listed"), only_listed(build):
        raise AssertionError("it was run")


def test_an_unlisted_link_among_the_sources_is_refused(folder, tmp_path):
    (tmp_path / "lib").mkdir()
    (folder / "project" / "lib").symlink_to(tmp_path / "lib")
    assert "project/lib is not one of the build's files" in refusal(folder)


def test_what_platformio_left_is_no_part_of_what_is_flashed(folder):
    for name in (".pio/build/x/firmware.o", "sdkconfig.esp32-s3", "build/CMakeCache.txt"):
        (folder / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "project" / name).write_text("x")
    build = load_build(folder)
    with pytest.raises(InputError, match="build/CMakeCache.txt"), only_listed(build):
        raise AssertionError("it was run")
    shutil.rmtree(folder / "project" / "build")
    with pytest.raises(InputError, match="sdkconfig.esp32-s3"), only_listed(build):
        raise AssertionError("it was run")
    (folder / "project" / "sdkconfig.esp32-s3").unlink()
    with only_listed(build):
        assert not (folder / "project" / ".pio").exists()
        (folder / "project" / "sdkconfig.new").write_text("left by the run")
        (folder / "project" / ".pio").mkdir()
    assert sorted(p.name for p in (folder / "project").iterdir()) == [".pio", "src"]


# -- the manifest's shape ---------------------------------------------------------------------------------------------


HOSTILE = ("\x1b]0;x\x07", "a\nb", "\u202eevil", "x" * 5000, -1, 1 << 70, float("nan"), float("inf"), True, [], {}, None, [[]])


def places(document, path=()):
    """Paths to all values of a document, one of each list."""
    if isinstance(document, dict):
        items = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document))[:1]
    else:
        items = []
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def test_every_value_of_another_kind_is_refused_or_harmless(folder, capsys):
    """Each value in turn becomes each hostile one. What loads can be reported; nothing ends as a bug of ours."""
    good = json.loads((folder / MANIFEST).read_text())
    paths = [p for p in places(good) if p[0] not in ("digest",)]
    assert len(paths) > 150
    loaded = 0
    for i, path in enumerate(paths):
        value = HOSTILE[i % len(HOSTILE)]
        document = json.loads(json.dumps(good))
        set_at(*path, value)(document)
        document["digest"] = digest_of(document)
        (folder / MANIFEST).write_text(json.dumps(document))
        code = main(["report", str(folder)])
        said = capsys.readouterr()
        assert code in (0, 2, 3), (path, value, said.err)
        loaded += code == 0
    assert loaded < len(paths) / 4


@pytest.mark.parametrize("change", [
    set_at("surprise", 1), set_at("boards", "stm32h7", "surprise", 1), set_at("config", "surprise", 1),
    set_at("boards", "../../x", None), set_at("target", "other"), set_at("steps", 0), set_at("config", "num_heads", 0),
    set_at("name", "evil\nname"), set_at("files", "librecurc.so", "x"), set_at("files", {}), set_at("boards", {}),
])  # fmt: skip
def test_a_forged_entry_is_refused(folder, change):
    forge(folder, change)
    refusal(folder)


@pytest.mark.parametrize("text", [
    "[" * 100_000, '{"a":' * 100_000, '{"schema": ' + "9" * 5000 + "}", "nul", '"x"', "\xff\xfe", "",
])  # fmt: skip
def test_a_manifest_that_is_no_json_is_refused(folder, text):
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))
    refusal(folder)


def test_a_manifest_without_end_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("recurc.build.manifest.LARGEST_MANIFEST", 1000)
    assert "more than 1,000 bytes" in refusal(folder)


def test_a_board_file_in_a_build_is_read_as_strictly_as_any(folder):
    board = folder / "stm32h7" / "board.toml"
    board.write_text(board.read_text().replace('"-mthumb"', '"-wrapper", "/tmp/evil"'))
    listed(folder, "stm32h7/board.toml")
    build = load_build(folder)
    with pytest.raises(InputError, match="-wrapper"):
        build.board("stm32h7")
    board.unlink()
    board.symlink_to("/dev/zero")
    forge(folder, lambda d: d["files"].pop("stm32h7/board.toml"))
    assert load_build(folder).board("stm32h7").path == load_board("stm32h7").path, "what is not listed is not read"


# -- native code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ("verify", "--on", "host"), ("verify", "--on", "qemu"), ("verify", "--on", "tcp://127.0.0.1:9"), ("flash",),
    ("run", "--tokens", "1"), ("run", "--on", "qemu", "--tokens", "1"),
])  # fmt: skip
def test_native_code_is_not_run_unasked(folder, tmp_path, capsys, arguments, monkeypatch):
    def loaded(*a, **k):
        raise AssertionError("something of the build was run")

    monkeypatch.setattr("recurc.targets.host.ctypes.CDLL", loaded)
    monkeypatch.setattr("subprocess.Popen", loaded)
    command, *more = arguments
    assert main([command, str(folder), *more]) == 3
    said = capsys.readouterr().err
    assert "not made here" in said and "--trust-build" in said and "\n" not in said.strip()


def test_python_callers_are_asked_too(folder):
    with pytest.raises(trust.UntrustedBuildError, match="trust=True"):
        recurc.verify(folder, on="host", dataset=object())
    with pytest.raises(trust.UntrustedBuildError):
        _ = load_build(folder).host_library
    for on in ("host", "qemu"):
        with pytest.raises(trust.UntrustedBuildError), recurc.connect(folder, on=on):
            raise AssertionError("it was run")
    assert load_build(folder, trust=True).host_library == folder / "librecurc.so"


def test_reading_needs_no_trust(folder, capsys):
    assert main(["report", str(folder)]) == 0
    assert main(["doctor", str(folder)]) in (0, 6)
    capsys.readouterr()


# -- the record -------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "recurc" / "builds"


def stated_digest(folder: Path) -> str:
    return json.loads((folder / MANIFEST).read_text())["digest"]


def test_a_build_of_this_user_is_known_wherever_it_lies(folder, state, tmp_path):
    assert trust.remember(stated_digest(folder), folder)
    assert os.stat(state).st_mode & 0o777 == 0o700
    assert load_build(folder).trusted
    assert load_build(shutil.copytree(folder, tmp_path / "copy")).trusted
    (folder / "project" / "src" / "model.c").write_text("int evil;\n")
    listed(folder, "project/src/model.c")
    assert not load_build(folder).trusted, "another manifest is another build"


def test_a_record_that_others_may_write_counts_for_nothing(folder, state, tmp_path):
    trust.remember(stated_digest(folder), folder)
    os.chmod(state, 0o777)
    assert not load_build(folder).trusted and not trust.remember(stated_digest(folder), folder)
    os.chmod(state, 0o700)
    os.chmod(state / stated_digest(folder), 0o666)
    assert not load_build(folder).trusted
    (state / stated_digest(folder)).unlink()
    (tmp_path / "x").write_text("")
    (state / stated_digest(folder)).symlink_to(tmp_path / "x")
    assert not load_build(folder).trusted
    state.rename(tmp_path / "moved")
    state.symlink_to(tmp_path / "moved")
    assert not load_build(folder).trusted


def test_without_a_home_nothing_is_known_and_nothing_fails(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(trust.Path, "home", classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError("no home"))))
    assert trust.record_folder() is None and not trust.remember(stated_digest(folder), folder)
    assert not load_build(folder).trusted
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert not trust.remember(stated_digest(folder), folder)


def test_the_record_does_not_grow_without_end(state, tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "MOST_RECORDS", 3)
    for i in range(6):
        assert trust.remember(f"{i:064x}", tmp_path)
        os.utime(state / f"{i:064x}", (i, i))
    assert sorted(p.name for p in state.iterdir()) == [f"{i:064x}" for i in (3, 4, 5)]
    for bad in ("../x", "", "A" * 64, "0" * 63):
        assert not trust.remember(bad, tmp_path) and not trust.known(bad)


# -- writing ----------------------------------------------------------------------------------------------------------


def test_no_link_in_a_build_is_written_through(folder, tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("report.html", "verified.json", "verify-host.jsonl"):
        (folder / name).symlink_to(precious)
    assert main(["report", str(folder), "--html"]) == 3
    assert "symbolic link" in capsys.readouterr().err
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("link", [".github", ".github/workflows", ".github/workflows/recurc.yml", "recurc-ci"])
def test_ci_writes_through_no_link_of_a_repository(tmp_path, link):
    root, outside = tmp_path / "repository", tmp_path / "outside"
    (root / link).parent.mkdir(parents=True)
    outside.mkdir()
    target = outside / "file" if link.endswith(".yml") else outside
    if target != outside:
        target.write_text("mine")
    (root / link).symlink_to(target)
    with pytest.raises(InputError, match="symbolic link"):
        write_files(root, {".github/workflows/recurc.yml": b"x", "recurc-ci/data/x.npy": b"x"}, force=True)
    assert [p.name for p in outside.rglob("*")] in ([], ["file"])
    assert target == outside or target.read_text() == "mine"


def test_git_runs_no_program_of_the_repository(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("no git")
    root, mark = tmp_path / "repository", tmp_path / "mark"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(root), "config", "core.fsmonitor", str(hook)], check=True)
    (root / "x").write_text("")
    subprocess.run(["git", "-C", str(root), "-c", "core.fsmonitor=false", "add", "x"], check=True)
    assert ignored_by_git(root, root / "x") is False and not mark.exists()


def test_a_models_name_has_no_control_character():
    reasoner = recurc.load("sudoku4-tiny").reasoner
    for name in ("a\nb", "\x1b[2J", "\u202ex"):
        with pytest.raises(InputError, match="the model's name has a control character"):
            Model(reasoner, name)
