"""Compilers, emulators, packages: what is there, what is too old, what is missing, and never a hang."""

import dataclasses
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from recurc.doctor import python as packages
from recurc.doctor.findings import Finding, verdict, within
from recurc.doctor.tools import check_compilers, check_emulators, said_by, version_in
from recurc.targets import platformio
from recurc.targets.boards import list_boards, load_board
from tests.tools import need

BOARDS = list_boards()
ARM = [b for b in BOARDS if b.family == "arm"]


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Puts a shell script on a PATH that has nothing else but the shell's own tools."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")

    def add(name: str, body: str) -> str:
        file = folder / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return str(file)

    return add


def the(findings: list[Finding], name: str) -> Finding:
    (found,) = (f for f in findings if f.name == name)
    return found


def test_what_is_installed_is_ok_with_its_version():
    need("mps2-an500")
    found = the(check_compilers(ARM, {"arm"}), "Arm boards")
    assert found.state == "ok" and found.exit_code == 0
    assert version_in(found.detail) >= (10,)
    found = the(check_emulators(ARM, {"qemu-system-arm"}), "qemu-system-arm")
    assert found.state == "ok" and "QEMU" in found.detail


def test_every_family_has_a_line():
    names = {f.name for f in check_compilers(BOARDS, {"host"})}
    assert {"this computer", "Arm boards", "RISC-V boards"} <= names


@pytest.mark.parametrize("needed, code", [({"riscv"}, 6), (set(), 0)])
def test_a_missing_compiler_names_its_package_and_counts_when_needed(monkeypatch, needed, code):
    monkeypatch.setenv("PATH", "/nonexistent")
    found = the(check_compilers(BOARDS, needed), "RISC-V boards")
    assert found.state == "missing" and found.exit_code == code
    assert "apt-get install gcc-riscv64-unknown-elf" in found.next
    assert needed or "only for riscv32-v-virt, riscv32-virt" in found.detail


@pytest.mark.parametrize(
    "says, why",
    [
        ("echo 'arm-none-eabi-gcc (x) 9.3.1'", "too old: GCC 10 or newer"),
        ("echo 'Debian clang version 14.0.6'", "is Clang"),
        ("echo oops >&2; exit 1", "--version fails: oops"),
        ("exit 0", "it said nothing"),
    ],
)
def test_an_unfit_compiler_is_a_problem(tool, says, why):
    tool("arm-none-eabi-gcc", says)
    (found,) = check_compilers(ARM, {"arm"})
    assert found.state == "problem" and found.exit_code == 6 and why in found.detail and "RECURC_ARM_GCC" in found.next


def test_clang_serves_for_this_computer(tool):
    tool("gcc", "echo 'Debian clang version 14.0.6'")
    (found,) = check_compilers([load_board("host")], {"host"})
    assert found.state == "ok" and found.exit_code == 0


def test_a_compiler_that_does_not_know_a_core_names_the_boards(monkeypatch):
    need("mps2-an500")
    odd = dataclasses.replace(load_board("mps2-an500"), name="odd", cpu_flags=("-mcpu=cortex-m99", "-mthumb"))
    (found,) = check_compilers([*ARM, odd], {"arm"})
    assert found.state == "problem" and "cannot build for odd: unrecognized -mcpu target: cortex-m99" in found.detail


def test_an_emulator_without_the_machine_or_too_old_is_a_problem(tool):
    script = 'case "$1" in --version) echo "QEMU emulator version {}";; *) echo "mps2-an500 Arm MPS2";; esac'
    tool("qemu-system-arm", script.format("7.2.0"))
    found = the(check_emulators(ARM, {"qemu-system-arm"}), "qemu-system-arm")
    assert found.state == "problem" and "has no machine mps2-an386, mps2-an505, mps3-an547" in found.detail
    tool("qemu-system-arm", script.format("5.2.0"))
    assert "too old: 7.0" in the(check_emulators(ARM, set()), "qemu-system-arm").detail


def test_a_tool_that_hangs_is_cut_off(tool):
    begun = time.monotonic()
    status, text = said_by([tool("slow", "exec sleep 30")], seconds=0.2)
    assert status == -1 and "no answer within 0.2 s" in text and time.monotonic() - begun < 5


def test_within_gives_up_and_hands_errors_on():
    begun = time.monotonic()
    assert within(0.1, lambda: time.sleep(30), lambda: "gave up") == "gave up" and time.monotonic() - begun < 5
    assert within(5, lambda: "in time", lambda: "gave up") == "in time"
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0, lambda: 0)


def test_the_verdict_is_the_end_of_the_chain():
    assert verdict([]) == 0
    assert verdict([Finding("g", "n", "missing", "d", exit_code=c) for c in (3, 7, 6, 0)]) == 7


def test_python_and_the_required_packages():
    findings = packages.check_packages()
    assert the(findings, "Python").detail.endswith(sys.executable)
    if the(findings, "Python") is not findings[-1] and any(f.name == "required packages" for f in findings):
        assert all(name in the(findings, "required packages").detail for name in ("numpy", "torch", "pyserial"))


@pytest.mark.parametrize(
    "requirement, state, code",
    [
        ("numpy>=1.26", "ok", 0),
        ("numpy>=999", "problem", 6),
        ("click!=8.3.*,<8.6,>=8.1", "ok", 0),
        ("no-such-package-at-all>=1", "missing", 6),
        ("no-such-package-at-all>=1; extra == 'plots'", "missing", 0),
    ],
)
def test_a_requirement(requirement, state, code):
    found = packages._package(requirement)
    assert found is not None and (found.state, found.exit_code) == (state, code)
    assert state == "ok" or "-m pip install" in found.next


def test_requirements_of_development_and_satisfied_extras_are_silent():
    assert packages._package("pytest>=8; extra == 'dev'") is None
    assert packages._package("numpy>=1; extra == 'plots'") is None
    assert packages._package("colorama; sys_platform == 'win32'") is None


@pytest.mark.parametrize(
    "version, bounds, good",
    [
        ("8.5.1", ">=8.1,<8.6,!=8.3.*", True), ("8.3.2", ">=8.1,<8.6,!=8.3.*", False), ("8.6", "<8.6", False),
        ("2.13.0+cpu", ">=2.6", True), ("6.1.0rc1", ">=6.1", True), ("1.2", "==1.2.0", True), ("3", "", True),
    ],
)  # fmt: skip
def test_bounds(version, bounds, good):
    assert packages.satisfies(version, bounds) is good


def test_platformio_offline_ingredients(monkeypatch):
    monkeypatch.setattr(platformio, "REGISTRY", ("localhost.invalid", 443))
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setattr(packages, "find_platformio", lambda: Path("platformio"))
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if name == "SCons" else object())
    monkeypatch.setattr(packages.metadata, "version", lambda name: "6.2.0")
    monkeypatch.setenv("PATH", "/nonexistent")
    found = {f.name: f for f in packages.check_platformio()}
    assert found["PlatformIO"].state == "ok"
    assert found["SCons"].state == "missing" and "pip install 'scons>=4.8'" in found["SCons"].next
    assert found["compiler on the PATH"].state == "missing"
    assert found["its registry"].state == "note" and "cannot be reached" in found["its registry"].detail
    assert all(f.exit_code == 0 for f in found.values())


def test_platformio_absent_and_a_proxy(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    (only,) = packages.check_platformio()
    assert only.state == "missing" and "pip install platformio scons" in only.next
    with socket.create_server(("127.0.0.1", 0)) as server:  # flashing asks the same
        at = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://name:secret@{at}")
        told = packages._registry()
        assert (told.state, told.detail) == ("ok", f"{at} can be reached")
    assert packages._registry().state == "note"


@pytest.mark.parametrize("found", [None, KeyError("Version")])
def test_a_package_whose_version_cannot_be_read_is_a_problem(found, monkeypatch):
    from recurc.doctor import python

    def version(name):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(python.metadata, "version", version)
    assert python._version("scons") == "unknown"
    monkeypatch.setattr(python.importlib.util, "find_spec", lambda name: object())
    assert python._scons().state == python.PROBLEM
