"""Every build has a known answer in each of its images, the same one."""

from __future__ import annotations

from recurc.emit.image import HEADER, check_image
from recurc.emit.readback import read_model
from recurc.storage.image import KINDS
from recurc.storage.known import unpack
from recurc.targets.host import HostEngine


def test_a_build_tests_itself(built, quantized):
    engine = HostEngine(built.host_library, built.host_image)
    for steps in (0, 1, 99):
        engine.selftest(steps)
    known = read_model(built).known
    assert known is not None and known.tokens == quantized.sample.inputs[0].astype("u1").tobytes()
    assert len(known.steps) == built.steps and known.puzzle_id == 0
    for artifact in built.boards.values():
        data = artifact.image.read_bytes()
        kind, offset, size = check_image(data)[-1]
        assert kind == KINDS["known"] and offset > HEADER.size
        assert unpack(data[offset : offset + size], quantized.model.program) == known


def test_an_engine_that_was_compiled_for_a_run_is_the_builds(built, quantized):
    """Its image has no answer yet; the library is the same."""
    assert quantized.model.known is None and "engine" in vars(quantized)
    (library,) = quantized._engine_folder.glob("*.so")
    assert built.host_library.read_bytes() == library.read_bytes()
