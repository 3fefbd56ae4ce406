"""The whole diagnosis, in the order in which things depend on each other: tools, ports, the device at one port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recurc.arguments import argument
from recurc.build import manifest
from recurc.build.manifest import Build
from recurc.device import frames as f
from recurc.doctor.cache import check_cache
from recurc.doctor.extensions import check_extensions
from recurc.doctor.findings import NOTE, OK, PROBLEM, Finding
from recurc.doctor.ports import SerialPort, boards_of, check_port, check_ports, list_ports
from recurc.doctor.probe import BAUDS, DEVICE, check_device, listen
from recurc.doctor.python import check_packages, check_platformio
from recurc.doctor.tools import check_compilers, check_emulators
from recurc.errors import RecurcError
from recurc.package.registry import delivered, packages, toolchains
from recurc.targets.boards import Board, list_boards, load_board

BUILD = "build"
DEFAULT_FAMILIES = ("host", "arm")  # what `recurc build` without a target's name of its own needs


@dataclass(frozen=True)
class Diagnosis:
    """All findings; the serial ports with the names of boards that may be behind them; what the device said."""

    findings: tuple[Finding, ...]
    ports: tuple[tuple[SerialPort, tuple[str, ...]], ...]
    hello: f.Hello | None


def diagnose(build: Path | None = None, port: str | None = None) -> Diagnosis:
    """Check this computer, and the device at a port.

    Args:
        build: a build folder: what it needs is required, the rest is optional, and the device is compared with it.
        port: a device path or URL to ask; None asks nobody.
    """
    made, about_build = _open(build)
    boards = list_boards()
    mine = _boards_of(made) if made else []
    families = _families(mine) if made else set(DEFAULT_FAMILIES)
    emulators = {b.emulator.program for b in (mine or [load_board("mps2-an500")]) if b.emulator}
    known = [*boards, *(b for b in mine if b.name not in {x.name for x in boards})]
    checks: list[Callable[[], list[Finding]]] = [
        lambda: check_compilers(known, families), lambda: check_emulators(known, emulators),
        check_packages, check_extensions, check_platformio, check_cache,
    ]  # fmt: skip
    with ThreadPoolExecutor(len(checks)) as pool:  # they wait for programs and for the network
        findings = [found for group in pool.map(lambda check: check(), checks) for found in group]
    ports = list_ports()
    findings += [*about_build, *check_ports(known, ports)]
    hello = None
    if port is not None:
        about_port = check_port(port, ports)
        findings += about_port
        blocked = [x for x in about_port if x.exit_code]
        if blocked:
            findings.append(Finding(DEVICE, "answers", NOTE, f"not asked: see {blocked[0].name} above"))
        else:
            heard, baud = listen(port, _bauds(port, made, known, ports))
            hello = heard.hello
            findings += check_device(port, heard, baud, made)
    else:
        findings.append(Finding(DEVICE, "answers", NOTE, f"not asked: {argument('port', 'P')} names the port of a device"))
    named = tuple((p, tuple(b.name for b in boards_of(p, known))) for p in ports)
    return Diagnosis(tuple(findings), named, hello)


def _open(folder: Path | None) -> tuple[Build | None, list[Finding]]:
    if folder is None:
        return None, []
    try:
        made = manifest.load_build(folder, to_run=False)
    except RecurcError as e:
        why = f"{e.what}: {e.why}" if e.why else e.what
        return None, [Finding(BUILD, str(folder), PROBLEM, why, e.next, e.exit_code)]
    whole = Finding(BUILD, str(folder), OK, f"{made.name} at {made.precision} for {made.target}, whole and unchanged")
    return made, [whole, *_delivered(made), *(Finding(BUILD, "assumed", NOTE, text) for text in made.notes)]


def _delivered(made: Build) -> list[Finding]:
    try:
        return [Finding(BUILD, "delivered as", OK, "; ".join(delivered(made.packages)))]
    except RecurcError:  # a format that cannot be used, of which `check_extensions` tells
        return []


def _families(boards: Sequence[Board]) -> set[str]:
    """Families whose compilers builds for these boards need, as far as their formats are known here."""
    try:
        known = set(packages())
    except RecurcError:
        known = set()
    return {family for b in boards if set(b.packages) <= known for family in toolchains(b)} | {"host"}


def _boards_of(made: Build) -> list[Board]:
    return [made.board(name) for name in made.boards]


def _bauds(port: str, made: Build | None, boards: Sequence[Board], ports: Sequence[SerialPort]) -> tuple[int, ...]:
    """Rates to try, the likeliest first: the build's board's, those of boards the adapter belongs to, the usual ones."""
    first = [made.board(made.target).uart.baud] if made else []
    behind = [b.uart.baud for p in ports if p.device == port for b in boards_of(p, boards)]
    return tuple(dict.fromkeys(rate for rate in (*first, *behind, *BAUDS) if rate))
