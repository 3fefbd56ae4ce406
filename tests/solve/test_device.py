"""A device answers by itself: generated code, emulated cores and the wire, against the host's engine and the NumPy twin."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from recurc.device.session import DeviceRefusedError
from recurc.emit.image import build_image, check_image
from recurc.errors import InputError, UsageError
from recurc.evaluate.solving import solve_puzzle
from recurc.ir.lower import lower
from recurc.plan.kernels import kernel_set
from recurc.plan.layout import arena_pieces, make_layout
from recurc.quant.model import quantize_model
from recurc.quant.twin import Twin
from recurc.quant.weights import precision_named
from recurc.solve import Policy, solve
from recurc.storage.form import forms_of
from recurc.storage.image import Contents, image_sections
from recurc.symmetries import Grids, Symmetry, draw, named
from recurc.targets.boards import load_board
from recurc.verify.device import connect
from tests.codegen.builder import compile_model, emulated_firmware
from tests.randmodels import random_reasoner, sudoku4
from tests.tools import EMULATED, need

POLICIES = (
    Policy(3, 4, 2, threshold=0.5),
    Policy(4, 4, 4, threshold=1e30),
    Policy(2, 4, 2, threshold=-1e30, patience=0),
    Policy(2, 4, 3, threshold=0.0, patience=2, accept="agreement"),
    Policy(1, 4, 1, threshold=1e30, accept="agreement"),
    Policy(2, 4, 2, threshold=1e30, accept="vote"),
    Policy(4),
)
FORMS = draw(named("square+tokens:1-6", 9, 7), 4, 5)


NOISY = (
    Policy(2, 4, 2, threshold=1e30, noise=0.5),
    Policy(1, 255, 2, threshold=1e30, noise=0.25, noise_at="step", seed=0xFFFFFFFF),
)
ROOM = 5


def quantized(precision: str = "int8", symmetries: tuple[Symmetry, ...] = FORMS, **knobs):
    return quantize_model(random_reasoner(), precision_named(precision), symmetries=symmetries, **knobs)


def puzzles(n: int = 6) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 7, (n, 9)).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    need("host")
    return compile_model(tmp_path_factory.mktemp("solve") / "model", quantized(carry="int8", noisy_runs=ROOM))


def equal(found, wanted) -> None:
    assert found.tokens.tobytes() == wanted.tokens.tobytes()
    assert vars(found) | {"tokens": None} == vars(wanted) | {"tokens": None}


def test_the_generated_code_answers_as_the_twin_does(made):
    """Both with the device's arithmetic; the twin's runs go through the procedure in Python."""
    model = quantized(carry="int8")
    seen = set()
    for puzzle in puzzles():

        def runs(form: int, puzzle: np.ndarray = puzzle):
            twin = Twin(model)
            twin.begin((FORMS[form - 1].present(puzzle) if form else puzzle)[None], np.array([2]))
            for _ in range(4):
                twin.step()
                yield twin.tokens[0], float(twin.q[0, 0])

        for policy in POLICIES:
            found = made.solve(puzzle, policy, 2)
            equal(found, solve(runs, FORMS, policy))
            seen.add((found.solved, found.restarts, found.run))
    assert {solved for solved, *_ in seen} == {True, False} and len(seen) > 4, seen


def test_python_restarts_are_the_engines(made):
    for puzzle in puzzles():
        for policy in POLICIES:
            equal(made.solve(puzzle, policy, 1), solve_puzzle(made, puzzle, 1, FORMS, policy))


def test_a_puzzle_may_be_stepped_between(made):
    """Nothing of an answer stays: a run after it begins as ever, and the same puzzle is answered the same again."""
    row, policy = puzzles()[0], Policy(3, 4, 2, threshold=1e30)
    made.begin(row)
    made.step()
    before = made.raw("z_H")
    first = made.solve(row, policy)
    made.begin(row)
    made.step()
    assert made.raw("z_H") == before
    equal(made.solve(row, policy), first)


def test_refusals(made):
    row = puzzles()[0]
    for wrong in (Policy(5), Policy(4, 2, 5)):
        with pytest.raises(InputError, match="steps have been run"):
            made.solve(row, wrong)
    with pytest.raises(InputError, match="tokens of one byte"):
        made.solve(row[:8], Policy(2))
    with pytest.raises(InputError, match="identifier"):
        made.solve(row, Policy(2), 3)
    with pytest.raises(UsageError, match="forms"):
        lower(random_reasoner().config, symmetries=FORMS * 64)


@pytest.mark.parametrize("kernels", ["host", "dsp", "mve"])
def test_forms_lie_in_the_image_and_are_read_back(kernels):
    k, with_forms, without = kernel_set(kernels), quantized("int4"), quantized("int4", ())
    image, plain = build_image(with_forms, k), build_image(without, k)
    section = image.section("forms")
    assert section.bytes == 4 * (9 + 7) and len(image.data) - len(plain.data) in (64, 128) and image.sha256 != plain.sha256
    assert check_image(image.data)
    contents = Contents()
    for spec, stored in zip(
        image_sections(with_forms.program, forms_of(with_forms.program, with_forms.forms), k.weights), image.sections
    ):
        spec.read(image.data[stored.offset : stored.offset + stored.bytes], contents)
    assert contents.symmetries == FORMS


def test_room_for_answers_is_planned_and_only_where_it_is_needed():
    k = kernel_set("portable")
    layouts = [make_layout(m.program, m.forms, k, 20_000) for m in (quantized(), quantized(symmetries=()))]
    names = [{p.name: p.bytes for p in arena_pieces(layout)} for layout in layouts]
    assert names[0]["answers"] == 5 * 9 and "answers" not in names[1]


def test_more_than_256_cells_take_two_bytes_each(tmp_path):
    """As on mazes and ARC grids."""
    need("host")
    reasoner = random_reasoner(seq=289, hidden=16, heads=2, ndim=16, layers=1, cycles=(1, 1), steps=2)
    forms = draw(named("square", 289, 7), 3, 1)
    engine = compile_model(tmp_path, quantize_model(reasoner, precision_named("int8"), symmetries=forms))
    row = np.random.default_rng(1).integers(0, 7, 289).astype(np.uint8)
    policy = Policy(1, 3, 2, threshold=1e30)
    equal(engine.solve(row, policy), solve_puzzle(engine, row, 0, forms, policy))


def test_a_trained_model_is_made_surer(tmp_path):
    """The 4x4 model that the tests carry: more puzzles are right, and no wrong one is called solved."""
    need("host")
    reasoner = sudoku4()
    forms = draw(named("sudoku:2x2", reasoner.config.seq_len, reasoner.config.vocab_size), 4, 0)
    engine = compile_model(tmp_path, quantize_model(reasoner, precision_named("int4"), symmetries=forms))
    from recurc.dataset import load_dataset
    from tests.randmodels import DATA

    data = load_dataset(DATA / "data", "test")
    rows, labels = data.inputs[:40], data.labels[:40]
    answers = [engine.solve(row, Policy(4, 4, 4)) for row in rows]
    right = [bool((a.tokens == label).all()) for a, label in zip(answers, labels)]
    plain = [bool((engine.solve(row, Policy(4)).tokens == label).all()) for row, label in zip(rows, labels)]
    assert sum(right) >= sum(plain)
    assert all(ok for ok, a in zip(right, answers) if a.solved)


def test_forms_with_rows_of_their_own_lie_in_the_image(tmp_path):
    """Grids of ARC: read back as they were, and asked by the device's code as they are here."""
    need("host")
    names = ["<blank>", "a", *(f"a|||t{t}|||0{c}" for t, c in ((1, "132456789"), (7, "987654321"), (4, "123456789"))), "b"]
    reasoner, grids = random_reasoner(seq=16, vocab=12, puzzles=6), Grids.of(names, 3, "names")
    model = quantize_model(reasoner, precision_named("int8"), symmetries=grids)
    image, contents = build_image(model, kernel_set("host")), Contents()
    specs = image_sections(model.program, forms_of(model.program, model.forms), kernel_set("host").weights)
    for spec, stored in zip(specs, image.sections, strict=True):
        spec.read(image.data[stored.offset : stored.offset + stored.bytes], contents)
    assert contents.symmetries == grids and image.section("forms").bytes == 6 * 16
    engine = compile_model(tmp_path, model)
    rng = np.random.default_rng(2)
    for shape, row in (((2, 3), 2), ((4, 1), 4), ((3, 3), 1), ((2, 2), 5), ((2, 2), 0)):
        puzzle = np.zeros((4, 4), np.uint8)
        puzzle[: shape[0] + 1, : shape[1] + 1] = 1
        puzzle[shape[0] :, shape[1] :] = 0
        puzzle[: shape[0], : shape[1]] = rng.integers(2, 12, shape)
        for policy in (Policy(2, 3, 1, threshold=1e30), Policy(1, 2, 2, threshold=0.0, accept="vote")):
            found = engine.solve(puzzle.ravel(), policy, row)
            equal(found, solve_puzzle(engine, puzzle.ravel(), row, grids, policy))
            assert found.restarts == (0 if row in (0, 5) else found.restarts) and (row in (0, 5) or found.restarts > 0)


# -- over the wire --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", EMULATED)
def test_a_device_answers_as_the_host_through_restarts(board, tmp_path, made):
    need(board)
    model = quantized(carry="int8", noisy_runs=ROOM)
    folder = tmp_path / "firmware"
    folder.mkdir()
    elf = emulated_firmware(folder, load_board(board), model)
    with connect(load_board(board), elf, "qemu", step_timeout=30) as session:
        for puzzle in puzzles(2):
            session.load(puzzle)
            for policy in POLICIES[:6] + NOISY:
                *events, result = session.solve(policy, puzzle=1, forms=ROOM if policy.noise else len(FORMS))
                solving = made.solving(puzzle, policy, 1)
                for event, number in zip(events, solving.steps(), strict=True):
                    assert (event.step, event.run) == (number, solving.run)
                    assert event.carry_crc == zlib.crc32(made.carry_bytes()) and event.tokens_crc == zlib.crc32(
                        made.raw("tokens")
                    )
                    assert event.logits_crc == zlib.crc32(made.raw("logits")) and event.q_bytes == made.raw("q")
                answer = solving.answer()
                assert (result.solved, result.total_steps, result.restarts, result.run) == (
                    answer.solved, answer.steps, answer.restarts, answer.run)  # fmt: skip
                assert result.margin == np.float32(answer.margin) and result.answer_crc == zlib.crc32(answer.tokens.tobytes())
                assert session.read_tensor("answer").tobytes() == answer.tokens.tobytes()
                assert result.restarts <= len(FORMS) or policy.noise
        session.load(puzzles()[0])
        *_, result = session.run(2)
        assert result.total_steps == 2
        with pytest.raises(DeviceRefusedError):
            session.read_tensor("answer")


def test_what_a_restart_costs_beyond_its_steps(tmp_path):
    """Presenting a form, beginning, comparing and leading back: below half a percent of a step, counted on a Cortex-M7."""
    need("mps2-an500")
    folder, board = tmp_path / "firmware", load_board("mps2-an500")
    folder.mkdir()
    reasoner = sudoku4()
    forms = draw(named("sudoku:2x2", 16, reasoner.config.vocab_size), 4, 0)
    elf = emulated_firmware(folder, board, quantize_model(reasoner, precision_named("int4"), symmetries=forms))
    row = np.random.default_rng(0).integers(1, 5, 16).astype(np.uint8)
    with connect(board, elf, "qemu", step_timeout=30) as session:
        session.load(row)
        *asked, result = session.solve(Policy(2, 4, 2, threshold=1e30), forms=4)
        assert result.restarts == 4
        session.load(forms[0].present(row))
        *plain, _ = session.run(2)
    first = [e for e in asked if e.run == 1]
    assert [e.carry_crc for e in first] == [e.carry_crc for e in plain]
    more = sum(e.ticks for e in first) - sum(e.ticks for e in plain)
    assert 0 < more < 0.005 * plain[0].ticks, (more, plain[0].ticks)
