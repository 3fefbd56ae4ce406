"""Files that are none, claim what they have not, or change: each is refused plainly, without memory for the claim."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import threading
import zipfile

import numpy as np
import pytest
import torch

from recurc.arrayfile import npy_of, read_npy
from recurc.build.tablefile import TableFile
from recurc.cli.common.project import read_project
from recurc.datafiles import read_examples
from recurc.dataset import load_dataset
from recurc.errors import InputError, RecurcError
from recurc.files import whole_file
from recurc.models import tensorfile
from recurc.models.checkpoint import load, save
from recurc.reading import Unreadable, open_regular, read_into, read_regular, read_text, user_path
from recurc.targets.boards import read_board
from tests.fuzz.loaders.harness import peak_memory
from tests.hostile.laughs import LAUGHS
from tests.models.builders import arch, state_dict, write_checkpoint, write_dataset

MLP = arch(mlp_t=True, pos_encodings="none")


def refused(call, *words: str) -> InputError:
    """The error that a call ends in, checked: plain, and without much memory behind it."""
    before = peak_memory(anew=True)
    with pytest.raises(InputError) as e:
        call()
    told = str(e.value)
    assert e.value.exit_code == 3 and told.isprintable() and len(told) < 2000
    assert peak_memory() - before < 300 << 20
    for word in words:
        assert word in told, told
    return e.value


@pytest.fixture
def checkpoint(tmp_path):
    """Path of a whole checkpoint in its folder."""
    return write_checkpoint(tmp_path / "model", MLP, state_dict(MLP))


# -- what is no file --------------------------------------------------------------------------------------------------


def _special(path, kind: str):
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        holder = socket.socket(socket.AF_UNIX)
        holder.bind(os.path.relpath(path))
        holder.close()
    elif kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return path


LOADERS = {
    "step_1": load, "model.safetensors": load, "own.toml": read_board, "recurc.toml": read_project, "puzzles.rct": TableFile,
    "a.csv": read_examples, "a.npy": read_examples, "a.npz": read_examples, "a.jsonl": read_examples,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device", "a directory"])
@pytest.mark.parametrize("name", LOADERS)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, name, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _special(tmp_path / name, kind)
    if LOADERS[name] is load and kind == "a directory":
        refused(lambda: load(path), "no checkpoint")
    else:
        refused(lambda: LOADERS[name](path), name)


@pytest.mark.parametrize("name", ["test/dataset.json", "test/all__inputs.npy", "test/all__puzzle_indices.npy"])
def test_a_pipe_in_a_dataset(tmp_path, name):
    write_dataset(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    refused(lambda: load_dataset(tmp_path, "test"), "named pipe", name)


def test_a_pipe_beside_a_checkpoint_is_no_configuration(checkpoint):
    (checkpoint.parent / "all_config.yaml").unlink()
    os.mkfifo(checkpoint.parent / "all_config.yaml")
    os.mkfifo(checkpoint.parent / "step_2")
    write_dataset(checkpoint.parent / "data", seq_len=9)
    assert load(checkpoint.parent).config.hidden_size == 32


@pytest.mark.parametrize("path", ["a\0b", "a" * 5000, "~nobody-of-this-name/x", "\udcff", "x/" * 3000])
def test_paths_that_no_file_has(path):
    for call in (load, lambda p: load_dataset(p, "test"), lambda p: read_board(user_path(p))):
        refused(lambda call=call: call(path))


def test_a_file_of_settings_of_a_gigabyte(tmp_path, checkpoint):
    for path, call in (
        (checkpoint.parent / "all_config.yaml", lambda: load(checkpoint)),
        (tmp_path / "recurc.toml", lambda: read_project(tmp_path / "recurc.toml")),
        (tmp_path / "own.toml", lambda: read_board(tmp_path / "own.toml")),
    ):
        with open(path, "wb") as file:
            file.truncate(1 << 30)
        refused(call, "more than", "bytes", path.name)


def test_text_that_is_none(tmp_path):
    path = tmp_path / "recurc.toml"
    path.write_bytes(b"[model]\ncheckpoint = '\xff'\n")
    refused(lambda: read_project(path), "not UTF-8", "line 2", "0xff")
    path.write_bytes("[model]\ncheckpoint = 'x'\n".encode("utf-16"))
    refused(lambda: read_project(path), "not UTF-8")
    path.write_bytes(b"\xef\xbb\xbf[model]\r\ncheckpoint = 'x'\r\n")
    assert read_project(path).checkpoint == "x", "a byte order mark and Windows' line ends are no mistake"


def test_a_file_that_becomes_shorter(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(100))
    with open_regular(path) as file:
        os.truncate(path, 50)
        with pytest.raises(Unreadable, match="ends at byte 50.*became shorter"):
            read_into(file, 0, memoryview(bytearray(100)))
    with pytest.raises(Unreadable, match="more than 49 bytes"):
        read_regular(path, 49)
    assert read_text(path, 50) == "\0" * 50
    with pytest.raises(Unreadable, match="No such file"):
        open_regular(tmp_path / "missing")


def test_a_pipe_put_in_a_files_place_is_not_waited_for(tmp_path, monkeypatch):
    """Between the look at a file and its opening it may become something else."""
    path, real = tmp_path / "x", os.stat
    path.write_text("x")
    fine = real(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda p, **k: fine if p == path else real(p, **k))
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (pytest.raises(Unreadable, open_regular, path), ended.set()), daemon=True)
    thread.start()
    assert ended.wait(20)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_configuration_that_multiplies_itself(checkpoint):
    (checkpoint.parent / "all_config.yaml").write_text(LAUGHS + "arch:\n  hidden_size: *i\n")
    refused(lambda: load(checkpoint), "all_config.yaml", "alias")


@pytest.mark.parametrize("where", ["'" + "a" * 5000 + "'", "/dev/zero", "'a\\0b'", '"\\0"', "~nobody-here/x", "[1, {a: b}]"])
def test_data_paths_that_are_none(checkpoint, where):
    config = checkpoint.parent / "all_config.yaml"
    lines = [one for one in config.read_text().splitlines() if "data" not in one]
    config.write_text("\n".join([*lines, f"data_paths: [{where}]", ""]))
    assert load(checkpoint).config.hidden_size == 32


@pytest.mark.parametrize("line, words", [
    ("expansion: 1.0e+308", "expansion"), ("expansion: 1e999", "expansion"), ("expansion: .nan", "expansion"),
    ("hidden_size: " + "9" * 400, "19 digits"), ("hidden_size: 1:30", "'1:30' is not a number"), ("hidden_size: 032", "'032'"),
    ("hidden_size: yes", "'yes'"), ("hidden_size: true", "True is not a number"), ("hidden_size: 2024-01-01", "2024-01-01"),
    ("hidden_size: [32]", "a list of 1"), ("mlp_t: 7", "neither"), ("L_layers: 2147483647", "L_layers"),
    ("name: \"\\e[31m\"", "x1b"), ("hidden_size: " + "a" * 30_000, "not a number"), ("forward_dtype: {a: b}", "no text"),
    ("hidden_size: 32\n  hidden_size: 32", "twice"),
])  # fmt: skip
def test_numbers_that_are_none_or_too_large(checkpoint, line, words):
    config = checkpoint.parent / "all_config.yaml"
    name = line.split(":")[0]
    lines = [one for one in config.read_text().splitlines() if not one.strip().startswith(f"{name}:")]
    config.write_text("\n".join(["arch:", f"  {line}", *(one for one in lines if one != "arch:")]))
    refused(lambda: load(checkpoint), words)


@pytest.mark.parametrize("name, tensor, words", [
    ("q_head.bias", torch.zeros(1).expand(10**12), ("q_head.bias", "expanded")),
    ("lm_head.weight", torch.zeros(7, 1).expand(7, 10**11), ("lm_head.weight", "expanded")),
    ("lm_head.weight", torch.zeros(40).as_strided((30, 10), (1, 1)), ("only 39 values",)),
    ("q_head.bias", torch.zeros(2, device="meta"), ("q_head.bias", "meta")),
    ("q_head.bias", torch.zeros(2).to_sparse(), ("q_head.bias", "sparse")),
    ("q_head.bias", torch.zeros(2, dtype=torch.complex64), ("complex64",)),
    ("q_head.bias", torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), ("qtensor",)),
    ("q_head.bias", torch.zeros(0), ("q_head.bias", "no values")),
    ("x" * 300, torch.zeros(1), ("at most 256 characters",)),
    ("L_level.layers.99999999999999999999.x", torch.zeros(1), ("too many layers",)),
])  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_hold_less_than_they_say(tmp_path, name, tensor, words, legacy):
    sd = {**state_dict(MLP), name: tensor}
    file = write_checkpoint(tmp_path, {}, sd, prefix="", config=False, _use_new_zipfile_serialization=not legacy)
    assert file.stat().st_size < 1 << 20
    write_dataset(tmp_path / "data", seq_len=9)
    refused(lambda: load(file), *words)


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_a_storage_are_what_torch_makes_of_them(tmp_path, legacy):
    sd = state_dict(MLP)
    whole = torch.randn(64, 64)
    views = {
        "lm_head.weight": whole[3:10, 32:], "embed_tokens.embedding_weight": whole.t()[:7, :32],
        "H_init": whole[5, 32:].double(),
        "L_init": whole[7, :32].half(), "q_head.weight": whole[::40, ::2], "q_head.bias": torch.nn.Parameter(torch.ones(2)),
        "puzzle_emb.weights": whole[:5, :32].to(torch.float8_e4m3fn),
    }  # fmt: skip
    file = write_checkpoint(tmp_path, MLP, sd | views, _use_new_zipfile_serialization=not legacy)
    found = load(file).tensors
    for name, tensor in views.items():
        assert np.array_equal(found[name], tensor.detach().float().numpy()), name
        assert found[name].flags.c_contiguous


def test_many_names_of_one_storage(tmp_path):
    """Each tensor is backed by real bytes, all by the same ones: 2,000 times 1 MB."""
    shared = torch.zeros(1 << 18)
    torch.save({f"L_level.layers.0.{i}": shared for i in range(2000)}, tmp_path / "step_1")
    refused(lambda: load(tmp_path / "step_1"), "share the same values")


class _Call:
    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def _torch_zip(path, pickled: bytes, **more: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        for name, data in more.items():
            archive.writestr(f"a/{name}", data)


@pytest.mark.parametrize("pickled, words", [
    (pickle.dumps(_Call(bytearray, (10**12,)), 2), ("not a state dict",)),
    (b"\x80\x02" + b"}" * 600_000 + b".", ("500,000 steps",)),
    (b"\x80\x02" + b"(" * 200_000 + b".", ("damaged",)),
    (b"\x80\x02)" + b"\x85" * 200_000 + b".", ("tuple",)),
    (b"\x80\x02" + b")" + b"q\x00h\x00\x86" * 100 + b"}q\x01h\x00K\x01s.", ("tuple",)),
    (b"\x80\x02}" + b"))\x86" + b"q\x00h\x00\x86" * 100 + b"K\x01s.", ("no tensors",)),
    (b"\x80\x02X\xff\xff\xff\x7fabc", ("truncated",)),
    (b"\x80\x04\x8d" + b"\xff" * 8, ("truncated",)),
    (b"\x80\x02\x8b\xff\xff\xff\x7f", ("truncated",)),
    (b"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.", ("'a' twice",)),
    (b"\x80\x02}\x8b\xd0\x07\x00\x00" + b"\x7f" * 2000 + b"K\x01s.", ("15999 bits",)),
    (b"\x80\x02}q\x00" + b"".join(  # five tables deep, a hundred times the next in each
        b"}q%c(" % (i + 1) + b"".join(b"X\x03\x00\x00\x00%03dh%c" % (k, i) for k in range(100)) + b"u"
        for i in range(5)) + b".", ("no tensors",)),
    (b"\x80\x02.", ("damaged",)),
    (b"\x80\x02h\x05.", ("damaged",)),
    (b"\x80\x02(K\x01K\x02i__main__\nx\n.", ("INST",)),
    (b"\x80\x02cnt\nsystem\n(X\x02\x00\x00\x00idtR.", ("code or objects", "nt.system")),
])  # fmt: skip
def test_floods_and_bombs_in_pickles(tmp_path, pickled, words):
    _torch_zip(tmp_path / "step_1", pickled)
    refused(lambda: load(tmp_path / "step_1"), *words)


def _lie(data: bytes, magic: bytes, at: int, form: str, value: int, last: bool = False) -> bytes:
    place = (data.rfind(magic) if last else data.find(magic)) + at
    return data[:place] + struct.pack(form, value) + data[place + struct.calcsize(form) :]


@pytest.mark.parametrize("lie, words", [
    (lambda d: _lie(d, b"PK\1\2", 10, "<H", 8), ("compressed",)),
    (lambda d: _lie(d, b"PK\1\2", 8, "<H", 1), ("encrypted",)),
    (lambda d: _lie(d, b"PK\1\2", 24, "<I", 2**31), ("two sizes",)),
    (lambda d: _lie(_lie(d, b"PK\1\2", 24, "<I", 2**31), b"PK\1\2", 20, "<I", 2**31), ("claims 2147483648 bytes",)),
    (lambda d: _lie(d, b"PK\1\2", 42, "<I", 2**31), ("outside the file",)),
    (lambda d: _lie(d, b"PK\1\2", 42, "<I", 7), ("lies about member",)),
    (lambda d: _lie(d, b"PK\5\6", 16, "<I", 2**31), ("outside the file",)),
    (lambda d: _lie(d, b"PK\5\6", 12, "<I", 2**31), ("outside the file",)),
    (lambda d: _lie(_lie(d, b"PK\5\6", 8, "<H", 65535), b"PK\5\6", 10, "<H", 65535), ("members",)),
    (lambda d: d[: d.rfind(b"PK\5\6")], ("truncated",)),
])  # fmt: skip
def test_a_zips_directory_that_lies(checkpoint, lie, words):
    # Written anew by zipfile: torch ends its files with records for 64 bits, which would take the lies' place.
    out = io.BytesIO()
    with zipfile.ZipFile(checkpoint) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    checkpoint.write_bytes(out.getvalue())
    assert load(checkpoint).config.hidden_size == 32
    checkpoint.write_bytes(lie(out.getvalue()))
    refused(lambda: load(checkpoint), *words)


def test_members_that_are_there_twice(tmp_path, checkpoint):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(checkpoint, "a") as archive:
        archive.writestr(next(n for n in archive.namelist() if n.endswith("data.pkl")), b"x")
    refused(lambda: load(checkpoint), "twice")


# -- safetensors ------------------------------------------------------------------------------------------------------


def _safetensors(path, header: dict | str, data: bytes = b"", length: int | None = None) -> None:
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text.encode() + data)


def _entry(begin: int, end: int, shape=None, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("header, words", [
    ({"a": _entry(0, 8), "b": _entry(4, 12)}, ("'b'", "overlaps")),
    ({"a": _entry(0, 8), "b": _entry(0, 8), "c": _entry(8, 16)}, ("overlaps",)),
    ({"a": _entry(0, 4), "b": _entry(8, 16)}, ("'b'", "no tensor's")),
    ({"a": _entry(0, 8)}, ("8 bytes after the last",)),
    ({"a": _entry(0, 2**40)}, ("truncated", "ends at byte")),
    ({"a": _entry(0, 16, [2**32, 2**32])}, ("does not match",)),
    ({"a": _entry(0, 0, [0, 2**50])}, ("no values",)),
    ({"a": _entry(0, 16, [-4])}, ("whole numbers",)),
    ({"a": _entry(0, 16, [4.0])}, ("whole numbers",)),
    ({"a": _entry(0, 16, [True, 4])}, ("whole numbers",)),
    ({"a": _entry(0, 16, ["4"])}, ("whole numbers",)),
    ({"a": _entry(0, 16, [4] + [1] * 20)}, ("whole numbers",)),
    ({"a": {**_entry(0, 16), "dtype": ["F32"]}}, ("unsupported dtype",)),
    ({"a": _entry(0, 16, [2], "I64")}, ("I64",)),
    ({"\x1b[31m": _entry(0, 2**40)}, (r"\x1b[31m",)),
    ('{"a": ' + "[" * 1000, ("nested deeper",)),
    ('{"a": {"dtype": "F32", "shape": [' + "9" * 400 + '], "data_offsets": [0, 16]}}', ("19 digits",)),
    ('{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 16]}}', ("beyond",)),
    ('{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "a": {"dtype": "F32", "shape": [4], '
     '"data_offsets": [0, 16]}}', ("'a'", "twice")),
])  # fmt: skip
def test_safetensors_headers_that_lie(tmp_path, header, words):
    _safetensors(tmp_path / "model.safetensors", header, bytes(16))
    refused(lambda: load(tmp_path), "safetensors", *words)


def test_safetensors_header_lengths_that_lie(tmp_path):
    for length, word in ((2**63, "no complete header"), (2**64 - 1, "no complete header"), (0, "JSON"), (5, "JSON")):
        _safetensors(tmp_path / "model.safetensors", {"a": _entry(0, 16)}, bytes(16), length)
        refused(lambda: load(tmp_path), word)
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write((50_000_000).to_bytes(8, "little") + b"{")
        file.truncate(60_000_000)
    refused(lambda: load(tmp_path), "its header claims 50,000,000 bytes")


def test_safetensors_in_another_order_are_read(tmp_path):
    a, b = np.arange(4, dtype="<f4"), np.arange(8, dtype="<f4")
    _safetensors(tmp_path / "x", {"b": _entry(16, 48), "a": _entry(0, 16)}, a.tobytes() + b.tobytes())
    found = tensorfile.read(tmp_path / "x")
    assert np.array_equal(found["a"], a) and np.array_equal(found["b"], b) and list(found) == ["b", "a"]


def test_a_tensor_in_both_files(tmp_path, checkpoint):
    save(load(checkpoint), tmp_path)
    tensors = tensorfile.read(tmp_path / "model.safetensors")
    del tensors["puzzle_emb.weights"]
    for name, part in (("model", tensors), ("puzzle_emb", {"H_init": tensors["H_init"]})):
        with whole_file(tmp_path / f"{name}.safetensors", "it", "") as file:
            tensorfile.write(file, part, "f32")
    refused(lambda: load(tmp_path), "H_init", "two files")


# -- arrays -----------------------------------------------------------------------------------------------------------


def _npy(shape: str, descr: str = "'<i4'", data: bytes = bytes(16)) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize("data, words", [
    (_npy("(34359738368,)"), "claims 34359738368"), (_npy("(4294967296, 4294967296)"), "found int32 4294967296x4294967296"),
    (_npy(f"({'9' * 400},)"), "header"), (_npy("(-1,)"), "header"), (_npy("((((((4,"), "header"), (_npy("(5,)"), "claims 5 "),
    (_npy("(4,)", "'|O'"), "pickled"), (_npy("(4,)", "[('a', '<i4')]"), "header"), (_npy("(2,)", "'<f8'"), "float64"),
    (_npy("(1,)", "'<U4'"), "<U4"), (_npy("(0, 99999999999)"), "dimension"), (_npy("(True,)"), "header"),
    (b"\x93NUMPY\1\0\xff\xff{    ", "claims 65535"), (b"\x93NUMPY\x09\0\1\0{   ", "version"), (b"\x93NUM", "array"),
    (pickle.dumps([1]), "pickled objects are never loaded"),
])  # fmt: skip
def test_npy_headers_that_lie(tmp_path, data, words):
    write_dataset(tmp_path)
    (tmp_path / "test" / "all__puzzle_indices.npy").write_bytes(data)
    refused(lambda: load_dataset(tmp_path, "test"), words)


def test_npy_files_of_every_layout_are_read_as_numpy_reads_them(tmp_path):
    grid = np.arange(12, dtype="<i4").reshape(3, 4)
    columns, none = np.asfortranarray(grid), grid[:0]
    for array in (grid, columns, none, grid[:, ::2], grid.astype(">i2"), np.uint8(grid), grid.astype("<i8")):
        np.save(tmp_path / "a.npy", array)
        for found in (read_npy(tmp_path / "a.npy", "iu", 2), npy_of((tmp_path / "a.npy").read_bytes(), "iu", 2)):
            assert np.array_equal(found, array) and found.dtype == array.dtype and found.shape == array.shape


@pytest.mark.parametrize(
    "content",
    [
        {"seq_len": 1e999},
        {"seq_len": "9"},
        {"seq_len": 9.5},
        {"seq_len": True},
        {"seq_len": 2**40},
        {"sets": ["all"] * 2},
        {"sets": ["../x"]},
        {"sets": ["/etc/passwd"]},
        {"sets": "all"},
        {"sets": [f"a{i}" for i in range(1000)]},
        {"sets": ["a\n"]},
    ],
)
def test_metadata_of_datasets(tmp_path, content):
    write_dataset(tmp_path)
    file = tmp_path / "test" / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | content))
    refused(lambda: load_dataset(tmp_path, "test"), "dataset.json is not valid")


def test_an_npz_that_unpacks_to_gigabytes(tmp_path):
    small = zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with small as archive, archive.open("inputs.npy", "w") as member:
        member.write(_npy("(280000000,)", "'|u1'", b""))
        for _ in range(28):
            member.write(bytes(10_000_000))
    assert (tmp_path / "a.npz").stat().st_size < 2 << 20
    refused(lambda: read_examples(tmp_path / "a.npz"), "more than 268,435,456 bytes")


def test_texts_among_numbers_do_not_become_an_array(tmp_path):
    row = json.dumps({"inputs": ["x" * 100_000] + ["y"] * 100_000})
    (tmp_path / "a.jsonl").write_text(row + "\n")  # NumPy would make 40 GB of it
    with pytest.raises(RecurcError) as e:
        read_examples(tmp_path / "a.jsonl")
    assert len(str(e.value)) < 2000
