"""Every form of checkpoint that is accepted, and what is inferred where configuration is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from recurc.errors import InputError
from recurc.models.checkpoint import load, save
from tests.models.builders import arch, own_weights, state_dict, write_checkpoint, write_dataset, write_model

ROOT = Path(__file__).parents[2]
SUDOKU4 = Path(__file__).parents[1] / "data" / "trm_mlp_sudoku4"
MLP = arch(mlp_t=True, pos_encodings="none")


def same(reasoner, sd) -> bool:
    """All tensors equal the original's, bit for bit as float32."""
    names = set(reasoner.tensors) == set(sd)
    return names and all(np.array_equal(reasoner.tensors[k], v.float().numpy()) for k, v in sd.items())


@pytest.mark.parametrize("prefix", ["_orig_mod.model.inner.", "model.inner.", "inner.", "", "module.model.inner."])
def test_prefixes(tmp_path, prefix):
    sd = state_dict(MLP)
    assert same(load(write_checkpoint(tmp_path, MLP, sd, prefix=prefix)), sd)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_wrappers(tmp_path, key):
    sd = state_dict(MLP)
    file = write_checkpoint(tmp_path, MLP, sd)
    torch.save({key: {"model.inner." + k: v for k, v in sd.items()}, "step": 3}, file)
    reasoner = load(file)
    assert same(reasoner, sd)
    assert any("step" in note for note in reasoner.notes)


@pytest.mark.parametrize("name", ["step_1000", "checkpoint", "weights.pt", "pytorch_model.bin", "maze_hard_step_32550"])
def test_file_names_and_folders(tmp_path, name):
    sd = state_dict(MLP)
    file = write_checkpoint(tmp_path, MLP, sd, name=name)
    assert load(file).source == load(tmp_path).source == str(file)


def test_legacy_files(tmp_path):
    sd = state_dict(MLP)
    assert same(load(write_checkpoint(tmp_path, MLP, sd, _use_new_zipfile_serialization=False)), sd)


def test_half_precision_tensors_are_widened(tmp_path):
    sd = {k: v.to(torch.float16 if "mlp." in k else torch.bfloat16) for k, v in state_dict(MLP).items()}
    reasoner = load(write_checkpoint(tmp_path, MLP, sd))
    assert same(reasoner, sd)
    assert all(t.dtype == np.float32 for t in reasoner.tensors.values())


def test_highest_step_of_a_folder_is_read_and_said(tmp_path):
    for name in ("step_900", "step_1000", "step_20"):
        write_checkpoint(tmp_path, MLP, state_dict(MLP), name=name)
    reasoner = load(tmp_path)
    assert reasoner.source.endswith("step_1000")
    assert any("step_1000" in note for note in reasoner.notes)


def test_two_checkpoints_of_the_same_step_are_ambiguous(tmp_path):
    for name in ("step_39060_mlp", "step_39060_attn"):
        write_checkpoint(tmp_path, MLP, state_dict(MLP), name=name)
    with pytest.raises(InputError, match="several checkpoints.*step_39060_attn"):
        load(tmp_path)


def test_a_large_puzzle_table_stays_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("recurc.reading.COPIED", 1000)
    sd = state_dict(MLP, identifiers=1000)
    raw = load(write_checkpoint(tmp_path, MLP, sd)).tensors["puzzle_emb.weights"]
    assert not raw.flags.writeable and not raw.flags.owndata
    save(load(tmp_path), tmp_path / "out")
    table = load(tmp_path / "out").tensors["puzzle_emb.weights"]
    assert isinstance(table, np.memmap) and not table.flags.writeable
    np.testing.assert_array_equal(table, raw)


@pytest.mark.parametrize("form", ["raw", "out"])
def test_a_file_that_is_cut_short_meanwhile_changes_nothing(form, tmp_path):
    """Where it were mapped, reading the table would end the process."""
    file = write_checkpoint(tmp_path / "raw", MLP, state_dict(MLP, identifiers=1000))
    if form == "out":
        save(load(file), tmp_path / "out")
        file = tmp_path / "out/model.safetensors"
    table = load(file).tensors["puzzle_emb.weights"]
    before = np.array(table)
    os.truncate(file, 100)
    np.testing.assert_array_equal(table, before)
    assert not table.flags.writeable


# -- configuration --------------------------------------------------------------------------------------------------


def test_yaml_quirks(tmp_path):
    """Unresolved references, numbers as text or float, fractional expansion, absent positions."""
    a = arch(expansion=13.5, hidden_size=64, puzzle_emb_ndim=64, mlp_t=True, pos_encodings=None)
    sd = state_dict(a)
    a |= {"puzzle_emb_ndim": "${.hidden_size}", "H_cycles": "3", "L_cycles": 6.0}
    config = load(write_checkpoint(tmp_path, a, sd)).config
    assert (config.puzzle_emb_ndim, config.H_cycles, config.L_cycles, config.expansion) == (64, 3, 6, 13.5)
    assert (config.pos_encodings, config.seq_len, config.puzzle_rows) == ("none", 9, 3)


@pytest.mark.parametrize("field, value", [("H_cycles", 0), ("hidden_size", "many"), ("L_cycles", 1.5), ("num_heads", True)])
def test_fields_out_of_range_are_named(tmp_path, field, value):
    sd = state_dict(arch())
    with pytest.raises(InputError, match=field):
        load(write_model(tmp_path, arch()).parent if not sd else _with(tmp_path, field, value))


def _with(folder: Path, field: str, value: object) -> Path:
    write_dataset(folder / "data")
    return write_checkpoint(folder, arch() | {field: value}, state_dict(arch()))


def test_embedding_of_zero_with_the_default_rows(tmp_path):
    """`puzzle_emb_ndim: 0` leaves puzzle_emb_len at 16, with which the original cannot run: no rows, and a note."""
    a = arch(puzzle_emb_ndim=0, puzzle_emb_len=0)
    sd = state_dict(a)
    write_dataset(tmp_path / "data")
    del a["puzzle_emb_len"]
    assert load(write_checkpoint(tmp_path, a, sd)).config.rows == 9
    reasoner = load(write_checkpoint(tmp_path, a | {"puzzle_emb_len": 16}, sd))
    assert (reasoner.config.rows, reasoner.config.puzzle_rows) == (9, 0)
    assert any("puzzle_emb_len" in note for note in reasoner.notes)


def test_embedding_wider_than_its_rows_is_refused(tmp_path):
    a = arch(puzzle_emb_ndim=128)
    with pytest.raises(InputError, match="puzzle_emb_ndim 128 exceeds"):
        load(write_model(tmp_path, a))


def test_yaml_of_another_mixer_is_refused(tmp_path):
    write_dataset(tmp_path / "data")
    with pytest.raises(InputError, match="disagree on the token mixer"):
        load(write_checkpoint(tmp_path, arch(), state_dict(MLP)))


@pytest.mark.parametrize("a", [arch(), MLP, arch(pos_encodings="learned")], ids=["rope", "mlp_t", "learned"])
def test_without_configuration_everything_is_inferred(tmp_path, a):
    a = a | {"hidden_size": 128, "num_heads": 2, "puzzle_emb_ndim": 128}
    sd = state_dict(a)
    file = write_checkpoint(tmp_path, a, sd, config=False)
    reasoner = load(file, data_dir=write_dataset(tmp_path / "elsewhere"))
    c = reasoner.config
    assert same(reasoner, sd)
    assert (c.hidden_size, c.L_layers, c.vocab_size, c.seq_len, c.num_puzzle_identifiers) == (128, 2, 7, 9, 5)
    assert (c.H_cycles, c.L_cycles, c.halt_max_steps, c.expansion) == (3, 6, 16, 4.0)
    assert c.pos_encodings == a["pos_encodings"]
    text = " ".join(reasoner.notes)
    assert "no configuration file" in text and "H_cycles" in text and "halt_max_steps" in text
    if not a["mlp_t"]:
        assert c.num_heads == 2 and "num_heads is not given" in text
    else:
        assert c.puzzle_rows == 3 and "puzzle_emb_len is not given" in text


def test_cycles_in_the_file_name(tmp_path):
    file = write_checkpoint(tmp_path, MLP, state_dict(MLP), name="step_259320_arc_attn_type_h3l4", config=False)
    config = load(file, write_dataset(tmp_path / "d")).config
    assert (config.H_cycles, config.L_cycles) == (3, 4)


def test_published_puzzle_rows_are_assumed(tmp_path):
    a = MLP | {"puzzle_emb_len": 16}
    config = load(write_checkpoint(tmp_path, a, state_dict(a, seq_len=81), config=False)).config
    assert (config.seq_len, config.puzzle_rows) == (81, 16)


def test_attention_needs_a_sequence_length(tmp_path):
    file = write_model(tmp_path / "run", arch(), dataset=False)
    with pytest.raises(InputError, match="data=DIR"):
        load(file)
    assert load(file, write_dataset(tmp_path / "d")).config.seq_len == 9


def test_dataset_found_through_data_paths_above_the_checkpoint(tmp_path):
    write_dataset(tmp_path / "corpora" / "tiny")
    file = write_model(tmp_path / "checkpoints" / "Tiny" / "run", arch(), dataset=False)
    document = yaml.safe_load((file.parent / "all_config.yaml").read_text()) | {"data_paths": ["corpora/tiny"]}
    (file.parent / "all_config.yaml").write_text(yaml.dump(document))
    assert load(file).config.seq_len == 9


def test_dataset_of_another_vocabulary_is_refused(tmp_path):
    file = write_model(tmp_path / "run", arch(), dataset=False)
    with pytest.raises(InputError, match="vocabulary of 11 where the model's is 7"):
        load(file, write_dataset(tmp_path / "d", vocab=11))


def test_dataset_of_another_length_is_refused(tmp_path):
    write_checkpoint(tmp_path, MLP, state_dict(MLP))
    with pytest.raises(InputError, match="sequences of 12 tokens where the model takes 9"):
        load(tmp_path, write_dataset(tmp_path / "d", seq_len=12))


# -- safetensors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [arch(), MLP, arch(pos_encodings="learned", expansion=13.5)], ids=["rope", "mlp_t", "learned"])
def test_convert_round_trip_is_bit_equal(tmp_path, a):
    first = load(write_model(tmp_path, a))
    save(first, tmp_path / "out")
    second = load(tmp_path / "out")
    assert second.config == first.config
    assert list(second.tensors) == list(first.tensors)
    for name, tensor in first.tensors.items():
        assert tensor.tobytes() == second.tensors[name].tobytes(), name
    assert not list((tmp_path / "out").glob(".*"))


def test_bf16_equals_torchs_rounding(tmp_path):
    sd = state_dict(MLP)
    save(load(write_checkpoint(tmp_path, MLP, sd)), tmp_path / "out", "bf16")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert all(torch.equal(file.get_tensor(k), v.to(torch.bfloat16)) for k, v in sd.items())
    assert same(load(tmp_path / "out"), {k: v.to(torch.bfloat16) for k, v in sd.items()})


def test_files_of_the_safetensors_library_and_a_separate_table(tmp_path):
    sd = state_dict(MLP)
    out = tmp_path / "model"
    save(load(write_checkpoint(tmp_path, MLP, sd)), out)
    own_weights(out)
    table = {"puzzle_emb.weights": sd["puzzle_emb.weights"]}
    save_file({"model.inner." + k: v for k, v in sd.items() if k not in table}, out / "model.safetensors")
    save_file(table, out / "puzzle_emb.safetensors")
    assert same(load(out), sd)


def test_config_json_carries_format_architecture_and_notes(tmp_path):
    save(load(write_checkpoint(tmp_path, MLP, state_dict(MLP), config=False), write_dataset(tmp_path / "d")), tmp_path / "o")
    document = json.loads((tmp_path / "o" / "config.json").read_text())
    assert document["format"] == "recurc/checkpoint/1"
    assert document["arch_name"] == "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"
    assert load(tmp_path / "o").notes == tuple(document["notes"]) != ()
    (tmp_path / "o" / "config.json").write_text(json.dumps(document | {"format": "recurc/checkpoint/9"}))
    with pytest.raises(InputError, match="checkpoint/9"):
        load(tmp_path / "o")


def test_a_failed_conversion_leaves_what_was_there(tmp_path, monkeypatch):
    reasoner = load(SUDOKU4 / "checkpoint")
    save(reasoner, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(InputError, match="No space left"):
        save(reasoner, tmp_path, "bf16")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        save(load(SUDOKU4 / "checkpoint"), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


_CUT = """
import os, sys
import numpy as np
import recurc.reading
from recurc.cli.main import main
from recurc.models.checkpoint import load
from recurc.quant.tables import PuzzleTable
recurc.reading.COPIED = 1000
table = load(sys.argv[1]).tensors["puzzle_emb.weights"]
streamed = PuzzleTable(table, 1.0, "fp32", bytes(16))
uses = {
    "a row": lambda: table[3],
    "rows": lambda: streamed.values(np.array([1, 999])),
    "a record": lambda: streamed.record(5),
    "all": lambda: streamed.write(sys.argv[2]),
    "a view": lambda: table.reshape(-1)[5:],
}
assert float(table[3].sum()) == float(np.array(table)[3].sum()) and type(table.sum()) is np.float32
with open(sys.argv[1], "r+b") as file:
    if sys.argv[3] == "cut":
        file.truncate(100)
    else:
        file.seek(-4, 2)
        file.write(b"abcd")
        os.utime(file.fileno(), ns=(1, 1))
for name, use in uses.items():
    try:
        use()
        print(name, "is taken")
    except recurc.errors.InputError as error:
        print(name, error.where == sys.argv[1], error.why)
"""


@pytest.mark.parametrize("way", ["cut", "written"])
@pytest.mark.parametrize("form", ["raw", "out"])
def test_a_mapped_file_that_is_not_what_it_was_is_refused(form, way, tmp_path):
    """Where it were read all the same, the process would end without a word, or have another model than it said."""
    file = write_checkpoint(tmp_path / "raw", MLP, state_dict(MLP, identifiers=1000))
    if form == "out":
        save(load(file), tmp_path / "out")
        file = tmp_path / "out/model.safetensors"
    size = file.stat().st_size
    words = [sys.executable, "-c", _CUT, str(file), str(tmp_path / "table.rct"), way]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    why = f"it has 100 bytes, and had {size:,} since then" if way == "cut" else "it was written to since then"
    expected = [f"{use} True {why}" for use in ("a row", "rows", "a record", "all", "a view")]
    assert done.returncode == 0 and done.stdout.splitlines() == expected, done.stderr
    assert not (tmp_path / "table.rct").exists()
