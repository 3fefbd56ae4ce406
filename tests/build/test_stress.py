"""A sample of the campaign: no kill, full disk or company loses a file."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tools import need


def test_twenty_random_runs_lose_nothing():
    need("host")
    done = subprocess.run([sys.executable, "-m", "tests.build.stress", "--runs", "20", "--seed", "20"], capture_output=True,
                          text=True, cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0 and "20 runs, 0 losses" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
