"""What tests of commands share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder of results that the tests of a file share, as a user's runs do."""
    return tmp_path_factory.mktemp("cache")
