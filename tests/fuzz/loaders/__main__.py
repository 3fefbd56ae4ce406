"""Fuzzes the readers of files: `python -m tests.fuzz.loaders --loader board --mutations 1000000`.

Every run must succeed or refuse in one plain paragraph, within 10 s and 1 GB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.loaders.harness import fuzz
from tests.fuzz.loaders.loaders import LOADERS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loader", action="append", choices=list(LOADERS), help="repeatable; all when left out")
    parser.add_argument("--mutations", type=int, default=10_000, help="of each loader")
    parser.add_argument("--seconds", type=float, default=0.0, help="end each loader after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    args = parser.parse_args()
    found = 0
    for name in args.loader or LOADERS:
        report = fuzz(LOADERS[name], args.mutations, args.seed, args.keep, args.seconds)
        found += len(report.findings)
        print(
            f"{name:15} {report.runs:>10,} mutations  {report.accepted:>8,} accepted  {report.seconds:>7.1f} s "
            f"({report.busy:.1f} busy)  slowest {report.slowest:.2f} s  {report.memory >> 20} MiB  "
            f"{len(report.findings)} findings",
            flush=True,
        )
        for text in report.findings.values():
            print(text, flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
