"""Runs a command in a process of its own, a call of it failing, and judges how it ended."""

from __future__ import annotations

import atexit
import errno
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from tests.errnos.commands import Command
from tests.errnos.injecting import LASTING, Call, Injector

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 1 << 28 else None
SECONDS = 300  # a command that does nothing for so long hangs, and one that takes ten times as long never ends
_TIMES = re.compile(r"\b\d[\d.,:]* ?(s|ms|min|us)\b|(?<=all equal )[\d,]+|process \d+|0x[0-9a-f]+|errnos-\w+|swap-\d+-\w+")
_SPACE = re.compile(r"[ ─]+")
_LEFT = re.compile(r"\.part$|\.partial-|\.swap-|^tmp")


@dataclass
class Ending:
    """How a run ended: its exit code, what it printed, and its files by name before and after (digests)."""

    code: int
    out: str
    err: str
    before: dict[str, str]
    after: dict[str, str]
    temporary: list[str]
    calls: list[Call] = field(default_factory=list)
    hit: bool = False
    name: str = ""


def files(folder: Path) -> dict[str, str]:
    """sha256 of each file below a folder, by its name there; the user's cache and temporary files left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] not in ("cache", "tmp", "home") and path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def attempt(command: Command, prepared: Path, injector: Injector) -> Ending:
    """Run a command in a folder of its own, with an injector."""
    with tempfile.TemporaryDirectory(prefix="errnos-", dir=FAST) as folder_name:
        folder = Path(folder_name)
        work = folder / "work"
        for part in ("tmp", "home"):
            (work / part).mkdir(parents=True)
        (work / "notes.txt").write_text("the user's own")
        for name in command.needs.split():
            (shutil.copytree if (prepared / name).is_dir() else shutil.copyfile)(prepared / name, work / name)
        before = files(work)
        child = os.fork()
        if not child:
            _run(command, work, folder, injector)
        status = _wait(child)
        told = {"calls": [], "hit": True, "name": ""}
        if (folder / "told").exists():
            told = json.loads((folder / "told").read_text())
        calls = [Call(kind, tuple(place), turn, name) for kind, place, turn, name in told["calls"]]
        return Ending(
            status,
            (folder / "out").read_text(errors="replace"),
            (folder / "err").read_text(errors="replace"),
            before,
            files(work),
            sorted(os.listdir(work / "tmp")),
            calls,
            told["hit"],
            told["name"],
        )


def _wait(child: int) -> int:
    ended = threading.Event()

    def watch() -> None:
        used = 0.0
        for _ in range(10):
            if ended.wait(SECONDS):
                return
            before, used = used, _worked(child)
            if used - before < SECONDS / 100:  # of the processor, which others may have: that alone is no hanging
                break
        os.kill(child, signal.SIGKILL)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        ended.set()
        watching.join()


def _worked(process: int) -> float:
    """Seconds of the processor that a process, and what it has started, used so far."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_worked(int(other)) for other in children)


def _run(command: Command, work: Path, folder: Path, injector: Injector) -> None:
    """In the child: the command, then what it called; never returns."""
    code = 99
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined] - folders of the parent
        finalizer.detach()
    atexit._clear()
    atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]
    try:
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        os.chdir(work)
        os.environ |= {"TMPDIR": str(work / "tmp"), "XDG_CACHE_HOME": str(work / "cache"), "HOME": str(work / "home")}
        tempfile.tempdir = None
        from recurc.cli.main import main

        real_open = open
        injector.install()
        code = main(command.arguments)
        sys.stdout.flush()
        injector._busy.on = True
        atexit._run_exitfuncs()  # folders that go with the process
        with real_open(folder / "told", "w") as file:
            calls = [] if injector.call else [(c.kind, c.place, c.turn, c.name) for c in injector.calls]
            json.dump({"calls": calls, "hit": injector.hit, "name": injector.name}, file)
    except BaseException:
        import traceback

        sys.stderr.write(traceback.format_exc())
        code = 98
    finally:
        os._exit(code)


def plain(text: str) -> str:
    """Output without what differs from run to run."""
    return _TIMES.sub("T", _SPACE.sub(" ", text))


def judge(ending: Ending, good: Ending, injector: Injector, tells: bool = False) -> list[str]:
    """What is wrong with how a run ended, in words: nothing for one that ended as it should.

    Args:
        tells: whether the command may answer with what fails, where others end with an error.
    """
    kind = injector.call.kind if injector.call else ""
    wrong = []
    if not ending.hit:
        return ["the call was not made"]
    errors = [line for line in ending.err.splitlines() if line.startswith("error: ")]
    if ending.code < 0 or ending.code in (98, 99):
        wrong.append(f"it died: {ending.code}")
    if ending.code == 1 or "bug in recurc" in ending.err:
        wrong.append("a bug")
    if "Traceback" in ending.err or "Exception ignored" in ending.err:
        wrong.append("a traceback")
    if tells and not errors and ending.out:
        pass
    elif ending.code not in (0, good.code):
        if len(errors) != 1:
            wrong.append(f"{len(errors)} errors")
        elif not _says(errors[0], injector, ending.name):
            wrong.append("says neither file nor reason")
    elif plain(ending.out) != plain(good.out):
        wrong.append("another answer, and no error")
    changed = {n for n in good.before if good.after.get(n) != good.before[n]}
    lost = [
        n for n, digest in ending.before.items() if n not in ending.after or (ending.after[n] != digest and n not in changed)
    ]
    if lost:
        wrong.append(f"lost {lost[:3]}")
    if kind not in ("remove", "list") and not (injector.lasting and "remove" in injector.lasting):
        left = [n for n in ending.after if _LEFT.search(n.rpartition("/")[2]) or ".partial-" in n]
        if left or (ending.temporary and not good.temporary):
            wrong.append(f"left {[*left, *ending.temporary][:3]}")
    return wrong


def _says(error: str, injector: Injector, name: str) -> bool:
    reason = os.strerror(injector.number)
    named = not name or os.path.basename(name.rstrip("/")) in error or os.path.basename(os.path.dirname(name)) in error
    return named or reason in error


def chosen(calls: list[Call]) -> list[Call]:
    """Of each kind and place the first call, and the last one where there are more."""
    found: dict[tuple, list[Call]] = {}
    for call in calls:
        found.setdefault((call.kind, call.place), []).append(call)
    return [call for same in found.values() for call in dict.fromkeys((same[0], same[-1]))]


def drawn_evenly(calls: list[Call], count: int, r: random.Random) -> list[Call]:
    """`count` of the calls: of each kind one, then another, as long as it has some. Most calls look or read."""
    kinds: dict[str, list[Call]] = {}
    for call in r.sample(calls, len(calls)):
        kinds.setdefault(call.kind, []).append(call)
    turns = itertools.zip_longest(*kinds.values())
    return [call for turn in turns for call in turn if call is not None][:count]


def injectors(call: Call, names: tuple[str, ...]) -> list[Injector]:
    """A call's injectors: each error once, and lasting where the error lasts."""
    made = []
    for name in names:
        number = getattr(errno, name)
        made.append(Injector(call, number))
        if call.kind in LASTING.get(name, ()):
            made.append(Injector(call, number, LASTING[name]))
    return made


def spread(names: tuple[str, ...], count: int, turn: int) -> tuple[str, ...]:
    """`count` of the errors, others at each turn; 0 for all."""
    if not count or count >= len(names):
        return names
    return tuple(names[(turn * count + i) % len(names)] for i in range(count))


__all__ = ["Ending", "Optional", "attempt", "chosen", "drawn_evenly", "files", "injectors", "judge", "plain", "spread"]
