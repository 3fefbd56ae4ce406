"""Fuzzes the firmware's side of the wire and its readers: `python -m tests.fuzz --runs 10000000`, or `--seconds 60`.

Both count for all targets together.

New inputs that reach more code go to a folder of their own (`--keep DIR`), never to the committed corpus; `--merge` takes the
smallest set of both that reaches everything into the corpus.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.fuzz.fuzzing import TARGETS, build, fuzz, merge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all when left out")
    parser.add_argument("--runs", type=int, default=0, help="executions, shared by the targets")
    parser.add_argument("--seconds", type=int, default=60, help="time, shared by the targets, when no --runs are given")
    parser.add_argument("--keep", type=Path, help="folder of new inputs, one folder a target")
    parser.add_argument("--merge", action="store_true", help="merge what was kept into the corpus")
    args = parser.parse_args()
    names = args.targets or list(TARGETS)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            kept = (args.keep or Path(folder)) / name
            program = build(name, Path(folder))
            report = fuzz(program, name, kept, args.runs // len(names), 0 if args.runs else max(1, args.seconds // len(names)))
            print(f"{name:10} {report.runs:>12,} runs  {report.per_second:>8,} a second  {report.covered:>5} edges", flush=True)
            if args.merge:
                merge(program, name, kept)


if __name__ == "__main__":
    main()
