"""The device tests' firmware serves here too."""

from tests.device.conftest import elfs  # noqa: F401
