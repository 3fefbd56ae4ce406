"""A kept result is found again for the very same question only: every ingredient of a key changes it."""

from __future__ import annotations

import importlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import recurc
import recurc.models
import recurc.study.workbench as workbench_module
from recurc.noise import Noise
from recurc.quant import weights
from recurc.resources import resource_dir
from recurc.study.store import Store, code_version, content, digest, files_version
from recurc.study.variants import Variant
from recurc.study.workbench import Workbench
from recurc.symmetries import draw, named
from tests.randmodels import random_reasoner, sudoku4
from tests.study.bench import split, workbench

OTHER = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v * 1.5 + 0.25, str: lambda v: v + "x"}


def changed(value):
    """Another value of the same type."""
    return OTHER[type(value)](value)


def touched(model, name):
    """The model with the last value of a tensor moved by the least there is."""
    tensor = np.array(model.tensors[name])
    tensor.flat[-1] = np.nextafter(tensor.flat[-1], np.float32(np.inf))
    return replace(model, tensors={**model.tensors, name: tensor})


# -- the model ----------------------------------------------------------------------------------------------------------


def test_content_covers_every_field_of_the_configuration():
    model = sudoku4()
    found = {content(model)}
    for field in fields(model.config):
        other = {field.name: changed(getattr(model.config, field.name))}
        found.add(content(replace(model, config=replace(model.config, **other))))
    assert len(found) == 1 + len(fields(model.config))


def test_content_covers_every_tensor_and_the_checkpoint():
    model = random_reasoner(seed=3)
    names = [name for name in model.tensors if name != "puzzle_emb.weights"]
    found = {content(model), content(replace(model, sha256="1" * 64)), *(content(touched(model, name)) for name in names)}
    assert len(found) == 2 + len(names)
    assert content(model) == content(replace(model, source="elsewhere", notes=("said",))), "where it lay is no part of it"
    one, other = "L_level.layers.0.mlp.down_proj.weight", "L_level.layers.1.mlp.down_proj.weight"
    swapped = {**model.tensors, one: model.tensors[other], other: model.tensors[one]}
    assert content(replace(model, tensors=swapped)) not in found


def test_digest_tells_arrays_apart_by_type_shape_and_order():
    a = np.arange(6, dtype=np.int32)
    kinds = [a, a.reshape(2, 3), a.reshape(3, 2), a.view(np.float32), a[::-1], a.astype(np.int64), a.tobytes()]
    assert len({digest(k) for k in kinds}) == len(kinds)
    assert digest("ab", "c") != digest("a", "bc") and digest(a, b"") != digest(b"", a)


# -- the code -----------------------------------------------------------------------------------------------------------

DECIDE = [
    "recurc/ops/attention/twin.py", "recurc/ops/swiglu/rows.c.j2", "recurc/recursion.py",
    "recurc/models/reference.py", "recurc/ir/lower.py", "recurc/quant/arith.py", "recurc/quant/asymmetric.py",
    "recurc/storage/grouped.py",
    "recurc/plan/layout.py", "recurc/targets/toolchain.py", "recurc/targets/host.py", "recurc/study/units.py",
     "recurc/emit/code.py", "recurc/study/fake.py", "recurc/evaluate/stepping.py", "recurc/evaluate/measured.py",
    "templates/model.c.j2", "templates/model_config.h.j2", "templates/ops/linear.c.j2", "runtime_c/include/recurc/rc_arith.h",
    "runtime_c/kernels/portable/rc_softmax.c", "runtime_c/kernels/host/rc_avx2.h",
]  # fmt: skip


@pytest.mark.parametrize("name", DECIDE)
def test_the_codes_version_covers_what_decides_a_result(name, monkeypatch):
    top = name.split("/")[0]
    root = Path(recurc.__file__).parent if top == "recurc" else resource_dir(top)
    file, real = root / name.removeprefix(top + "/"), Path.read_bytes
    assert file.is_file()
    before = code_version.__wrapped__()
    monkeypatch.setattr(Path, "read_bytes", lambda self: real(self) + b" " * (self == file))
    assert code_version.__wrapped__() != before


@pytest.mark.parametrize("kind", ["precision", "family"])
def test_the_codes_version_covers_what_others_bring(kind, tmp_path, monkeypatch):
    """Else a result of a precision that was changed would be taken from the cache."""
    folder = tmp_path / f"brought_{kind}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text("SCALE = 1\n")
    (folder / "own.py").write_text(
        "from recurc.models.trm import *\nNAME = 'brought'\n"
        "from recurc.quant.weights import Precision\nfrom recurc.storage import INT8\n"
        "def quantize(w, moment, method): ...\nPRECISION = Precision('brought', INT8, quantize)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(f"brought_{kind}.own")
    room, brought = (weights, module.PRECISION) if kind == "precision" else (recurc.models, module)
    before = code_version.__wrapped__()
    room.register(brought)
    try:
        assert (there := code_version.__wrapped__()) != before
        (folder / "helper.py").write_text("SCALE = 2\n")
        assert code_version.__wrapped__() not in (there, before)
    finally:
        room.unregister("brought")
    assert code_version.__wrapped__() == before


@pytest.mark.parametrize("name", ["solve.py", "recursion.py", "symmetries/groups.py", "evaluate/asked.py"])
def test_the_code_that_answers_belongs_to_a_key(name, monkeypatch):
    """Results of puzzles that are asked again are kept too."""
    file, read, before = Path(recurc.__file__).parent / name, Path.read_bytes, code_version.__wrapped__()
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path == file))
    assert code_version.__wrapped__() != before


def test_a_files_version_covers_its_name_and_bytes(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.py").write_text("y = 1\n")
    made = lambda: files_version.__wrapped__(("a.py", "sub"), tmp_path)  # noqa: E731
    found = {made()}
    (tmp_path / "sub" / "b.py").write_text("y = 2\n")
    found.add(made())
    (tmp_path / "sub" / "b.py").rename(tmp_path / "sub" / "c.py")
    found.add(made())
    (tmp_path / "a.py").write_text("x = 2\n")
    found.add(made())
    assert len(found) == 4


# -- results and weights ------------------------------------------------------------------------------------------------


class Asked(Exception):
    """A store was asked for a key."""


class Asks(Store):
    """A store that gives away the first key it is asked for."""

    def get(self, key, *_):
        raise Asked(key)

    read = get


def asked(call) -> str:
    with pytest.raises(Asked) as e:
        call()
    return str(e.value)


def weights_key(variant: Variant, **options) -> str:
    bench = workbench(4, store=Asks(None), **options)
    return asked(lambda: bench.model(bench.resolve(variant)))


def part_key(steps: int = 1, data=None) -> str:
    return asked(lambda: workbench(4, store=Asks(None)).evaluate([Variant("fp32", "fp32", steps=steps)], data=data))


@pytest.fixture
def other_code(monkeypatch):
    """From its call on the code is another version's."""
    return lambda: monkeypatch.setattr(workbench_module, "code_version", lambda: "another version")


def test_the_weights_key_has_every_ingredient(other_code):
    plain = Variant("int4", method="gptq")
    noise = {"noise": touched(sudoku4(), "lm_head.weight")}
    keys = [
        weights_key(plain),
        weights_key(replace(plain, precision="int3")),
        weights_key(replace(plain, method="mse")),
        weights_key(replace(plain, transform="noise"), subjects=noise),
        weights_key(plain, seed=1),
    ]
    train = split("train")
    for change in ({"inputs": train.inputs[::-1].copy()}, {"puzzle_ids": train.puzzle_ids + 1}):
        bench = workbench(4, store=Asks(None))
        bench.sample = replace(train, **change).sample(16, 0)
        keys.append(asked(lambda b=bench: b.model(b.resolve(plain))))
    other_code()
    keys.append(weights_key(plain))
    assert len(set(keys)) == len(keys)


def test_weights_of_all_depths_and_activations_are_one():
    plain = Variant("int4", method="gptq")
    same = [
        plain,
        replace(plain, steps=1),
        replace(plain, h_cycles=1),
        replace(plain, activations="int8-tensor"),
        replace(plain, carry="fp16"),
        replace(plain, name="x"),
    ]
    assert len({weights_key(v) for v in same}) == 1


def test_the_results_key_has_every_ingredient_of_the_question(other_code):
    base = Variant("int4", "int8-row", "gptq", engine="fake", steps=2, h_cycles=2, l_cycles=2, puzzle_table="image")
    changes = {
        "precision": "int8", "activations": "int8-tensor", "h_cycles": 1, "l_cycles": 1, "steps": 1, "carry": "fp16",
        "puzzle_table": "fp32", "scratch": 4096, "method": "mse", "transform": "noise", "engine": "device",
        "layers": (("lm_head.weight", "int8"),), "symmetries": draw(named("sudoku:2x2", 16, 6), 1, 0),
        "noisy_runs": 3, "own_noise": Noise(1.0),
    }  # fmt: skip
    assert set(changes) == {f.name for f in fields(Variant)} - {"name"}, "a new field is an ingredient, or says why not"
    noise = {"noise": touched(sudoku4(), "lm_head.weight")}
    bench = workbench(4, subjects=noise)
    keys = [bench.key(base), *(bench.key(replace(base, **{name: value})) for name, value in changes.items())]
    keys += [workbench(4, seed=1).key(base), workbench(4, full=True).key(base)]
    keys.append(Workbench(sudoku4(), split("test").take(4)).key(base))
    keys.append(Workbench(touched(sudoku4(), "H_init"), split("test").take(4), split("train"), puzzles=16).key(base))
    config = replace(sudoku4().config, rms_norm_eps=1e-6)
    keys.append(Workbench(replace(sudoku4(), config=config), split("test").take(4), split("train"), puzzles=16).key(base))
    other_code()
    keys.append(bench.key(base))
    assert len(set(keys)) == len(keys)
    assert bench.key(base) == bench.key(replace(base, name="called otherwise"))


def test_the_results_key_has_every_ingredient_of_the_puzzles():
    data = split("test").take(4)
    keys = [
        part_key(),
        part_key(2),
        part_key(data=split("test").take(4, 4)),
        part_key(data=split("test").take(3)),
        part_key(data=replace(data, ignore_label_id=int(data.labels.flat[0]))),
    ]
    for name in ("inputs", "labels"):
        values = np.array(getattr(data, name))
        values.flat[0] = values.flat[0] % (data.vocab_size - 1) + 1
        keys.append(part_key(data=replace(data, **{name: values})))
    assert len(set(keys)) == len(keys)
    chunks = [next(workbench(4).chunks(1, d)).key for d in (data, replace(data, puzzle_ids=data.puzzle_ids + 1))]
    assert chunks[0] != chunks[1]
