"""`python -m tests.tiers REPORT [--seconds N] [--more]`: writes slow.txt from a JUnit report of pytest."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.tiers import choose, durations, slow, write


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tiers", description=__doc__)
    parser.add_argument("report", type=Path, help="what `pytest --junitxml=REPORT` wrote")
    parser.add_argument("--seconds", type=float, default=120, help="processor seconds that the fast tests may take (120)")
    parser.add_argument("--more", action="store_true", help="the report is of the fast tier: add to the list what is slow now")
    options = parser.parse_args()
    seconds = durations(options.report)
    out = choose(seconds, options.seconds)
    write({*out, *(slow() if options.more else ())})
    print(f"{len(seconds)} functions, {sum(seconds.values()):.0f} s; left out {len(out)} that take "
          f"{sum(seconds[name] for name in out):.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
