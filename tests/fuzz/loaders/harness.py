"""Runs a loader on mutated files, and judges what it does: it succeeds, or refuses in one plain paragraph, soon and in little
memory. Anything else is a finding."""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from recurc.errors import RecurcError
from tests.fuzz.loaders.mutate import Mutation

SECONDS = 10
MEMORY = 1 << 30  # bytes above what the process has
KEPT = 300 << 20  # bytes of real memory that a run may add
_LARGE = 1 << 20
LONGEST = 2000  # characters of an error


class TooSlow(BaseException):
    """A run took longer than SECONDS."""


@dataclass(frozen=True)
class Loader:
    """A loader under test.

    prepare: fills a folder with a valid input. mutated: files of it that are mutated -> how. load: reads it. around: entered
    once, when the folder is prepared, for what is the same in each run.
    """

    name: str
    prepare: Callable[[Path], None]
    mutated: dict[str, Mutation]
    load: Callable[[Path], object]
    around: Callable[[Path], AbstractContextManager[object]] = nullcontext


@dataclass
class Report:
    """What happened in `runs` runs: `accepted` of them succeeded; `findings` are texts, each kind once, with its run."""

    runs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    busy: float = 0.0  # seconds of the processor
    slowest: float = 0.0
    memory: int = 0
    findings: dict[str, str] = field(default_factory=dict)


def peak_memory(anew: bool = False) -> int:
    """Bytes of memory that this process has had at most; `anew`: from now on."""
    if anew:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    text = os.pread(_of_this_process("status", os.getpid()), 4096, 0)
    return 1024 * int(text[text.index(b"VmHWM:") :].split(None, 2)[1])


@lru_cache(maxsize=4)
def _of_this_process(name: str, _: int) -> int:
    """An open file of /proc/self, read again and again: opening it costs more than most readers take."""
    return os.open(f"/proc/self/{name}", os.O_RDONLY | os.O_CLOEXEC)


def _misdeed(error: BaseException) -> str:
    """What is wrong with how a loader refused; "" when nothing is."""
    if not isinstance(error, RecurcError):
        return f"{type(error).__name__}: {str(error)[:200]!a}"
    text = str(error)
    if error.exit_code not in (2, 3):
        return f"exit code {error.exit_code}: {text[:200]!a}"
    if not text.isprintable() and not all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text):
        return f"characters that are not printable: {text[:300]!a}"
    if len(text) >= LONGEST:
        return f"a paragraph of {len(text)} characters: {text[:200]!a}"
    if isinstance(error.__context__, MemoryError):
        return f"memory: {text[:200]!a}"
    json.dumps(error.as_dict())
    return ""


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    inner = [f for f in frames if "/recurc/" in f.filename] or frames
    return f"{Path(inner[-1].filename).name}:{inner[-1].lineno}" if inner else "?"


_begun = (0.0, 0.0)  # a run's: when, and `waited` then


def waited() -> float:
    """Seconds that this process could have run and did not, as others had the processor: no reader is slow because of that."""
    with suppress(OSError, IndexError, ValueError):
        return int(os.pread(_of_this_process("schedstat", os.getpid()), 128, 0).split()[1]) / 1e9
    return 0.0


@contextmanager
def limits() -> Iterator[None]:
    """The address space that is in use now, and MEMORY more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY, old[1]))

    def late(*_: object) -> None:
        left = SECONDS - (time.perf_counter() - _begun[0]) + waited() - _begun[1]
        if left <= 0:
            raise TooSlow
        signal.setitimer(signal.ITIMER_REAL, left)  # others had the processor

    before = signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, old)


def fuzz(loader: Loader, mutations: int, seed: int = 0, keep: Path | None = None, seconds: float = 0.0) -> Report:
    """Mutate and load. The same seed gives the same files.

    Args:
        mutations: how many runs.
        keep: folder for the files of findings.
        seconds: end after so long, 0: never.
    """
    r, report = random.Random(f"{loader.name} {seed}"), Report()
    room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=room) as name, warnings.catch_warnings(), limits(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # of zipfile, which writes the mutated archives
        folder = Path(name)
        loader.prepare(folder)
        places = {file: str(folder / file) for file in loader.mutated}
        good = {file: (folder / file).read_bytes() for file in places}
        stack.enter_context(loader.around(folder))
        loader.load(folder)  # what is mutated is valid
        stack.enter_context(_no_old_garbage())
        start, busy = time.perf_counter(), time.process_time()
        peak = peak_memory(anew=True)
        files = list(good)
        while report.runs < mutations and not (seconds and time.perf_counter() - start > seconds):
            file = r.choice(files)
            data = loader.mutated[file](r, good[file])
            _write(places[file], data)
            if len(data) > _LARGE:  # what making it took is not the loader's
                peak = peak_memory(anew=True)
            finding = _run(loader, folder, report)
            now = peak_memory()
            report.memory = max(report.memory, now - peak)
            if now - peak > KEPT:
                finding = finding or f"memory: {(now - peak) >> 20} MiB of it"
                peak = peak_memory(anew=True)
            if finding and finding.split("\n")[0] not in report.findings:
                report.findings[finding.split("\n")[0]] = f"run {report.runs} of {file}\n{finding}"
                if keep is not None:
                    _keep(keep / f"{loader.name}-{seed}-{report.runs}", folder)
            if len(files) > 1:
                _write(places[file], good[file])
            report.runs += 1
        report.seconds, report.busy = time.perf_counter() - start, time.process_time() - busy
    return report


@contextmanager
def _no_old_garbage() -> Iterator[None]:
    """What was there before is not looked through for garbage again and again: torch alone brings a million objects."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _write(path: str, data: bytes) -> None:
    """What `Path.write_bytes` does, in a third of the time."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        while data:
            data = data[os.write(handle, data) :]
    finally:
        os.close(handle)


def _run(loader: Loader, folder: Path, report: Report) -> str:
    """One run; returns what was found, the kind in its first line."""
    global _begun
    begin = time.perf_counter()
    _begun = begin, waited()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        try:
            loader.load(folder)
            report.accepted += 1
            return ""
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            report.slowest = max(report.slowest, time.perf_counter() - begin - (waited() - _begun[1]))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is judged
        wrong = _misdeed(error)
        if not wrong:
            return ""
        return f"{type(error).__name__} at {_where(error)}\n{wrong}\n{''.join(traceback.format_exception(error))[-3000:]}"


def _keep(to: Path, folder: Path) -> None:
    with suppress(OSError):
        shutil.copytree(folder, to)
