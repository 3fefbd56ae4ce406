"""Forty seconds of fuzzing in all, from the committed corpus; and that the harness finds what it is there to find."""

from __future__ import annotations

import subprocess

import pytest

from tests.fuzz.fuzzing import CORPUS, TARGETS, Crash, build, compiler, fuzz
from tests.tools import missing, need

SECONDS = 40 // len(TARGETS)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    need("host")
    if compiler() is None:
        missing("clang")
    folder, made = tmp_path_factory.mktemp("fuzz"), {}

    def get(name):
        if name not in made:
            made[name] = build(name, folder)
        return made[name]

    return get


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name, programs, tmp_path):
    report = fuzz(programs(name), name, tmp_path / "kept", seconds=SECONDS)
    assert report.runs > 1000 and report.covered > 20
    assert len(list((CORPUS / name).iterdir())) >= 3


def test_a_planted_mistake_is_found(tmp_path, monkeypatch):
    """A receiver that forgets its limit is caught by the same harness within seconds."""
    need("host")
    if compiler() is None:
        missing("clang")
    from recurc.resources import resource_dir

    source = (resource_dir("runtime_c") / "wire" / "rc_frame.c").read_text()
    broken = source.replace("if (rx->length < RC_WIRE_MAX_ENCODED) {", "if (rx->length < 2u * RC_WIRE_MAX_ENCODED) {")
    assert broken != source
    (tmp_path / "rc_frame.c").write_text(broken)
    real = subprocess.run

    def run(command, **options):
        return real([str(tmp_path / "rc_frame.c") if str(c).endswith("wire/rc_frame.c") else c for c in command], **options)

    monkeypatch.setattr(subprocess, "run", run)
    program = build("receiver", tmp_path)
    with pytest.raises(Crash, match="AddressSanitizer|index .* out of bounds"):
        fuzz(program, "receiver", tmp_path / "kept", runs=3_000_000)
