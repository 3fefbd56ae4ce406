"""Build, convert, verify and sweep under random kills, full disks and company: `python -m tests.build.stress --runs 10000`.

Each run is a process of its own, forked from one that has the models ready, so that thousands are affordable; firmware is
compiled once, and copied where a build would compile it. After each run: every file of the user's is there as it was, so is the
last good build (or the new one), a converted checkpoint is one of the two or is refused, no run ended as a bug of ours.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import recurc
from recurc.api import Gate, Quantized
from recurc.build import swap
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.errors import InputError, RecurcError
from recurc.make import host
from recurc.models.checkpoint import load, save
from recurc.resources import bundled_models
from recurc.verify.journal import read_journal
from tests.build.folders import MINE, holds, put
from tests.killed import CALLS, dies_at

NAME = "sudoku4-tiny"
GOOD = Gate(1.0, 1, "calibration puzzles", ())
ROOM = 48 << 20  # bytes of the small disk
FAULTS = ("none", "call", "call", "time", "size", "full", "company")
WORK = ("build", "build", "build", "convert", "convert", "verify", "verify", "sweep")
PLACES = ("", "src/", "host/", "host/src/", "runtime/", "mine/", ".git/objects/")


class Lost(AssertionError):
    """A file of the user's, or the last good build, is not there any more; or a run ended as a bug."""


class Bench:
    """Two models, each with its compiled engine and firmware, and the folders that runs work in.

    Args:
        folder: an empty one, on the disk that is to be full now and then.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.out, self.converted = folder / "top" / "build", folder / "converted"
        self.data = bundled_models()[NAME] / "data"
        model = recurc.load(NAME)
        train = recurc.load_dataset(self.data, "train")
        self.quantized: list[Quantized] = [model.quantize(p, train, puzzles=8) for p in ("int4", "int8")]
        self.compiled = Path(tempfile.mkdtemp(prefix="recurc-stress-"))
        first = load(NAME)
        tensors = {name: tensor + np.float32(1) for name, tensor in first.tensors.items()}
        self.models = [first, type(first)(first.config, tensors, first.source, first.sha256)]
        for q in self.quantized:
            assert q.engine
        self._compile()
        self.mine = {
            name: text for name, text in MINE.items() if name not in ("verify-host.jsonl", "verified.json", "report.html")
        }
        self.mine["verify-mps2-an500.jsonl"] = "of an earlier build\n"
        self.out.parent.mkdir()
        self.build(0)
        put(self.out, self.mine)
        save(self.models[0], self.converted)
        self.beside = {"fidelity.json": "mine", "data/notes": "mine"}
        put(self.converted, self.beside)

    def _compile(self) -> None:
        """Firmware for this computer, once for each model; from then on it is copied."""
        real, made = host.compile_firmware, {}

        def copied(board, sources, include_dirs, defines, script, out_dir, *rest, **more):
            key = (include_dirs[0] / "model.rcm").read_bytes()
            if key not in made:
                made[key] = Path(
                    shutil.copy(
                        real(board, sources, include_dirs, defines, script, out_dir, *rest, **more),
                        self.compiled / f"{len(made)}.elf",
                    )
                )
            shutil.copy(made[key], out_dir / "firmware.elf")
            return out_dir / "firmware.elf"

        host.compile_firmware = copied
        for i in range(2):
            self.quantized[i].build("host", self.compiled / f"build{i}", gate=GOOD)

    # -- what runs ----------------------------------------------------------------------------------------------------

    def build(self, which: int) -> int:
        self.quantized[which].build("host", self.out, gate=GOOD)
        return 0

    def convert(self, which: int) -> int:
        save(self.models[which], self.converted)
        return 0

    def verify(self, which: int) -> int:
        return main(
            [
                "verify",
                str(self.out),
                "--on",
                "host",
                "--data",
                str(self.data),
                "--limit",
                str(2 + which),
                "--fidelity",
                "0",
                *["--resume"] * which,
            ]
        )

    def sweep(self, which: int) -> int:
        return main(
            [
                "sweep",
                NAME,
                "--precisions",
                "int4",
                "--engine",
                "fake",
                "--steps",
                str(1 + which),
                "--limit",
                "4",
                "--jobs",
                "1",
                "--cache",
                str(self.folder / "cache"),
                "--out",
                str(self.folder / "sweep"),
            ]
        )

    # -- one run ------------------------------------------------------------------------------------------------------

    def run(self) -> tuple[str, str]:
        """One random run and the checks after it; what ran, and under which fault. Raises Lost."""
        rng = self.rng
        what, fault = rng.choice(WORK), rng.choice(FAULTS)
        if rng.random() < 0.3:
            self._add_a_file()
        jobs = [what, *rng.choices(WORK, k=rng.randint(1, 2))] if fault == "company" else [what]
        with self._full() if fault == "full" else contextlib.nullcontext():
            children = [self._start(job, fault) for job in jobs]
            if fault in ("time", "company"):
                time.sleep(rng.random() ** 2 * (0.5 if what == "build" else 1.0))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(children[0], signal.SIGKILL)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        for job, code in zip(jobs, codes):
            refused = job == "verify" and code == 2  # to go on with the journal of the build before
            if code not in (0, 2, 3, 6, 7, 77, -signal.SIGKILL) or (fault == "none" and code and not refused):
                raise Lost(f"{job} under {fault} ended with {code}: {(self.folder.parent / f'{job}.log').read_text()[-2000:]}")
        self._check(f"{jobs} under {fault}, {codes}")
        return what, fault

    def _start(self, what: str, fault: str) -> int:
        which, calls = self.rng.randrange(2), self.rng.randrange(1500 if what == "build" else 120)
        size = int(10 ** self.rng.uniform(0, 6))
        with open(self.folder.parent / f"{what}.log", "wb") as log:
            child = os.fork()
            if child:
                return child
            code = 70
            try:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                if fault == "size":
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
                if fault in ("call", "company"):
                    dies_at(calls)
                code = getattr(self, what)(which)
            except RecurcError as error:
                code = error.exit_code
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                code = 1
            finally:
                os._exit(code)

    def _add_a_file(self) -> None:
        name = f"{self.rng.choice(PLACES)}{self.rng.randrange(40)}.note"
        if name not in self.mine:
            self.mine[name] = str(self.rng.random())
            put(self.out, {name: self.mine[name]})

    @contextlib.contextmanager
    def _full(self) -> Iterator[None]:
        """The disk has only a few bytes left."""
        left = int(10 ** self.rng.uniform(3, 6.5))
        free = os.statvfs(self.folder)
        filler = self.folder / "filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - left))
        try:
            yield
        finally:
            filler.unlink()

    # -- the checks ---------------------------------------------------------------------------------------------------

    def _check(self, after: str) -> None:
        try:
            made = load_build(self.out)
        except InputError as error:
            raise Lost(f"after {after}: {error}") from error
        if missing := [name for name, text in self.mine.items() if not holds(self.out, {name: text})]:
            raise Lost(f"after {after}: {missing} of the user's")
        if left := [p.name for p in self.out.parent.iterdir() if ".swap-" in p.name or "-old" in p.name]:
            raise Lost(f"after {after}: {left} beside the build")
        if {made.precision} - {"int4", "int8"}:
            raise Lost(f"after {after}: another build")
        if not holds(self.converted, self.beside):
            raise Lost(f"after {after}: files beside the converted checkpoint")
        try:
            found = load(self.converted)
            if not any(all((found.tensors[n] == t).all() for n, t in m.tensors.items()) for m in self.models):
                raise Lost(f"after {after}: a mixed checkpoint")
        except InputError as error:
            if "other weights" not in error.what:
                raise Lost(f"after {after}: {error}") from error
        journal = self.out / "verify-host.jsonl"
        with contextlib.suppress(FileNotFoundError):
            if journal.stat().st_size and journal.read_bytes().count(b"\n"):
                read_journal(journal)


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A folder on a disk of ROOM bytes, where a disk can be mounted; elsewhere a plain folder, and none is ever full."""
    folder = Path(tempfile.mkdtemp(prefix="recurc-stress-"))
    disk = folder / "disk"
    disk.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "recurc-stress", str(disk)], capture_output=True
    ).returncode
    if not mounted:
        global FAULTS
        FAULTS = tuple(f for f in FAULTS if f != "full")
    work = disk / "work"
    work.mkdir()
    try:
        yield work
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def stress(runs: int, seed: int, progress: Callable[[int], object] = lambda n: None) -> collections.Counter:
    """So many runs; how many of which kind. Raises Lost."""
    os.environ["OMP_NUM_THREADS"] = "1"
    counts: collections.Counter = collections.Counter()
    with small_disk() as folder:
        bench = Bench(folder, seed)
        os.environ["XDG_CACHE_HOME"] = str(folder / "home")
        try:
            for n in range(runs):
                counts[bench.run()] += 1
                progress(n + 1)
        finally:
            shutil.rmtree(bench.compiled, ignore_errors=True)
    return counts


def command() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    begun = time.monotonic()

    def progress(n: int) -> None:
        if n % 100 == 0:
            print(f"{n} runs, 0 losses, {time.monotonic() - begun:.0f} s", flush=True)

    print(f"seed {args.seed}, {len(CALLS)} watched calls, exchange by {swap._renameat2.__name__}", flush=True)
    try:
        counts = stress(args.runs, args.seed, progress)
    except Lost as error:
        print(f"LOST: {error}", flush=True)
        return 1
    for (what, fault), n in sorted(counts.items()):
        print(f"{n:6} {what} {fault}")
    print(f"{sum(counts.values())} runs, 0 losses, {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command())
