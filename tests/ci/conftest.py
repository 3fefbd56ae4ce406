"""A repository with a build of the bundled tiny model in it, and what `recurc ci` writes for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recurc.cli.main import main
from tests.build.conftest import built, data, gate, model, quantized  # noqa: F401


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """This checkout as a wheel, made without a network."""
    out = tmp_path_factory.mktemp("wheel")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=root,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def repository(built, data, wheel, tmp_path_factory) -> Path:  # noqa: F811
    root = tmp_path_factory.mktemp("repository with a blank")
    shutil.copytree(built.path, root / "firmware" / "tiny")
    assert main(["ci", str(root / "firmware" / "tiny"), "--out", str(root), "--data", str(data), "--limit", "1",
                 "--install", str(wheel)]) == 0  # fmt: skip
    return root
