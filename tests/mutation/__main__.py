"""Plants each fault of the list in a copy of the tree and requires that its tests fail: `python -m tests.mutation`.

Exit code 1 when one survives, or when one cannot be tried (its old text has changed, its tests fail without it).
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.faults import ROOT, Fault, load, sample
from tests.mutation.trial import DEAD, SECONDS, Trials, Verdict

WIDTH = 80


def judge(faults: Sequence[Fault], jobs: int = 1, seconds: float = SECONDS, root: Path = ROOT, tell=print) -> list[Verdict]:
    """Try faults, each job in a copy of its own, and tell a line of each as it is known."""
    wide = max((len(f.name) for f in faults), default=0)
    free: SimpleQueue[Trials] = SimpleQueue()

    def one(fault: Fault) -> Verdict:
        trials, start = free.get(), time.monotonic()
        try:
            found = trials.try_fault(fault)
        finally:
            free.put(trials)
        by = found.by if found.kind != DEAD else found.by.rpartition("/")[2]
        room = WIDTH - wide - 16
        shown = by if found.kind != DEAD or len(by) <= room else by[: room - 1] + "…"
        tell(f"{fault.name:{wide}}  {found.kind:8} {time.monotonic() - start:3.0f}s {shown}")
        return found

    copies = [Trials(root, seconds) for _ in range(jobs)]
    try:
        for copy in copies:
            free.put(copy.__enter__())
        with ThreadPoolExecutor(jobs) as pool:
            try:
                return list(pool.map(one, faults))
            except BaseException:  # Ctrl-C: the pool waits for what it runs
                pool.shutdown(wait=False, cancel_futures=True)
                for copy in copies:
                    copy.stop()
                raise
    finally:
        for copy in copies:
            copy.__exit__(None, None, None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="faults by name, or by a part of it")
    parser.add_argument("--sample", type=int, metavar="N", help="so many of them, chosen by --seed")
    parser.add_argument("--seed", default="0", help="any text; default 0")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once; default 1")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for the tests of a fault; default {SECONDS}")
    parser.add_argument("--list", nargs="+", type=Path, metavar="FILE", help="other lists in place of tests/mutation/faults")
    args = parser.parse_args(arguments)
    try:
        faults = load(args.list)
    except (OSError, ValueError) as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1
    if args.only:
        faults = [f for f in faults if any(part in f.name for part in args.only)]
    if args.sample is not None:
        faults = sample(faults, args.sample, args.seed)
    if not faults:
        print("Error: no fault has such a name", file=sys.stderr)
        return 2
    try:
        found = judge(faults, args.jobs, args.seconds, tell=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    dead = sum(v.kind == DEAD for v in found)
    print(f"{dead} of {len(found)} planted faults die")
    for v in found:
        if v.kind != DEAD:
            print(f"  {v.kind}: {v.fault.name} ({v.fault.file}): {v.fault.why}")
    return 0 if dead == len(found) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the copies go
    sys.exit(main())
