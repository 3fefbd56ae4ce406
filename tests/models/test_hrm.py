"""HRM: files as the original code writes them, its outputs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from recurc.errors import InputError
from recurc.models import find_family
from recurc.models.checkpoint import load, save
from recurc.models.reference import Reference
from tests.models.builders import write_checkpoint, write_dataset
from tests.models.hrm_cases import CASES, COPY, IDENTIFIERS, ORIGINAL, PUZZLES, RECORDED, SEQ, VOCAB, Case, puzzles
from tests.models.plain_numpy import PlainTRM
from tests.models.recorded import recorded_state, written
from tests.models.tolerances import UNIT, Rounding


def check_outputs(reasoner, name: str) -> None:
    """What the original computes in fp64: in fp64 to its last digits, in fp32 to what fp32 can."""
    expected = np.load(RECORDED / f"{name}.npz")
    inputs, ids = puzzles()
    rounding = Rounding(reasoner, inputs, ids)
    for dtype in UNIT:
        states = list(Reference(reasoner, dtype=dtype).steps(inputs, ids))
        assert len(states) == reasoner.config.halt_max_steps == len(expected["logits"]) == 4
        for state in states:
            for head in ("logits", "q"):
                rounding.check(head, state.step, getattr(state, head), dtype, expected[head][state.step - 1])
        for carry in ("z_H", "z_L"):
            rounding.check(carry, -1, getattr(states[-1], carry), dtype, expected[carry])


def test_a_file_written_by_the_original_code_gives_the_original_outputs(tmp_path):
    write_dataset(tmp_path, seq_len=SEQ, vocab=VOCAB, identifiers=IDENTIFIERS)
    for reasoner in (load(RECORDED / "checkpoint"), load(RECORDED / "checkpoint", tmp_path)):
        c = reasoner.config
        assert (c.family, c.mixer, c.pos_encodings, c.halt_rule) == ("hrm", "attention", "learned", "q_halt>q_continue")
        assert (c.levels, c.rows, c.puzzle_rows) == ((("L_level", 2), ("H_level", 1)), SEQ + 1, 1)
        assert reasoner.notes == ()
        check_outputs(reasoner, "checkpoint")


@pytest.mark.parametrize("name", CASES)
def test_equals_the_original_models_outputs(name, tmp_path):
    state, arch = recorded_state(name), CASES[name].arch
    reasoner = load(written(tmp_path, arch, state))
    c = reasoner.config
    assert (c.H_layers, c.L_layers, c.H_cycles, c.L_cycles) == tuple(
        arch[k] for k in ("H_layers", "L_layers", "H_cycles", "L_cycles")
    )
    assert c.puzzle_rows == -(-arch["puzzle_emb_ndim"] // arch["hidden_size"])
    check_outputs(reasoner, name)
    # The four layers of either block are what the original counts: 34 linear layers and 39 tensors in all.
    if (c.H_layers, c.L_layers) == (4, 4):
        assert (len(state), len(reasoner.linear_names())) == (39, 34)


@pytest.mark.parametrize("name", ["rope", "learned", "copy-mlp-t"])
def test_agrees_with_an_independent_forward(name, tmp_path):
    state, arch = recorded_state(name), CASES[name].arch
    inputs, ids = puzzles()
    plain = PlainTRM(arch, state, SEQ)
    expected = [list(plain.run(inputs[i], ids[i], 2)) for i in range(PUZZLES)]
    reasoner = load(written(tmp_path, arch, state))
    rounding = Rounding(reasoner, inputs, ids, 2)
    for dtype in UNIT:
        for step in Reference(reasoner, dtype=dtype).steps(inputs, ids, 2):
            for k, name in enumerate(("z_H", "logits", "q")):
                rounding.check(name, step.step, getattr(step, name), dtype, np.stack([e[step.step - 1][k] for e in expected]))


@pytest.mark.parametrize("name", ["rope", "copy-mlp-t", "no-embedding"])
def test_converted_it_is_the_same_model(name, tmp_path):
    first = load(written(tmp_path / "a", CASES[name].arch, recorded_state(name)))
    save(first, tmp_path / "b")
    second = load(tmp_path / "b")
    assert second.config == first.config and list(second.tensors) == list(first.tensors)
    check_outputs(second, name)


def test_without_a_configuration_file_the_tensors_tell(tmp_path):
    write_dataset(tmp_path / "data", seq_len=SEQ, vocab=VOCAB, identifiers=IDENTIFIERS)
    path = write_checkpoint(tmp_path, {}, recorded_state("rope"), name="checkpoint", config=False)
    reasoner = load(path)
    c = reasoner.config
    assert (c.family, c.H_layers, c.L_layers, c.H_cycles, c.L_cycles, c.halt_max_steps) == ("hrm", 4, 4, 2, 2, 16)
    said = " ".join(reasoner.notes)
    assert all(word in said for word in ("num_heads", "pos_encodings", "H_cycles", "halt_max_steps", "expansion"))
    assert "puzzle_emb_len" not in said


def test_a_puzzle_emb_len_is_ignored_as_the_original_does(tmp_path):
    reasoner = load(written(tmp_path, {**CASES["rope"].arch, "puzzle_emb_len": 16}, recorded_state("rope")))
    assert reasoner.config.puzzle_rows == 1 and "puzzle_emb_len 16 is ignored" in reasoner.notes[0]
    check_outputs(reasoner, "rope")


# -- what is refused ------------------------------------------------------------------------------------------------------


def refused(path, *words: str) -> InputError:
    with pytest.raises(InputError) as caught:
        load(path)
    text = f"{caught.value.what} {caught.value.where} {caught.value.why} {caught.value.next}"
    assert all(word in text for word in words), text
    return caught.value


def test_the_original_has_rope_and_learned_positions_only(tmp_path):
    state = recorded_state("rope")
    arch = Case(ORIGINAL, {"pos_encodings": "none"}).arch
    refused(written(tmp_path / "a", arch, state), "original HRM code cannot run", "pos_encodings is none")
    refused(written(tmp_path / "b", {**arch, "pos_encodings": "sincos"}, state), "pos_encodings is sincos")
    assert load(written(tmp_path / "c", {**arch, "name": COPY}, state)).config.pos_encodings == "none"


def test_the_original_attends(tmp_path):
    arch = {**CASES["copy-mlp-t"].arch, "name": ORIGINAL}
    refused(written(tmp_path, arch, recorded_state("copy-mlp-t")), "original HRM code cannot run", "mlp_t")


@pytest.mark.parametrize("field, level", [("H_layers", "H_level"), ("L_layers", "L_level")])
@pytest.mark.parametrize("told", [3, 5])
def test_a_wrong_number_of_layers_is_named(field, level, told, tmp_path):
    arch = {**CASES["rope"].arch, field: told}
    refused(written(tmp_path, arch, recorded_state("rope")), "number of layers", f"{field} is {told}", f"4 layers of {level}")


@pytest.mark.parametrize("told", [0, -1, 2.5, "many"])
def test_layer_counts_out_of_range(told, tmp_path):
    refused(written(tmp_path, {**CASES["rope"].arch, "H_layers": told}, recorded_state("rope")), "H_layers is invalid")


def test_missing_tensors_are_listed(tmp_path):
    state = recorded_state("rope")
    lost = [n for n in state if n.startswith("H_level.layers.1.")]
    refused(written(tmp_path, CASES["rope"].arch, {n: t for n, t in state.items() if n not in lost}), *lost)


def test_a_missing_block_is_named(tmp_path):
    state = recorded_state("rope")
    only = {level: {n: t for n, t in state.items() if not n.startswith(level)} for level in ("H_level", "L_level")}
    refused(written(tmp_path / "a", CASES["rope"].arch, only["H_level"]), "means HRM", "those of TRM")
    refused(written(tmp_path / "b", CASES["rope"].arch, only["L_level"]), "0 layers of L_level")
    # Without a configuration a single block is a TRM, and H_level alone nothing.
    assert find_family(None, only["H_level"], "x").NAME == "trm"
    with pytest.raises(InputError, match="no model family"):
        find_family(None, only["L_level"], "x")


def test_hrm_tensors_under_trms_name(tmp_path):
    arch = {**CASES["copy-rope"].arch, "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"}
    refused(written(tmp_path, arch, recorded_state("copy-rope")), "different model families", "means TRM", "those of HRM")


def test_other_modules_with_hrms_class_name(tmp_path):
    arch = {**CASES["rope"].arch, "name": "hrm.hrm_act_v2@HierarchicalReasoningModel_ACTV1"}
    refused(written(tmp_path, arch, recorded_state("rope")), "not supported", "hrm_act_v2")


def test_a_sequence_length_that_the_tensors_do_not_have(tmp_path):
    state = recorded_state("learned")
    path = written(tmp_path, {**CASES["learned"].arch, "seq_len": SEQ + 1}, state)
    refused(path, "disagree on the sequence length", "12 positions", "takes 3", "has 10")
    bigger = {**CASES["learned"].arch, "puzzle_emb_ndim": 16 * 12}
    refused(written(tmp_path / "b", bigger, state), "takes 12")


def test_heads_that_do_not_divide(tmp_path):
    refused(written(tmp_path, {**CASES["rope"].arch, "num_heads": 3}, recorded_state("rope")), "num_heads")
