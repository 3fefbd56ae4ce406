"""The generated PlatformIO project, built by the real PlatformIO with the network taken away."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from recurc.build.listing import file_sha256
from recurc.errors import InputError, ToolchainError, UsageError
from recurc.resources import resource_dir
from recurc.targets import platformio as pio
from recurc.targets.boards import load_board
from tests.pio.local import LOCAL_FOLDERS


def offline(command: list[str]) -> list[str]:
    """The command without a network, where that can be arranged."""
    allowed = os.geteuid() == 0 and shutil.which("unshare")
    if allowed and subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode == 0:
        return ["unshare", "-n", *command]
    return command


def test_pio_run_gives_the_builds_own_elf_offline_in_any_folder(made, project, tmp_path):
    """As a user calls it: no private core folder named, an empty home, a path that shells and linkers stumble over."""
    copy = shutil.copytree(project, tmp_path / "it's;(100%s),a=ü&b", ignore=shutil.ignore_patterns(".pio"))
    home = tmp_path / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO")}
    done = subprocess.run(
        offline([sys.executable, "-m", "platformio", "run", "-e", "stm32h7", "-e", "mps2-an500"]), cwd=copy,
        env={**kept, "HOME": str(home)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for board in ("stm32h7", "mps2-an500"):
        elf = copy / ".pio" / "build" / board / "firmware.elf"
        assert file_sha256(elf) == file_sha256(made.boards[board].elf), f"{board}: other bytes than gcc called directly"
    binary = (copy / ".pio" / "build" / "stm32h7" / "firmware.bin").read_bytes()
    assert made.boards["stm32h7"].image.read_bytes() in binary and len(binary) < load_board("stm32h7").region("flash").size
    flash = re.search(r"Flash:.*used (\d+) bytes", done.stdout)
    assert flash and int(flash[1]) > made.boards["stm32h7"].image.stat().st_size, "PlatformIO counts the weights"
    assert not list(home.iterdir()), "nothing is written outside the project"
    assert (copy / ".pio" / "core" / "packages" / "tool-scons" / ".piopm").is_file()


@pytest.mark.parametrize("folder", ["plain", "sp ace", "Ben's", "a;b", "(copy)", "a&b", "Ben's (copy) & more", "back\\slash"])
def test_words_of_the_projects_flags_reach_the_compiler(folder):
    """As SCons hands them on: $$ is $, and words with blanks get quotation marks."""
    folders = importlib.util.spec_from_file_location("flags", resource_dir("templates") / "platformio/firmware_flags.py")
    flags = importlib.util.module_from_spec(folders)
    folders.loader.exec_module(flags)
    word = flags.shell_word(f"-I/x/{folder}/include").replace("$$", "$")
    quoted = f'"{word}"' if " " in word else word
    done = subprocess.run(["sh", "-c", f"printf %s {quoted}"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"-I/x/{folder}/include", "")


@pytest.mark.parametrize("character", '$"`')
def test_a_folder_that_platformio_cannot_work_in_is_refused(project, tmp_path, character):
    env = pio.environment(project, "mps2-an500")
    moved = pio.Environment(tmp_path / f"a{character}b", env.name, env.platform, env.options)
    with pytest.raises(InputError, match="a folder of that name") as refused:
        pio.preflight(moved)
    assert repr(character) in str(refused.value)


def test_a_change_is_built_and_nothing_else(project, tmp_path):
    """New weights and new linker scripts are seen; what did not change is not compiled again."""
    copy = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns(".pio"))
    env = pio.environment(copy, "mps2-an500")
    pio.run(env)
    first = env.elf.read_bytes()
    said = pio.run(env)
    assert "Compiling" not in said and "Linking" not in said and env.elf.read_bytes() == first
    image = copy / "src" / "model.rcm"
    image.write_bytes(image.read_bytes()[:-1] + b"\x55")
    assembly = copy / "src" / "weights.S"  # recurc writes the image's checksum there
    assembly.write_text(assembly.read_text().replace("The image", "Another image", 1))
    said = pio.run(env)
    assert re.findall(r"Compiling \S+/(\S+\.o)", said) == ["weights.o"] and "Linking" in said
    script = copy / "pio" / "ld" / "mps2-an500.ld"
    script.write_text(script.read_text().replace("LENGTH = 0x00400000", "LENGTH = 0x00001000", 1))
    with pytest.raises(ToolchainError, match="overflowed") as e:
        pio.run(env)
    assert e.value.exit_code == 6


def test_the_project_reads_like_one(made, project):
    for file in (f for f in project.rglob("*") if f.is_file() and ".pio" not in f.parts and f.suffix not in (".rcm", ".rct")):
        assert not LOCAL_FOLDERS.search(file.read_text()), f"{file} names a folder of this computer"
    library = json.loads((project / "lib" / "recurc_runtime" / "library.json").read_text())
    assert library["name"] == "recurc_runtime" and re.fullmatch(r"\d+\.\d+\.\d+\S*", library["version"])
    assert all((project / "lib" / "recurc_runtime" / "include" / h).is_file() for h in library["headers"])
    readme = (project / "README.md").read_text()
    assert "neither firmware nor upload has been run on the part" in readme and "0x90000000" in readme
    assert [e.name for e in pio.environments(project).values()] == ["stm32h7", "mps2-an500", "stm32h7-stock"]
    for name in re.findall(r"`((?:src|lib|pio)/[\w./-]+)`", readme):
        assert (project / name).exists(), f"the README names {name}"
    assert not (project / "test").exists(), "PlatformIO would ask its registry for a test framework"
    sources = {str(f.relative_to(made.path)) for f in project.rglob("*.c") if ".pio" not in f.parts}
    assert len(sources) > 20 and sources <= set(made.details["files"])


# -- preflight --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stock(project):
    return pio.environment(project, "stm32h7-stock")


@pytest.fixture
def empty_core(monkeypatch, tmp_path):
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "core"


def _refuse():
    raise OSError("refused")


def test_a_registry_that_swallows_packets_is_found_out_in_two_seconds(stock, empty_core, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(pio.socket, "create_connection", lambda *a, **k: over.wait(60) and _refuse())
    started = time.monotonic()
    with pytest.raises(ToolchainError, match="registry cannot be reached.*ststm32.*no answer within 2 s") as e:
        pio.run(stock)
    assert time.monotonic() - started < 4 and e.value.exit_code == 6 and str(empty_core) in e.value.why
    over.set()


def test_preflight_asks_the_registry_or_the_proxy_and_nobody_when_it_is_not_needed(stock, project, empty_core, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(pio, "REGISTRY", server.getsockname())
        pio.preflight(stock)
        monkeypatch.setattr(pio, "REGISTRY", ("127.0.0.1", 1))
        with pytest.raises(ToolchainError, match="refused"):
            pio.preflight(stock)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        pio.preflight(stock)
        monkeypatch.delenv("HTTPS_PROXY")
    pio.preflight(pio.environment(project, "mps2-an500"))
    (empty_core / "platforms" / "ststm32").mkdir(parents=True)
    pio.preflight(stock)


@pytest.mark.parametrize("package, message", [("platformio", "PlatformIO is not installed"), ("SCons", "without a network")])
def test_what_is_not_installed_is_named_with_its_cure(project, monkeypatch, package, message):
    find = pio.importlib.util.find_spec
    monkeypatch.setattr(pio.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ToolchainError, match=message) as e:
        pio.preflight(pio.environment(project, "mps2-an500"))
    assert "pip install" in e.value.next
    assert (pio.find_platformio() is None) == (package == "platformio")


def test_no_project_and_no_environment_are_mistakes_of_the_user(project, tmp_path):
    with pytest.raises(InputError, match="no PlatformIO project"):
        pio.environments(tmp_path)
    with pytest.raises(UsageError, match="it has stm32h7, mps2-an500"):
        pio.environment(project, "nucleo")


def test_a_run_that_never_ends_is_ended(project, monkeypatch):
    env = pio.environment(project, "mps2-an500")
    script = project.parent / "sleep.sh"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(pio.sys, "executable", str(script))
    with pytest.raises(ToolchainError, match="stopped after 0.5 s"):
        pio.run(env, timeout=0.5)
