"""PlatformIO as a subprocess of this Python: found, checked in two seconds before it starts, run in a folder of its own.

Its own start is silent for a minute, and says nothing of use afterwards, where a package is missing and its registry
cannot be reached; so that is checked here first.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from recurc.arguments import argument
from recurc.errors import InputError, ToolchainError, UsageError
from recurc.targets.toolchain import REACHES_COMPILERS

REGISTRY = ("api.registry.platformio.org", 443)
REACH_SECONDS = 2.0
RUN_SECONDS = 900.0
INSTALL = "pip install platformio scons"
_SHOWN_LINES = 25
_LOCAL = "symlink://"
_NOT_IN_PATHS = '$"`\n\r'  # all others are quoted, in the project's own scripts


@dataclass(frozen=True)
class Environment:
    """One environment of a PlatformIO project: its folder, its name, the platform that it names and its options."""

    project: Path
    name: str
    platform: str
    options: Mapping[str, str]

    @property
    def local(self) -> bool:
        """Whether its platform is part of the project, so that no registry is needed."""
        return self.platform.startswith(_LOCAL)

    @property
    def core_dir(self) -> Path:
        """Where PlatformIO keeps packages: in the project for its own platform, else where the user has them."""
        if self.local:
            return self.project.absolute() / ".pio" / "core"
        return Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")

    @property
    def elf(self) -> Path:
        """The firmware that a run makes."""
        return self.project / ".pio" / "build" / self.name / "firmware.elf"


def find_platformio() -> Path | None:
    """Folder of the PlatformIO package that this Python can run; None when there is none."""
    spec = importlib.util.find_spec("platformio")
    return Path(spec.origin).parent if spec and spec.origin else None


def environments(project: Path) -> dict[str, Environment]:
    """The environments of a project, in the order of its platformio.ini.

    Raises:
        InputError: there is no project, or its file cannot be read.
    """
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), strict=False)
    try:
        with open(project / "platformio.ini", encoding="utf-8") as f:
            parser.read_file(f)
    except (OSError, UnicodeDecodeError, configparser.Error) as e:
        raise InputError("there is no PlatformIO project", where=str(project), why=str(e),
                         next="Build again: every build for a microcontroller writes one") from e  # fmt: skip
    found = {}
    for section in parser.sections():
        if section.startswith("env:"):
            base = parser[section].get("extends", "")
            options = {**(dict(parser[base]) if parser.has_section(base) else {}), **parser[section]}
            name = section.removeprefix("env:")
            found[name] = Environment(project, name, options.get("platform", ""), options)
    return found


def environment(project: Path, name: str) -> Environment:
    """One environment of a project.

    Raises:
        InputError: there is no project. UsageError: it has no such environment.
    """
    known = environments(project)
    if name not in known:
        raise UsageError(f"the project has no environment {name!r}", where=str(project), why=f"it has {', '.join(known)}",
                         next="Name one of them")  # fmt: skip
    return known[name]


def _registry() -> tuple[str, int]:
    """Who must answer: the registry, or the proxy that requests to it go through."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        proxy = urlsplit(os.environ.get(name, ""))
        if proxy.hostname:
            return proxy.hostname, proxy.port or (443 if proxy.scheme == "https" else 80)
    return REGISTRY


def _reachable(address: tuple[str, int], seconds: float) -> str:
    """Empty when a connection can be made within so many seconds, else why not. Names that never resolve count too."""
    answer: list[str] = []

    def attempt() -> None:
        try:
            socket.create_connection(address, timeout=seconds).close()
            answer.append("")
        except OSError as e:
            answer.append(str(e))

    thread = threading.Thread(target=attempt, daemon=True)  # a resolver that swallows questions holds it for minutes
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else f"no answer within {seconds:g} s"


def registry_failure() -> tuple[str, str]:
    """HOST:PORT of the registry, or of the proxy before it, and why it cannot be reached within two seconds ("": it can)."""
    address = _registry()
    return "{}:{}".format(*address), _reachable(address, REACH_SECONDS)


def _installed(env: Environment) -> bool:
    """Whether a registry platform lies in the core folder already."""
    name = re.split(r"[@\s]", env.platform)[0].rsplit("/", 1)[-1]
    return (env.core_dir / "platforms" / name).is_dir()


def preflight(env: Environment) -> None:
    """That PlatformIO can start on an environment, found out within two seconds.

    Raises:
        InputError: the project's folder has a name that PlatformIO cannot work in.
        ToolchainError: it or SCons is not installed, or the environment needs its registry and that cannot be reached.
    """
    wrong = next((c for c in str(env.project.absolute()) if c in _NOT_IN_PATHS), None)
    if wrong is not None:
        raise InputError("PlatformIO cannot build in a folder of that name", where=str(env.project.absolute()),
                         why=f"it has the character {wrong!r}, which PlatformIO and the shell behind it take for theirs",
                         next="Move the build to a folder without it")  # fmt: skip
    if find_platformio() is None:
        raise ToolchainError("PlatformIO is not installed", where=sys.executable, why="this Python has no package platformio",
                             next=f"Install it with {INSTALL}")  # fmt: skip
    if env.local:
        if importlib.util.find_spec("SCons") is None:
            raise ToolchainError(
                "PlatformIO cannot build without a network here", where=sys.executable,
                why="this Python has no package SCons, and PlatformIO would look for one in its registry",
                next=f"Install it with {INSTALL}",
            )  # fmt: skip
        return
    if _installed(env):
        return
    where, why = registry_failure()
    if why:
        raise ToolchainError(
            "PlatformIO's registry cannot be reached", where=where,
            why=f"{env.name} needs the platform {env.platform}, which is not in {env.core_dir}: {why}",
            next="Go online once"
            + (", or use the environment on the project's own platform, which needs no registry"
               if any(e.local for e in environments(env.project).values()) else ": there PlatformIO compiles this project"),
        )  # fmt: skip


def run(env: Environment, *targets: str, port: str = "", variables: Mapping[str, str] | None = None,
        echo: Callable[[str], None] = lambda line: None, timeout: float = RUN_SECONDS) -> str:  # fmt: skip
    """Run PlatformIO on one environment: build it, or a target of it ("upload").

    Args:
        port: --upload-port.
        variables: of the environment, on top of this process's.
        echo: told each line as it comes.
        timeout: seconds.

    Returns:
        All that it said.

    Raises:
        ToolchainError: it is missing, failed, or took too long; says what it said last.
    """
    preflight(env)
    command = [sys.executable, "-m", "platformio", "run", "-d", str(env.project.absolute()), "-e", env.name]
    command += [word for target in targets for word in ("-t", target)] + (["--upload-port", port] if port else [])
    own = {
        "PLATFORMIO_CORE_DIR": str(env.core_dir), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No", "PLATFORMIO_NO_ANSI": "true",
        "PLATFORMIO_DISABLE_PROGRESSBAR": "true", "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "36500",  # the same for versions before 6.2
    }  # fmt: skip
    # A user's own settings may build elsewhere, or with other flags: what is flashed then would not be what is compared.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PLATFORMIO_") and name not in REACHES_COMPILERS
    }
    process = subprocess.Popen(
        command, env={**inherited, **own, **(variables or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    watchdog = threading.Timer(timeout, process.kill)
    watchdog.start()
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            echo(lines[-1])
        status = process.wait()
    finally:
        late = not watchdog.is_alive()
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if status:
        raise _failed(env, targets, status, lines, timeout if late else None)
    return "\n".join(lines)


def _failed(env: Environment, targets: tuple[str, ...], status: int, lines: list[str],
            seconds: float | None) -> ToolchainError:  # fmt: skip
    """What PlatformIO said, as an error: a script's own "Error: ..." line is the cause, else its last lines are."""
    what = f"PlatformIO's {targets[0] if targets else 'build'} of {env.name} failed"
    if seconds is not None:
        return ToolchainError(what, where=str(env.project), why=f"it was stopped after {seconds:g} s",
                              next="Look at what it waits for: run pio there yourself")  # fmt: skip
    own = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    said = own[-1] if own else "it said:\n" + "\n".join([li for li in lines if li.strip("=- ")][-_SHOWN_LINES:]) + "\n"
    return ToolchainError(
        what,
        where=f"{env.project}, exit status {status}",
        why=said,
        next="" if own else f"{argument('echo', option='verbose')} shows all that it says",
    )
