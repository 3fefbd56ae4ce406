"""The device tests' fixtures serve here too."""

from tests.device.conftest import elfs, engine, session  # noqa: F401
