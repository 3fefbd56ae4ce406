"""Commands run in this process."""

from __future__ import annotations

import pytest

from recurc.cli.main import main


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `recurc ARGUMENTS`; a traceback fails the test."""
    status = main([*arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return status, said.out, said.err
