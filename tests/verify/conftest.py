"""The device tests' fixtures serve here too, and those of the stand-ins."""

from tests.device.conftest import elfs, engine, session  # noqa: F401
from tests.verify.standins import command, verify  # noqa: F401
