"""`python -m tests.errnos`: let every call of every command fail, and list what does not end as it should."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import pkgutil
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the process forks, and threads do not

from tests.errnos.commands import COMMANDS, needed, prepare  # noqa: E402
from tests.errnos.injecting import ERRORS, Injector  # noqa: E402
from tests.errnos.trying import attempt, chosen, drawn_evenly, injectors, judge, spread  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.errnos")
    parser.add_argument("--commands", default="", help="names with commas between them (default: all that are quick; all: all)")
    parser.add_argument("--errors", type=int, default=0, help="errors to try at each call, in turn (default: all)")
    parser.add_argument("--sample", type=int, default=0, help="calls to try, all kinds alike, drawn by the seed (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prepared", type=Path, help="folder of what the commands need, kept for the next time")
    parser.add_argument("--verbose", action="store_true", help="show each run")
    options = parser.parse_args()
    names = [n for n, c in COMMANDS.items() if not c.slow] if not options.commands else (
        list(COMMANDS) if options.commands == "all" else options.commands.split(","))  # fmt: skip
    unknown = [n for n in names if n not in COMMANDS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    with tempfile.TemporaryDirectory(prefix="errnos-") as temporary:
        prepared = options.prepared or Path(temporary)
        warm(prepared, names)
        return campaign(names, prepared, options)


def warm(prepared: Path, names: list[str]) -> None:
    """Make what is needed, with a cache of objects, and load what commands load: each run then costs a fork."""
    if set(names) & {"export", "export-build", "verify-onnx"}:
        import onnx  # noqa: F401
    import torch  # noqa: F401

    import recurc

    for module in pkgutil.walk_packages(recurc.__path__, "recurc."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # what is shared with the children stays shared

    prepared.mkdir(parents=True, exist_ok=True)
    if (prepared / "made").exists():
        return
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.environ["XDG_CACHE_HOME"] = str(prepared / "cache")
            os.chdir(prepared)
            prepare(prepared, needed(names))
            (prepared / "made").touch()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if not (prepared / "made").exists():
        raise SystemExit("what the commands need could not be made")


def campaign(names: list[str], prepared: Path, options: argparse.Namespace) -> int:
    begun, runs, turn, bad = time.monotonic(), 0, 0, 0
    seen: set[tuple] = set()
    for name in names:
        command = COMMANDS[name]
        first = attempt(command, prepared, Injector())
        good = attempt(command, prepared, Injector())  # the first has filled what is filled once
        if good.code not in (0, 6, 7):
            print(f"{name}: recurc {command.line} ends with {good.code} by itself: {good.err[-500:]}")
            bad += 1
            continue
        calls = [call for call in chosen(good.calls) if (call.kind, call.place) not in seen]
        seen |= {(call.kind, call.place) for call in calls}
        drawn = drawn_evenly(calls, options.sample, random.Random(options.seed)) if options.sample else calls
        found: dict[tuple, list[str]] = defaultdict(list)
        shown: dict[tuple, str] = {}
        own = 0
        for call in drawn:
            turn += 1
            for injector in injectors(call, spread(ERRORS[call.kind], options.errors, turn)):
                ending = attempt(command, prepared, injector)
                own += 1
                wrong = judge(ending, good, injector, command.tells)
                error = os.strerror(injector.number) + (" from then on" if injector.lasting else "")
                if options.verbose:
                    print(
                        f"  {call.kind} {call.name} {error} at {call.place[0]}: {ending.code} {wrong}\n    {ending.err[-300:]}"
                    )
                for what in wrong:
                    key = (what.split(" [")[0], call.kind, call.place)
                    found[key].append(error)
                    shown.setdefault(key, f"{call.name}: {what}: exit {ending.code}: {ending.err[-400:].strip()}")
        runs += own
        print(
            f"{name}: {len(first.calls)} calls, {len(calls)} places, {own} runs, {len(found)} findings, "
            f"{time.monotonic() - begun:.0f} s so far",
            flush=True,
        )
        for (what, kind, place), errors in found.items():
            bad += what != "the call was not made"
            print(
                f"  {what} | {kind} at {' < '.join(place)} | {', '.join(dict.fromkeys(errors))}\n"
                f"      {shown[what, kind, place]}",
                flush=True,
            )
    print(f"{runs} runs of {len(names)} commands, {bad} findings")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
