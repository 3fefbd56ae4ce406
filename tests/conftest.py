"""One thread a test process: the tests' matrices are small, and two processes run side by side."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
