"""One thread a test process: the tests' matrices are small, and two processes run side by side."""

import os
import tempfile

import pytest
from hypothesis import settings

from tests.schemas import held_to_schemas  # noqa: F401 - for every test
from tests.tiers import function_of, slow

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Which builds were made here is noted for this run, not for the user.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="recurc-tests-")
# The page is as wide as a pipe's, whatever terminal the tests are started from.
os.environ.pop("COLUMNS", None)

# Tests judge no times, and a run can be repeated: what hypothesis tries depends on the test alone.
settings.register_profile("recurc", deadline=None, derandomize=True)
settings.load_profile("recurc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what tests/tiers/slow.txt names, so that `-m "not slow"` is the fast tier."""
    names = slow()
    for item in items:
        if function_of(item.nodeid) in names:
            item.add_marker("slow")
