"""The readers of files that recurc has, each with a small valid input and how that is mutated."""

from __future__ import annotations

import hashlib
import json
import random
import types
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from unittest import mock

import numpy as np
import yaml

from recurc.emit.image import ENTRY, HEADER, build_image
from recurc.quant.tableformat import HEADER as TABLE_HEADER
from tests.boardfiles import board_text
from tests.fuzz.loaders.archives import directory, members, pickle_ops
from tests.fuzz.loaders.harness import Loader
from tests.fuzz.loaders.mutate import BYTES, TEXT, Mutation, floats, framed, head, mixed, tail
from tests.fuzz.loaders.smallelf import alike_structs, load_elf, write_elf

_text = mixed(TEXT, TEXT, TEXT, BYTES)
_bytes = mixed(BYTES)
_npy = mixed((framed(8, 2, _text),), (framed(8, 2, _text), head), BYTES)


# -- checkpoints ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _small() -> tuple[dict, dict]:
    """(arch fields, tensors) of the smallest model: 15 tensors of 25 kB."""
    from tests.models.builders import arch, state_dict

    a = arch(hidden_size=4, num_heads=1, L_layers=1, puzzle_emb_ndim=4, puzzle_emb_len=1, mlp_t=True, pos_encodings="none")
    tensors = state_dict(a, seq_len=4, vocab=3, identifiers=2)
    return a, {name: t.bfloat16() if "proj" in name else t for name, t in tensors.items()}


def _torch(folder: Path, **save: object) -> None:
    """A file of torch.save. Its configuration is JSON, which reads sooner, where it is not what is mutated."""
    from tests.models.builders import write_checkpoint

    a, tensors = _small()
    write_checkpoint(folder, a, tensors, name="step_1", config=False, **save)
    (folder / "all_config.json").write_text(json.dumps({"arch": a, "data_paths": ["data"], "seed": 0}))


def _legacy(folder: Path) -> None:
    _torch(folder, _use_new_zipfile_serialization=False)


def _converted(folder: Path) -> None:
    from recurc.models.checkpoint import load, save
    from tests.models.builders import own_weights

    _torch(folder / "raw")
    save(load(folder / "raw"), folder, "bf16")
    own_weights(folder)  # else a changed byte is a foreign file
    for file in (folder / "raw").iterdir():
        file.unlink()
    (folder / "raw").rmdir()


def _plain_config(folder: Path) -> None:
    """A configuration in YAML beside weights that read soon."""
    _converted(folder)
    (folder / "config.json").unlink()
    left = ("halt_exploration_prob", "no_ACT_continue", "expansion", "forward_dtype")  # config.json has them
    arch = {name: value for name, value in _small()[0].items() if name not in left}
    text = yaml.dump({"arch": arch, "data_paths": ["data"]}) + "lr: 1.0e-04\nnote: 'a word'\nlist: [1, 2.5, true, null]\n"
    (folder / "all_config.yaml").write_text(text)


@contextmanager
def _weights_once(folder: Path) -> Iterator[None]:
    """The weights, of which nothing is mutated, are read once."""
    from recurc.models import checkpoint, tensorfile

    file = folder / "model.safetensors"
    tensors, said = tensorfile.read(file, checkpoint.PUZZLE_TABLE), tensorfile.metadata(file)
    with mock.patch.multiple(tensorfile, read=lambda *_: dict(tensors), metadata=lambda _: dict(said)):
        yield


def _load_torch(folder: Path) -> object:
    from recurc.models.checkpoint import load

    return load(folder / "step_1")


def _load_safetensors(folder: Path) -> object:
    from recurc.models.checkpoint import load

    return load(folder / "model.safetensors")


# -- datasets and examples ------------------------------------------------------------------------------------------


def _dataset(folder: Path) -> None:
    from tests.models.builders import write_dataset

    write_dataset(folder, seq_len=4, vocab=5, identifiers=3, n=4)


def _load_dataset(folder: Path) -> object:
    from recurc.dataset import load_dataset

    return load_dataset(folder, "test")


def _examples(folder: Path) -> None:
    x, y = np.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4) % 5
    (folder / "a.csv").write_text("inputs,labels,id\n" + "".join(f"{i} 2 3 300,1 2 3 4,{i}\n" for i in range(3)))
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"inputs": [i, 1, 2, 3], "labels": [[1, 2], [3, 4]], "id": i}) + "\n" for i in range(3))
    )
    np.save(folder / "a.npy", x)
    np.savez_compressed(folder / "b.npz", inputs=x, labels=y)
    np.savez(folder / "a.npz", inputs=x, labels=y)


def _load_examples(name: str):
    def load(folder: Path) -> object:
        from recurc.datafiles import read_examples

        return read_examples(folder / name)

    return load


def _asked(folder: Path) -> None:
    (folder / "in.json").write_text(json.dumps({"inputs": [[1, 2, 3], [4, 5, 6]], "puzzle_ids": [0, 1]}))


def _load_asked(folder: Path) -> object:
    from recurc.cli.common.inputs import from_file

    return from_file(str(folder / "in.json"))


# -- settings -------------------------------------------------------------------------------------------------------


def _board(folder: Path) -> None:

    (folder / "own.toml").write_text(board_text("mps2-an386"), encoding="utf-8")


def _load_board(folder: Path) -> object:
    from recurc.targets.boards import read_board

    return read_board(folder / "own.toml")


def _project(folder: Path) -> None:
    (folder / "recurc.toml").write_text(
        '[model]\ncheckpoint = "sudoku4-tiny"\ndata = "data"\n[quantize]\nprecision = "int4"\ncalibration = "gptq"\nseed = 3\n'
        '[quantize.layers]\n"*.mlp.down_proj.weight" = "int8"\n[schedule]\nsteps = 8\nhalt_threshold = 0.5\nmin_steps = 2\n'
        'patience = 1\n[solve]\nsymmetry = "sudoku:2x2"\nfirst_steps = 4\nrestarts = 2\naccept = "agreement"\n'
        '[build]\ntarget = "stm32h7"\ncarry = "fp32"\nmin_fidelity = 0.9\n'
    )


def _load_project(folder: Path) -> object:
    from recurc.cli.common import project as _project

    return _project.project_text(_project.read_project(folder / "recurc.toml"))


def _fidelity(folder: Path) -> None:
    from recurc.evaluate.min_fidelity import MinFidelity, keep

    keep(MinFidelity("a" * 64, 0.925, 0.02, 128, 16, 2, 0, 2, 0), _reasoner(folder))


def _reasoner(folder: Path):
    return types.SimpleNamespace(source=str(folder / "model.safetensors"), sha256="a" * 64)


def _load_fidelity(folder: Path) -> object:
    from recurc.evaluate.min_fidelity import least_fidelity

    return least_fidelity(_reasoner(folder))


def _halting(folder: Path) -> None:
    from recurc.evaluate.own_halting import OwnHalting, keep

    keep(OwnHalting("a" * 64, 1.25, 1, "margin", "labels", True, "int4", "sudoku:2x2", 64, 64, 63, 1), _reasoner(folder))


def _load_halting(folder: Path) -> object:
    from recurc.evaluate.own_halting import halting_of, kept

    own = kept(_reasoner(folder))
    return halting_of(_reasoner(folder)), own and own.rule_text


def _symmetries(folder: Path) -> None:
    forms = [{"cells": [3, 1, 2, 0], "tokens": [0, 1, 2, 4, 3]}, {"cells": [1, 0, 3, 2]}, {"tokens": [0, 1, 4, 2, 3]}]
    (folder / "forms.json").write_text(json.dumps({"symmetries": forms}))


def _load_symmetries(folder: Path) -> object:
    from recurc.symmetries import draw, named

    return draw(named(f"file:{folder / 'forms.json'}", 4, 5), 4, 0)


def _loop(folder: Path) -> None:
    from recurc.exchange.onnx_export import LOOP_FILE, loop_document

    (folder / LOOP_FILE).write_text(json.dumps(loop_document(_model()), indent=1))


def _load_loop(folder: Path) -> object:
    from recurc.exchange.onnx_loop import read_loop

    return read_loop(folder)


# -- what builds are made of ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _model():
    from recurc.quant.model import quantize_model
    from recurc.quant.weights import precision_named
    from tests.randmodels import random_reasoner

    small = random_reasoner("mlp_t", hidden=8, seq=4, heads=1, ndim=8, layers=1)
    return quantize_model(small, precision_named("int4"), method="mse")


def _image(folder: Path) -> None:
    from recurc.plan.kernels import kernel_set

    (folder / "model.rcm").write_bytes(build_image(_model(), kernel_set("host")).data)


def _load_image(folder: Path) -> object:
    from recurc.emit.readback import read_model

    p = _model().program
    build = types.SimpleNamespace(
        name="a", config=p.config, lowering=p.lowering, precision="int4",
        host_image=folder / "model.rcm", details={"method": "mse", "layers": {}})  # fmt: skip
    return read_model(build)  # type: ignore[arg-type]


def _with_image_sums(inner: Mutation) -> Mutation:
    """Corrects the checksums of an image, mostly, so that what they protect is reached."""

    def mutate(r: random.Random, data: bytes) -> bytes:
        data = inner(r, data)
        if len(data) < HEADER.size or r.random() < 0.1:
            return data
        fields = list(HEADER.unpack(data[: HEADER.size]))
        if r.random() < 0.8:
            fields[8] = len(data)
        count, at = fields[7], fields[9]
        table = bytearray(data[at : at + min(count, 1000) * ENTRY.size])
        for i in range(len(table) // ENTRY.size):
            kind, index, offset, size, _ = ENTRY.unpack_from(table, i * ENTRY.size)
            ENTRY.pack_into(table, i * ENTRY.size, kind, index, offset, size, zlib.crc32(data[offset : offset + size]))
        data = data[:at] + bytes(table) + data[at + len(table) :]
        fields[10], fields[11] = zlib.crc32(data[at : at + count * ENTRY.size]), hashlib.sha256(data[HEADER.size :]).digest()
        fields[-1] = zlib.crc32(HEADER.pack(*fields[:-1], 0)[:-4])
        return HEADER.pack(*fields) + data[HEADER.size :]

    return mutate


def _table(folder: Path) -> None:
    from tests.tables.builder import table

    table("int8", rows=5, dim=6).write(folder / "a.rct")
    table("fp32", rows=5, dim=6).write(folder / "b.rct")


def _load_table(folder: Path) -> None:
    from recurc.build.tablefile import TableFile

    for name in ("a.rct", "b.rct"):
        with TableFile(folder / name) as file:
            file.verify()
            for i in (0, file.rows - 1):
                file.row(i)


def _with_table_sum(inner: Mutation) -> Mutation:
    def mutate(r: random.Random, data: bytes) -> bytes:
        data = inner(r, data)
        if len(data) < TABLE_HEADER.size or r.random() < 0.1:
            return data
        end = TABLE_HEADER.size - 4
        return data[:end] + zlib.crc32(data[:end]).to_bytes(4, "little") + data[TABLE_HEADER.size :]

    return mutate


_torch_zip = mixed((members(pickle_ops, "data.pkl"),) * 3, (members(_bytes, ""),), (directory, directory, tail, head), BYTES)
_torch_legacy = mixed((pickle_ops,), (pickle_ops, head), BYTES)
_safetensors = mixed((framed(0, 8, _text),), (framed(0, 8, _text), head, floats), BYTES)
_npz = mixed((members(_npy, ".npy"),), (directory, tail), BYTES)

LOADERS = {
    loader.name: loader
    for loader in (
        Loader("torch-zip", _torch, {"step_1": _torch_zip}, _load_torch),
        Loader("torch-legacy", _legacy, {"step_1": _torch_legacy}, _load_torch),
        Loader("safetensors", _converted, {"model.safetensors": _safetensors}, _load_safetensors),
        Loader("config-yaml", _plain_config, {"all_config.yaml": _text}, _load_safetensors, _weights_once),
        Loader("config-json", _converted, {"config.json": _text}, _load_safetensors, _weights_once),
        Loader("dataset-json", _dataset, {"test/dataset.json": _text}, _load_dataset),
        Loader("dataset-npy", _dataset, {f"test/all__{kind}.npy": _npy for kind in (
            "inputs", "labels", "puzzle_identifiers", "puzzle_indices")}, _load_dataset),
        Loader("examples-csv", _examples, {"a.csv": _text}, _load_examples("a.csv")),
        Loader("examples-jsonl", _examples, {"a.jsonl": _text}, _load_examples("a.jsonl")),
        Loader("examples-npy", _examples, {"a.npy": _npy}, _load_examples("a.npy")),
        Loader("examples-npz", _examples, {"a.npz": _npz}, _load_examples("a.npz")),
        Loader("examples-packed", _examples, {"b.npz": _npz}, _load_examples("b.npz")),
        Loader("inputs", _asked, {"in.json": _text}, _load_asked),
        Loader("board", _board, {"own.toml": _text}, _load_board),
        Loader("project", _project, {"recurc.toml": _text}, _load_project),
        Loader("fidelity", _fidelity, {"fidelity.json": _text}, _load_fidelity),
        Loader("halting", _halting, {"halting.json": _text}, _load_halting),
        Loader("symmetries", _symmetries, {"forms.json": _text}, _load_symmetries),
        Loader("onnx-loop", _loop, {"loop.json": _text}, _load_loop),
        Loader("image", _image, {"model.rcm": _with_image_sums(mixed((head, head, tail), BYTES))}, _load_image),
        Loader("table", _table, {name: _with_table_sum(mixed((head,), BYTES)) for name in ("a.rct", "b.rct")}, _load_table),
        Loader("elf", write_elf, {"a.elf": mixed((head, tail), BYTES)}, load_elf, alike_structs),
    )
}  # fmt: skip
