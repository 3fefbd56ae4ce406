"""The kernels' shared libraries, compiled once a test process."""

import pytest

from tests.tools import need


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory):
    need("host")
    return tmp_path_factory.mktemp("kernels")
