"""Names of a step's ops for profiles, and the version that a model says it was compiled with."""

from __future__ import annotations

import ctypes
import re

import pytest

from recurc.emit.code import OP_NAMES
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.toolchain import compile_shared
from recurc.verify.places import step_places
from tests.codegen.builder import RUNTIME, compile_model, write_sources
from tests.randmodels import random_reasoner

MODELS = {"two ops": random_reasoner("mlp_t", pos="none"), "attention": random_reasoner("attention", layers=2, cycles=(2, 3))}


@pytest.mark.parametrize("name", MODELS)
def test_each_op_of_a_step_has_a_name(name, tmp_path):
    model = quantize_model(MODELS[name], precision_named("int8"))
    write_sources(tmp_path, model, kernel_set("portable"), 20_000)
    library = ctypes.CDLL(str(compile_shared([tmp_path / OP_NAMES], [tmp_path, RUNTIME / "include"], tmp_path / "names.so")))
    library.rc_op_name.restype = ctypes.c_char_p
    places = step_places(model.program)[1:]
    named = [library.rc_op_name(op).decode() for op in range(len(places))]
    assert named == [f"{p.kind} {p.layer} on {p.tensor}" if p.call else "heads" for p in places]
    assert library.rc_op_name(len(places)) is None and library.rc_op_name(2**32 - 1) is None


def test_a_model_tells_the_version_of_its_interface(tmp_path, kernels_folder):
    model = quantize_model(MODELS["two ops"], precision_named("int8"))
    engine = compile_model(tmp_path / "m", model, shared=kernels_folder)
    header = (RUNTIME / "include/recurc/rc.h").read_text()
    assert engine.info.api == int(re.search(r"#define RC_API_VERSION (\d+)u", header)[1]) > 0
    assert engine.info.name and engine.info.ops == model.program.ops_per_step and engine.info.image_bytes == len(engine._image)
