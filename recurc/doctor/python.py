"""Python, the packages that recurc asks for, and PlatformIO with what it needs to build without a network."""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import re
import shutil
import sys

from recurc.doctor.findings import MISSING, NOTE, OK, PROBLEM, Finding
from recurc.doctor.tools import EXIT, dotted, version_in
from recurc.targets.platformio import find_platformio, registry_failure

PACKAGES, PLATFORMIO = "Python packages", "PlatformIO"
OLDEST_PYTHON = (3, 11)
OLDEST_PLATFORMIO = (6, 1)
OLDEST_SCONS = (4, 8)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*\[?[^\]<>=!~;]*\]?\s*\(?([^;)]*)\)?\s*(?:;(.*))?$")
_COMPARISONS = {
    ">=": lambda have, want: have >= want, "<": lambda have, want: have < want, ">": lambda have, want: have > want,
    "<=": lambda have, want: have <= want, "==": lambda have, want: have == want, "!=": lambda have, want: have != want,
}  # fmt: skip


def check_packages() -> list[Finding]:
    """Python itself and every package that recurc's own metadata asks for; those of extras are optional."""
    here = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        python = Finding(PACKAGES, "Python", PROBLEM, f"{here} is too old", f"Install Python {dotted(OLDEST_PYTHON)} or newer",
                         EXIT)  # fmt: skip
    else:
        python = Finding(PACKAGES, "Python", OK, here)
    try:
        wanted = metadata.requires("recurc") or []
    except metadata.PackageNotFoundError:
        return [python, Finding(PACKAGES, "recurc", NOTE, "runs from a checkout that is not installed",
                                "`make setup` installs it with all that it needs")]  # fmt: skip
    findings = [f for f in (_package(r) for r in wanted) if f is not None]
    good = [f for f in findings if f.state == OK]
    rest = [f for f in findings if f.state != OK]
    many = [Finding(PACKAGES, "required packages", OK, ", ".join(f"{f.name} {f.detail}" for f in good))] if good else []
    return [python, *many, *rest]


def _package(requirement: str) -> Finding | None:
    """A requirement as metadata has it; None for one of the development extra, or of another platform."""
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return None
    name, bounds, marker = match.group(1), match.group(2).strip(), match.group(3) or ""
    extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
    if (marker and not extra) or (extra and extra.group(1) == "dev"):
        return None
    code = 0 if extra else EXIT
    purpose = f"; only for {extra.group(1)}" if extra else ""
    install = f"{sys.executable} -m pip install '{name}{bounds}'"
    try:
        version = _version(name)
    except metadata.PackageNotFoundError:
        return Finding(PACKAGES, name, MISSING, f"not installed{purpose}", install, code)
    if not satisfies(version, bounds):
        return Finding(PACKAGES, name, PROBLEM, f"{version} is installed, {bounds} is needed{purpose}", install, code)
    return None if extra else Finding(PACKAGES, name, OK, version)


def satisfies(version: str, bounds: str) -> bool:
    """Whether a version meets bounds such as ">=8.1,<8.6,!=8.3.*", as far as its release numbers tell."""
    have = tuple(int(x) for x in re.findall(r"\d+", re.split(r"[+a-z]", version)[0]))
    for bound in filter(None, (b.strip() for b in bounds.split(","))):
        match = re.match(r"(>=|<=|==|!=|<|>)\s*([\d.]+?)(\.\*)?$", bound)
        if match is None:
            continue  # a kind that recurc's own metadata does not use
        want = tuple(int(x) for x in match.group(2).split(".") if x)
        width = len(want) if match.group(3) else max(len(want), len(have))
        padded = [tuple((*v, *([0] * width))[:width]) for v in (have, want)]
        if not _COMPARISONS[match.group(1)](*padded):
            return False
    return True


def check_platformio() -> list[Finding]:
    """PlatformIO in this Python, what it needs for building offline, and whether its registry can be reached."""
    install = f"{sys.executable} -m pip install platformio scons"
    if find_platformio() is None:
        elsewhere = shutil.which("pio") or shutil.which("platformio")
        detail = f"{elsewhere} belongs to another Python" if elsewhere else "not installed"
        return [Finding(PLATFORMIO, "PlatformIO", MISSING, f"{detail}; only for flashing and its projects", install)]
    version = _version("platformio")
    if version_in(version) < OLDEST_PLATFORMIO:
        too_old = f"{version} is too old: {dotted(OLDEST_PLATFORMIO)} or newer is needed"
        first = Finding(PLATFORMIO, "PlatformIO", PROBLEM, too_old, install)
    else:
        first = Finding(PLATFORMIO, "PlatformIO", OK, version)
    return [first, _scons(), _gcc(), _registry()]


def _version(name: str) -> str:
    """A package's version, "unknown" where its files do not say it. Raises PackageNotFoundError."""
    try:
        found: str | None = metadata.version(name)  # where METADATA is missing None, and from Python 3.14 on KeyError
    except KeyError:
        found = None
    return found or "unknown"


def _scons() -> Finding:
    install = f"{sys.executable} -m pip install 'scons>={dotted(OLDEST_SCONS)}'"
    if importlib.util.find_spec("SCons") is None:
        return Finding(PLATFORMIO, "SCons", MISSING, "PlatformIO would fetch it from its registry", install)
    version = _version("scons")
    if version_in(version) < OLDEST_SCONS:
        return Finding(PLATFORMIO, "SCons", PROBLEM, f"{version} is too old for building offline", install)
    return Finding(PLATFORMIO, "SCons", OK, f"{version}: builds without the registry")


def _gcc() -> Finding:
    path = shutil.which("arm-none-eabi-gcc")
    if path is None:
        return Finding(PLATFORMIO, "compiler on the PATH", MISSING, "PlatformIO would fetch one from its registry",
                       "Install it with `apt-get install gcc-arm-none-eabi`")  # fmt: skip
    return Finding(PLATFORMIO, "compiler on the PATH", OK, path)


def _registry() -> Finding:
    """A connection and nothing more; PlatformIO itself would try for a minute and say nothing."""
    name = "its registry"
    where, failure = registry_failure()
    if failure:
        return Finding(PLATFORMIO, name, NOTE, f"{where} cannot be reached ({failure}): projects on recurc's own platform "
                       "build offline, the others need it")  # fmt: skip
    return Finding(PLATFORMIO, name, OK, f"{where} can be reached")
