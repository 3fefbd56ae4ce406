"""Run the numeric tests under each variant of this computer's processor.

    python -m tests.cpus [--only NAME]... [what pytest takes]

Without tests, those of NUMERIC. Ends with one line a variant, and status 1 when one of them failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.cpus import NUMERIC, ROOT, VARIANTS


def main() -> int:
    names = [v.name for v in VARIANTS]
    parser = argparse.ArgumentParser(prog="python -m tests.cpus", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=names, help="a variant; all of them when left out")
    asked, rest = parser.parse_known_args()
    given = any((ROOT / word.split("::")[0]).exists() for word in rest)
    tests = rest if given else [*rest, *(f"tests/{name}" for name in NUMERIC)]
    said, failed = [], False
    for variant in VARIANTS:
        if variant.name not in (asked.only or names):
            continue
        missing = variant.missing()
        if missing:
            said.append(f"{variant.name}: skipped, {missing}")
            continue
        print(f"-- {variant.name}: {' '.join(f'{k}={v}' for k, v in variant.env.items())}", flush=True)
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, env=variant.environment())
        failed |= done.returncode != 0
        said.append(f"{variant.name}: {'passed' if done.returncode == 0 else f'failed, status {done.returncode}'}")
    print("\n".join(["", *said]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
