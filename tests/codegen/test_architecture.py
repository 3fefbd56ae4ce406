"""The architecture in an image's header: equal for all weights, other for all that the code depends on."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from recurc.emit.architecture import differences, digest
from recurc.emit.code import emit_model
from recurc.emit.image import architecture, architecture_in, build_image
from recurc.errors import InputError
from recurc.ir.lower import lower
from recurc.plan.kernels import KERNEL_SETS, kernel_set
from recurc.plan.layout import make_layout
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.symmetries import Symmetry
from recurc.targets.host import HostEngine
from tests.codegen.builder import compile_model
from tests.randmodels import random_reasoner

SCRATCH = 20_000
PORTABLE = kernel_set("portable")
MANY = {"puzzles": 700, "ndim": 40}  # a table that is streamed


def quantized(precision="int4", layer_precisions=None, lowering=None, **shape):
    model = random_reasoner(**shape)
    method = "mse" if precision.startswith("int4") else None
    return quantize_model(
        model, precision_named(precision), method=method, layer_precisions=layer_precisions, name="m", **(lowering or {})
    )


def sources(model, kernels=PORTABLE) -> dict[str, str]:
    """What is compiled of a model beside its weights; comments and the name for people are not."""
    layout = make_layout(model.program, model.forms, kernels, SCRATCH)
    made = emit_model(model, build_image(model, kernels), kernels, layout)
    return {name: made[name] for name in ("model.c", "model_config.h")}


def code(model, kernels=PORTABLE) -> str:
    text = re.sub(r"/\*.*?\*/", "", "\n".join(sources(model, kernels).values()), flags=re.S)
    text = re.sub(r'\.name = "[^"]*"', "", text)
    return re.sub(r"ARCHITECTURE\[16\] = \{[^}]*\}", "", text)


def told(model, kernels=PORTABLE):
    return architecture(model.program, model.forms, kernels)


FORMS = tuple(Symmetry.of(np.random.default_rng(i).permutation(9), np.arange(7)) for i in (1, 2))
WITH_FORMS = {"lowering": {"symmetries": FORMS}}
CASES = {
    "attention": {}, "mlp_t": {"mixer": "mlp_t"}, "hrm": {"h_layers": 1}, "streamed": MANY,
    "mixed": {"layer_precisions": {"lm_head*": "int8"}}, "groups": {"precision": "int4-g32"},
    "int8 carry": {"lowering": {"carry": "int8"}}, "forms": WITH_FORMS,
}  # fmt: skip
OTHERS = (
    {"vocab": 8}, {"seq": 10}, {"hidden": 64}, {"heads": 2}, {"pos": "none"}, {"pos": "learned"}, {"layers": 1}, {"plen": 2},
    {"ndim": 0, "plen": 0}, {"ndim": 16}, {"cycles": (2, 3)}, {"cycles": (1, 2)}, {"steps": 5}, {"puzzles": 4},
    {"expansion": 30}, {"precision": "int8"}, {"precision": "int3"}, {"precision": "int2"}, {"precision": "fp32"},
    {"mixer": "mlp_t", "expansion": 60}, {"layer_precisions": {"q_head*": "int8"}}, {"lowering": {"carry": "fp16"}},
    {"lowering": {"puzzle_table": "fp32"}}, {"lowering": {"puzzle_table": "int8"}}, {"lowering": {"symmetries": FORMS[:1]}},
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_sources_of_a_retrained_model_are_equal_to_the_byte(name):
    first, again = (quantized(seed=seed, **CASES[name]) for seed in (0, 1))
    assert sources(first) == sources(again)
    a, b = (build_image(model, PORTABLE) for model in (first, again))
    assert a.data[40:72] != b.data[40:72] and a.data != b.data
    assert a.architecture == b.architecture == digest(told(first)) == architecture_in(a.data) == a.data[72:88]


def test_other_forms_of_a_puzzle_are_no_other_architecture():
    other = tuple(Symmetry.of(np.random.default_rng(i).permutation(9), np.arange(7)) for i in (3, 4))
    assert sources(quantized(**WITH_FORMS)) == sources(quantized(lowering={"symmetries": other}))


def test_whatever_changes_the_code_changes_the_architecture():
    models = [quantized(**knobs) for knobs in (*CASES.values(), *OTHERS)]
    config = models[0].program.config
    for change in ({"rms_norm_eps": 1e-6}, {"rope_theta": 500.0}, {"halt_rule": "q_halt>q_continue"}):
        models.append(replace(models[0], program=lower(replace(config, **change), models[0].program.lowering)))
    texts, digests = [code(model) for model in models], [digest(told(model)) for model in models]
    assert len(set(texts)) >= len(texts) - 1, "rope_theta is in the image alone"
    assert len(set(digests)) == len(digests)
    each = [digest(told(models[0], kernels)) for kernels in KERNEL_SETS]
    assert len(set(each)) == len({kernels.packing for kernels in KERNEL_SETS})


def test_scratch_and_what_training_alone_knows_are_no_part():
    model = quantized()
    config = replace(model.program.config, forward_dtype="float32", expansion=4.01)
    other = replace(model, program=lower(config, replace(model.program.lowering, scratch=9000)))
    assert told(model) == told(other)


def test_it_is_the_same_in_every_version_of_recurc():
    """Devices in the field compare it: other words for the same facts, and they refuse every new image."""
    found = {name: digest(told(quantized(**CASES[name]))).hex() for name in ("attention", "mlp_t", "hrm", "groups")}
    assert found == PINNED
    assert told(quantized())[:5] == (
        ("arithmetic", "2"), ("packing", "4"), ("hidden_size", "32"), ("seq_len", "9"), ("vocab_size", "7"),
    )  # fmt: skip


PINNED: dict[str, str] = {
    "attention": "25b7384e6dd610110357b2a657913b0b", "groups": "5fdc89366258c8e74fb711ea42d38967",
    "hrm": "8c2fc76e79af724878233423766bf9c0", "mlp_t": "4fdab5394450879cbdc18404a2360c8d",
}  # fmt: skip


def test_differences_are_told_in_words():
    mine, its = told(quantized(hidden=64, heads=2)), told(quantized())
    found = differences(mine, its)
    assert found[0] == "hidden_size is 64, the build has 32"
    assert "L_level op 0 heads is 2, the build has 4" in found and differences(its, its) == []
    more = differences(told(quantized(layers=1)), its)
    assert more[0] == "ops of L_level is 2, the build has 4" and "L_level op 2 is none, the build has attention" in more


def test_an_op_with_a_field_that_has_no_words_is_refused():
    model = quantized()
    block = model.program.blocks[0]
    odd = replace(block, ops=(replace(block.ops[0], theta={}), *block.ops[1:]))
    with pytest.raises(InputError, match="field cannot be told"):
        architecture(replace(model.program, blocks=(odd,)), model.forms, PORTABLE)


@pytest.mark.parametrize("name", ["attention", "forms"])
def test_code_of_one_model_runs_the_weights_of_another(tmp_path, kernels_folder, name):
    """The image of a retrained model in code that was compiled before: the bits are those of code that was made for it."""
    engines = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        engines.append(compile_model(folder, quantized(seed=seed, **CASES[name]), shared=kernels_folder))
    library, image = next((tmp_path / "0").glob("**/*.so")), next((tmp_path / "1").glob("**/*.rcm"))
    engines.append(HostEngine(library, image))
    tokens, carries = np.arange(9) % 7, []
    for engine in engines:
        engine.begin(tokens)
        engine.step()
        carries.append(engine.carry_bytes() + engine.raw("logits"))
    assert carries[0] != carries[1] == carries[2]
