"""An op is one folder: code outside the package adds one, and it is planned, compiled, run, verified and exported."""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import recurc.models
import recurc.ops
from recurc import extensions
from recurc.api import Gate, Model
from recurc.build.manifest import load_build
from recurc.cli.main import main
from recurc.dataset import Dataset
from recurc.emit.code import emit_model
from recurc.emit.image import build_image
from recurc.emit.readback import read_model
from recurc.errors import InputError
from recurc.exchange.onnx_export import export_onnx
from recurc.exchange.onnx_loop import OnnxLoop
from recurc.ir.lower import lower
from recurc.models.reasoner import Reasoner
from recurc.models.reference import Reference
from recurc.models.shapes import model_tensors
from recurc.ops import LinearRef, Op, OpError, RmsNorm, registry
from recurc.plan.budget import image_budget
from recurc.plan.cost import estimate, work_summary
from recurc.plan.kernels import kernel_set
from recurc.plan.layout import make_layout
from recurc.plan.work import step_work
from recurc.quant.model import quantize_model
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named
from recurc.recursion import Block
from recurc.study.fake import FakeModel
from recurc.targets.boards import load_board
from tests.codegen.bits import differences
from tests.codegen.builder import HERE_SETS, compile_model
from tests.imports import FILES, PACKAGE, imports
from tests.models.builders import arch, state_dict, write_checkpoint, write_dataset
from tests.ops import toy_family
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need

HERE = Path(__file__).parent
GOOD = Gate(1.0, 1, "calibration puzzles", ())


@pytest.fixture
def toy(monkeypatch):
    """The op is registered and its family is found, for one test."""
    recurc.ops.registered()
    for name in ("_packages", "_classes"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    recurc.ops.register("tests.ops.scaled_mix")
    recurc.models.register(toy_family)
    yield
    if "toy" in recurc.models.families():
        recurc.models.unregister("toy")


def reasoner(mixer: str = "attention", **options) -> Reasoner:
    """A random model of the toy family."""
    plain, rng = random_reasoner(mixer, **options), np.random.default_rng(7)
    config = replace(plain.config, family="toy")
    added = {name: shape for name, shape in model_tensors(config).items() if name not in plain.tensors}
    assert list(added) == ["L_level.layers.0.scaled_mix.weight"]
    d = config.hidden_size
    return replace(plain, config=config, tensors={**plain.tensors, **{n: np.float32(rng.normal(size=s) / d ** 0.5)
                                                                      for n, s in added.items()}})  # fmt: skip


@pytest.mark.parametrize(("mixer", "precision", "carry"), [
    ("attention", "int4", "fp32"), ("mlp_t", "fp32", "fp32"), ("mlp_t", "int8", "int8"), ("attention", "int4", "fp16"),
])  # fmt: skip
def test_the_engine_equals_the_twin(toy, mixer, precision, carry, tmp_path):
    need("host")
    r = reasoner(mixer, hidden=40, seq=11, layers=1)
    model = quantize_model(r, precision_named(precision), method="min-max", carry=carry)
    engines = {name: compile_model(tmp_path / name / "m", model, name, 3_000) for name in HERE_SETS}
    assert differences(model, r, engines) == []
    text = (tmp_path / "portable" / "m" / "model.c").read_text()
    assert "tokens at a time. */\nstatic void scaled_mix_2(" in text and "0x1.0624de0000000p-10f" in text, "a norm of its own"


def test_planned_and_counted(toy):
    r = reasoner(hidden=40, seq=11)
    model = quantize_model(r, precision_named("int4"), method="min-max")
    program, kernels = model.program, kernel_set("dsp")
    assert program.macs_per_call["L_level"] - lower(replace(r.config, family="trm")).macs_per_call["L_level"] == 12 * 40 * 40
    layout = make_layout(program, model.forms, kernels, 20_000)
    work = step_work(program, layout, model.forms, kernels)
    assert sum(w.macs for w in work.values()) == program.macs_per_step
    assert list(work)[-6:-4] == ["scaled mixing", "heads"] and work["scaled mixing"].macs == 6 * 12 * 40 * 40
    found = estimate(work_summary(program, layout, model.forms, kernels), load_board("mps2-an500"))
    assert {c["name"]: c["macs"] for c in found["classes"]}["scaled mixing"] == 6 * 12 * 40 * 40
    image = build_image(model, kernels)
    assert len(image.data) == image_budget(program, model.forms, kernels).total
    assert image.section("scaled_mix.scale").bytes == 4 * 12


def test_the_torch_models_agree_with_the_twin(toy):
    r = reasoner(hidden=32)
    inputs, ids = random_inputs(r, 2)
    for precision, other in (("fp32", Reference(r)), ("int8", None)):
        model = quantize_model(r, precision_named(precision))
        if other is None:
            other = FakeModel(r, {name: w.dequantized() for name, w in model.weights.items()})
        twin = Twin(model)
        twin.begin(inputs, ids)
        twin.step()
        z = next(iter(other.steps(inputs, ids))).z_H
        assert torch.nn.functional.cosine_similarity(z, torch.from_numpy(twin.z_H), dim=-1).min() > 0.999


def test_exported(toy, tmp_path):
    pytest.importorskip("onnxruntime")
    r = reasoner(hidden=32)
    model, (inputs, ids) = quantize_model(r, precision_named("fp32")), random_inputs(r, 1)
    export_onnx(model, tmp_path / "onnx")
    loop, twin = OnnxLoop(tmp_path / "onnx"), Twin(model)
    loop.begin(inputs[0], int(ids[0]))
    twin.begin(inputs, ids)
    loop.step()
    twin.step()
    assert np.abs(loop.state["z_H"] - twin.z_H[0]).max() < 1e-4


def test_from_a_checkpoint_to_a_verified_build(toy, tmp_path, capsys):
    need("host")
    fields = arch(name="tests.toy@Toy")
    tensors = state_dict(fields)
    d = fields["hidden_size"]
    tensors["L_level.layers.0.scaled_mix.weight"] = torch.randn(d, d, generator=torch.Generator().manual_seed(1)) / d**0.5
    write_dataset(tmp_path / "data", n=24)
    checkpoint = write_checkpoint(tmp_path, fields, tensors)
    assert run(["inspect", str(checkpoint)]) == 0
    assert re.search(r"block +layers: \d; SwiGLU width \d+; scaled mix \(32 to 32\) \(expansion", capsys.readouterr().out)
    out = str(tmp_path / "build")
    assert run(["build", str(checkpoint), "--data", str(tmp_path / "data"), "--target", "host", "--precision", "int8",
                "--calibration-puzzles", "8", "--min-fidelity", "0", "--out", out]) == 0, capsys.readouterr().err  # fmt: skip
    capsys.readouterr()
    for on in ("host", "onnxruntime"):
        assert run(["verify", out, "--data", str(tmp_path / "data"), "--on", on, "--limit", "2", "--steps", "2", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["n"], found["matched"]) == (2, 2) and (found["bit_exact"] or on == "onnxruntime")


def test_a_build_is_read_where_its_op_is_not_installed(toy, tmp_path, capsys):
    need("mps2-an386")
    r = reasoner(hidden=32)
    made = Model(r, "toy").quantize("int8").build("mps2-an386", tmp_path / "build", gate=GOOD)
    recurc.ops.unregister("scaled_mix")
    recurc.models.unregister("toy")
    capsys.readouterr()
    assert run(["report", str(made.path), "--html", "--wide"]) == 0
    assert "scaled mixing" in capsys.readouterr().out
    assert "scaled mixing: of an op that is not installed here" in (made.path / "report.html").read_text()
    inputs, ids = random_inputs(r, 1)
    c = r.config
    puzzles = Dataset(inputs, np.zeros_like(inputs, dtype=np.int32), ids.astype(np.int32), c.seq_len, c.vocab_size,
                      c.num_puzzle_identifiers, None, Path("nowhere"), "test")  # fmt: skip
    assert recurc.verify(made.path, on="host", dataset=puzzles, steps=1).bit_exact, "names of ops are not needed for it"
    with pytest.raises(InputError, match="the model family 'toy' is unknown.*Install the package that brings it"):
        read_model(load_build(made.path))


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        sys.exit(main(arguments))
    return int(end.value.code or 0)


# -- what is missing is named -------------------------------------------------------------------------------------------


LINEAR = LinearRef("L_level.layers.0.self_attn.o_proj.weight", 32, 32)


@dataclass(frozen=True)
class Unknown(Op):
    kind: ClassVar[str] = "unknown_op"

    @property
    def linears(self) -> tuple[LinearRef, ...]:
        return ()


def only(op: Op):
    """A model of one block with one op."""
    model = quantize_model(random_reasoner(layers=1), precision_named("fp32"))
    return replace(model, program=replace(model.program, blocks=(Block("L_level", (op,)),)))


ASKED = {
    "layout": lambda model, folder: make_layout(model.program, model.forms, kernel_set("portable"), 20_000),
    "twin": lambda model, folder: Twin(model).op(model.program.ops[0], np.zeros((1, 10, 32), np.float32)),
    "onnx": lambda model, folder: export_onnx(model, folder / "onnx"),
    "constants": lambda model, folder: build_image(model, kernel_set("portable")),
}


def package(folder: Path, monkeypatch, *parts: str) -> str:
    """An op's folder outside the package that has these files of tests/ops/scaled_mix, under another kind."""
    name = "bare_" + "_".join(p.partition(".")[0] for p in parts)
    root = folder / name
    root.mkdir()
    for file in ("__init__.py", "op.py", *parts):
        text = (HERE / "scaled_mix" / file).read_text()
        (root / file).write_text(text.replace('"scaled_mix"', f'"{name}"').replace("tests.ops.scaled_mix", name))
    monkeypatch.syspath_prepend(folder)
    return name


@pytest.mark.parametrize("name", ["layout", "twin", "onnx"])
def test_an_unknown_op_is_named(name, tmp_path):
    with pytest.raises(OpError, match="'unknown_op' is unknown.*token_mix.*recurc.ops.register"):
        ASKED[name](only(Unknown()), tmp_path)


@pytest.mark.parametrize("name", ASKED)
def test_a_missing_part_is_named(toy, name, tmp_path, monkeypatch):
    op = recurc.ops.register(package(tmp_path, monkeypatch))
    model = only(op(LINEAR, RmsNorm(1e-5)))
    if name != "constants":  # it is asked first, and has them
        monkeypatch.setattr(op, "constants", lambda self, shape: ())
    with pytest.raises(OpError, match=f"the op 'bare_' has no part '{name}' .bare_.: there is no {name}.py"):
        ASKED[name](model, tmp_path)


def test_work_reference_and_template_too(toy, tmp_path, monkeypatch):
    op = recurc.ops.register(package(tmp_path, monkeypatch, "layout.py"))
    monkeypatch.setattr(op, "constants", lambda self, shape: ())
    model = only(op(LINEAR, RmsNorm(1e-5)))
    kernels = kernel_set("portable")
    layout = make_layout(model.program, model.forms, kernels, 20_000)
    with pytest.raises(OpError, match="no part 'work'"):
        step_work(model.program, layout, model.forms, kernels)
    with pytest.raises(OpError, match="no part 'template'"):
        emit_model(model, build_image(model, kernels), kernels, layout)
    reference = Reference(random_reasoner(layers=1))
    reference.blocks["L_level"] = model.program.blocks[0]
    with pytest.raises(OpError, match="no part 'reference'"):
        reference.net("L_level", torch.zeros(1, 10, 32))


def test_a_part_of_another_kind_is_named(toy, tmp_path, monkeypatch):
    name = package(tmp_path, monkeypatch, "layout.py", "work.py")
    (tmp_path / name / "layout.py").write_text("PART = object()\n")
    op = recurc.ops.register(name)
    with pytest.raises(OpError, match="PART in layout.py is no OpLayout"):
        ASKED["layout"](only(op(LINEAR, RmsNorm(1e-5))), tmp_path)


def test_registering(toy, tmp_path, monkeypatch):
    assert recurc.ops.register("tests.ops.scaled_mix") is recurc.ops.registered()["scaled_mix"], "again does nothing"
    for name, why in (("tests.ops", "no op's folder"), ("tests.nothing", "no op's folder")):
        with pytest.raises(OpError, match=why):
            recurc.ops.register(name)
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "op.py").write_text((HERE / "scaled_mix" / "op.py").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(OpError, match="two ops called 'scaled_mix'"):
        recurc.ops.register("second")
    recurc.ops.unregister("scaled_mix")
    assert "scaled_mix" not in recurc.ops.registered()


def test_an_installed_package_names_its_op_by_an_entry_point(monkeypatch):
    found = [EntryPoint("scaled_mix", "tests.ops.scaled_mix", registry.ENTRY_POINTS)]
    for name in ("_packages", "_classes"):
        monkeypatch.setattr(registry, name, {})
    monkeypatch.setattr(registry, "_searched", [])
    monkeypatch.setattr(extensions, "entry_points", lambda group: found)
    assert list(recurc.ops.registered())[-1] == "scaled_mix" and {"attention", "channel_mix"} < set(recurc.ops.registered())


def test_an_unknown_family_is_named():
    with pytest.raises(InputError, match="family 'nobody' is unknown"):
        lower(replace(random_reasoner().config, family="nobody"))


def test_updates_that_the_runtime_cannot_make_are_refused():
    model = quantize_model(random_reasoner(layers=1), precision_named("fp32"))
    program, kernels = model.program, kernel_set("portable")
    (turn,) = program.schedule.body
    more = replace(turn, body=(replace(turn.body[1], sources=("z_L", "z_H")),))
    model = replace(model, program=replace(program, schedule=replace(program.schedule, body=(more,))))
    with pytest.raises(InputError, match=r"cannot update z_H with z_L \+ z_H"):
        emit_model(model, build_image(model, kernels), kernels, make_layout(model.program, model.forms, kernels, 20_000))


def test_constants_of_one_name_are_one():
    program = lower(random_reasoner(layers=1).config)
    attention = program.ops[0]
    other = replace(attention, heads=2, head_dim=16)
    twice = replace(program, blocks=(Block("L_level", (attention, replace(attention, o=attention.qkv))),))
    assert [constant.name for constant in twice.constants] == ["rope.cos", "rope.sin"]
    with pytest.raises(ValueError, match="different constants by rope.cos"):
        _ = replace(program, blocks=(Block("L_level", (attention, other)),)).constants


def test_ops_share_a_function_only_when_all_but_the_layers_names_is_equal():
    program, kernels = lower(random_reasoner(layers=1).config), kernel_set("portable")
    attention, form = program.ops[0], precision_named("fp32").form
    for other, shapes in ((attention, 1), (replace(attention, norm=RmsNorm(1e-3)), 2), (replace(attention, rope=False), 2),
                          (replace(attention, heads=2, head_dim=16), 2)):  # fmt: skip
        layout = make_layout(replace(program, blocks=(Block("L_level", (attention, other)),)), form, kernels, 20_000)
        assert len(layout.shapes) == shapes


def test_only_families_name_ops():
    """No room asks which op it has before it: what it needs to know, the op's parts say."""
    told = {f"recurc.ops.{kind}" for kind in recurc.ops.registered()}
    names = {
        str(path.relative_to(PACKAGE))
        for path in FILES if path.parts[len(PACKAGE.parts)] != "ops"
        for name in imports(ast.parse(path.read_text()), ".".join(("recurc", *path.relative_to(PACKAGE).parts[:-1])))
        if name.rpartition(".op.")[0] in told or name in told
    }  # fmt: skip
    assert names == {"models/two_states.py"}
