"""The build of the PlatformIO tests serves here too."""

from tests.pio.conftest import made, project  # noqa: F401
