"""The known answer: a program tests itself, and one that was compiled wrongly or has other weights finds it out."""

from __future__ import annotations

import ctypes
import platform
import struct
import subprocess
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recurc.emit.image import build_image
from recurc.emit.linker import render_linker_script
from recurc.errors import InputError, ToolchainError
from recurc.make.known import known_answer, random_puzzle, step_crc
from recurc.plan.kernels import choose_kernels, kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.storage.form import forms_of
from recurc.storage.known import most_steps, reduced_ops, section_bytes, unpack
from recurc.targets.boards import load_board
from recurc.targets.host import HostEngine
from recurc.targets.qemu import QemuTransport
from recurc.targets.toolchain import (
    C_FLAGS,
    compile_firmware,
    compile_shared,
    find_compiler,
    port_include_dirs,
    runtime_sources,
    shared_objects,
)
from tests.build import forging
from tests.codegen.builder import COMMON, RUNTIME, compile_model, write_sources
from tests.kernels.sanitizers import SANITIZE
from tests.placing import default_placement
from tests.randmodels import random_reasoner
from tests.tools import need

OK, ARGUMENT, SECTION, TOKEN, PUZZLE, STATE, ROW, SELFTEST = 0, 1, 7, 11, 12, 13, 17, 22
PORTABLE = kernel_set("portable")
HERE = Path(__file__).parent
SHAPES = {"attention": {"steps": 3}, "mlp_t": {"mixer": "mlp_t", "pos": "none", "steps": 3}, "hrm": {"h_layers": 1, "steps": 2}}


def quantized(shape="attention", precision="int4", seed=0, **knobs):
    method = "mse" if precision == "int4" else None
    return quantize_model(random_reasoner(seed=seed, **SHAPES[shape]), precision_named(precision), method=method, **knobs)


def with_answer(folder: Path, model, shared=None):
    """The model with its known answer, and an engine that has the image with it."""
    engine = compile_model(folder, model, shared=shared)
    if model.puzzles:
        engine._records = model.puzzles.record
    model = replace(model, known=known_answer(engine, model, random_puzzle(model)))
    (folder / "model.rcm").write_bytes(build_image(model, PORTABLE).data)
    return model, HostEngine(folder / "model.so", folder / "model.rcm", engine._records)


def status(engine: HostEngine, steps: int) -> int:
    """What the C function says."""
    return engine._lib.rc_selftest(ctypes.byref(engine._context), steps)


CASES = [("attention", "int4", {}), ("attention", "int8", {"carry": "int8"}), ("mlp_t", "int4", {"carry": "fp16"}),
         ("mlp_t", "int8", {"carry": "int8"}), ("hrm", "fp32", {}), ("attention", "int4-g32", {}),
         ("attention", "int3", {"puzzle_table": "int8"})]  # fmt: skip


@pytest.mark.parametrize("shape, precision, knobs", CASES)
def test_a_right_program_passes(shape, precision, knobs, tmp_path, kernels_folder):
    need("host")
    model, engine = with_answer(tmp_path / "m", quantized(shape, precision, **knobs), kernels_folder)
    assert len(model.known.steps) == model.program.steps == most_steps(model.program)
    for steps in (0, 1, 2, 99, 2**32 - 1):
        engine.selftest(steps)
    with pytest.raises(InputError, match="called before"):
        engine.step()
    engine.begin(np.zeros(9))
    engine.step()


def test_the_answer_is_what_the_section_says(tmp_path, kernels_folder):
    need("host")
    model, engine = with_answer(tmp_path / "m", quantized(), kernels_folder)
    section = build_image(model, PORTABLE).section("known")
    data = engine._image[section.offset : section.offset + section.bytes].tobytes()
    engine.begin(random_puzzle(model))
    engine.run_ops(model.known.ops)
    reduced, steps = zlib.crc32(engine.carry_bytes()), []
    for _ in range(3):
        engine.step()
        steps.append(zlib.crc32(engine.carry_bytes() + engine.raw("logits") + engine.raw("q") + engine.raw("tokens")))
    told = struct.pack("<20I", 0, 3, model.known.ops, reduced, *steps, *(0,) * 13) + random_puzzle(model).tobytes()
    assert data == told and len(told) == section_bytes(model.program)
    assert unpack(data, model.program) == model.known and unpack(bytes(len(data)), model.program) is None


def test_the_reduced_form_has_every_kind_of_op():
    def ops(model):
        return reduced_ops(model.program, forms_of(model.program, model.forms))

    assert ops(quantized("attention")) == 2 and ops(quantized("mlp_t")) == 2, "of a block of two layers"
    mixed = quantize_model(random_reasoner(), precision_named("int4"), layer_precisions={"L_level.layers.1.mlp.*": "int8"},
                           method="mse")  # fmt: skip
    assert ops(mixed) == 4, "the last layer is computed by other kernels"


def test_what_is_stored_is_bounded_by_what_it_takes_to_run():
    deep = quantize_model(random_reasoner(steps=40), precision_named("int8"))
    assert most_steps(deep.program) == 16

    class Huge:
        steps, macs_per_step = 16, 1 << 33

    assert most_steps(Huge) == 2 and most_steps(type("H", (), {"steps": 16, "macs_per_step": 1 << 40})) == 1


def test_without_an_answer_or_a_row_it_says_so(tmp_path, kernels_folder):
    need("host")
    engine = compile_model(tmp_path / "plain", quantized(), shared=kernels_folder)
    assert status(engine, 0) == SECTION
    model, engine = with_answer(tmp_path / "m", quantized(puzzle_table="fp32"), kernels_folder)
    assert status(engine, 0) == ROW
    engine.selftest(0)
    engine._context.state = 0
    assert status(engine, 0) == STATE and engine._lib.rc_selftest(None, 0) == ARGUMENT


def test_a_model_without_finite_numbers_has_no_answer(tmp_path, kernels_folder):
    need("host")
    model = quantized("attention", "fp32")
    name = next(n for n in model.weights if "gate_up" in n)
    bad = replace(model.weights[name], w=np.full_like(model.weights[name].w, np.nan))
    model = replace(model, weights={**model.weights, name: bad})
    engine = compile_model(tmp_path / "m", model, shared=kernels_folder)
    assert known_answer(engine, model, random_puzzle(model)) is None


# -- other weights ----------------------------------------------------------------------------------------------------------


def changed(image: bytes, section, at: int, mask: int) -> bytes:
    data = bytearray(image)
    data[section.offset + at] ^= mask
    forging.with_right_checksums(data)
    return bytes(data)


def test_a_changed_weight_with_right_checksums_is_found(tmp_path, kernels_folder):
    """In every layer; CRC-32 tells nothing of it."""
    need("host")
    model, _ = with_answer(tmp_path / "m", quantized("mlp_t"), kernels_folder)
    image, first = build_image(model, PORTABLE), model.program.blocks[0].ops[0].linears
    for ref in model.program.linears:
        for kind in ("weights", "scales"):
            section = image.section(f"{ref.name}:{kind}")
            (tmp_path / "m" / "bent.rcm").write_bytes(changed(image.data, section, 2, 0x04))
            check = HostEngine(tmp_path / "m" / "model.so", tmp_path / "m" / "bent.rcm")
            assert status(check, 99) == SELFTEST, section.name
            assert status(check, 0) == SELFTEST or ref not in first, section.name


# -- hostile sections -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head, wanted", [
    ({"steps": 0}, SECTION), ({"steps": 4}, SECTION), ({"steps": 2**32 - 1}, SECTION), ({"ops": 0}, SECTION),
    ({"ops": 10_000}, SECTION), ({"ops": 2**32 - 1}, SECTION), ({"puzzle": 3}, PUZZLE), ({"puzzle": 2**32 - 1}, PUZZLE),
    ({"token": 7}, TOKEN), ({"token": 255}, TOKEN), ({"reduced": 1}, SELFTEST), ({"ops": 1}, SELFTEST), ({}, OK),
], ids=str)  # fmt: skip
def test_a_hostile_section_ends_with_a_status(head, wanted, hostile):
    model, folder = hostile
    image = build_image(model, PORTABLE)
    section, data = image.section("known"), bytearray(image.data)
    for at, field in enumerate(("puzzle", "steps", "ops", "reduced")):
        if field in head:
            struct.pack_into("<I", data, section.offset + 4 * at, head[field])
    if "token" in head:
        data[section.offset + section.bytes - 1] = head["token"]
    forging.with_right_checksums(data)
    (folder / "bent.rcm").write_bytes(data)
    assert status(HostEngine(folder / "model.so", folder / "bent.rcm"), 0) == wanted


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, kernels_folder):
    need("host")
    folder = tmp_path_factory.mktemp("hostile") / "m"
    model = with_answer(folder, quantized(), kernels_folder)[0]
    trusting(folder)
    return model, folder


def trusting(folder: Path) -> None:
    """rc_open no longer looks at how floats are rounded, so that what the known answer finds is seen."""
    text, look = (folder / "model.c").read_text(), "if (!floats_are_right()) {"
    assert text.count(look) == 1
    (folder / "model.c").write_text(text.replace(look, "if (!floats_are_right() && ctx == 0) {"))


def test_random_sections_are_clean_under_sanitizers(hostile, tmp_path):
    folder = hostile[1]
    sources = [HERE / "known_driver.c", folder / "model.c", *(RUNTIME / s for s in COMMON)]
    sources += [RUNTIME / "kernels" / s for s in PORTABLE.sources]
    command = [
        find_compiler("host"),
        *C_FLAGS,
        *SANITIZE,
        "-std=gnu11",
        "-O1",
        f"-I{folder}",
        f"-I{RUNTIME / 'include'}",
        *map(str, sources),
    ]
    subprocess.run([*command, "-o", str(tmp_path / "driver"), "-lm"], check=True)
    done = subprocess.run([tmp_path / "driver", folder / "model.rcm", "1", "300"], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-3000:])
    told = {int(line.split()[0]) for line in done.stdout.splitlines()}
    assert {OK, SECTION, SELFTEST} <= told <= {OK, SECTION, SELFTEST, TOKEN, PUZZLE}


# -- wrong flags ------------------------------------------------------------------------------------------------------------

X86 = platform.machine() == "x86_64"
RIGHT = (["-O3", "-march=native"], ["-Os"])  # and what all other tests are compiled with
UNGUARDED = "-DRECURC_GUARD_H"  # as a compiler that knows none of the pragmas by which sources guard their bits
WRONG = (
    ["-O2", "-ffp-contract=fast", *(["-mfma"] if X86 else [])],
    ["-Ofast", "-nostartfiles"],  # whose start-up code would make this process flush small numbers to zero
    ["-O3", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"],
    ["-O2", "-freciprocal-math"],
    *([["-O2", "-mfpmath=387"]] if X86 else []),
)


@pytest.fixture(scope="module")
def compiled(hostile):
    """engine(flags, number): the model and its kernels, compiled with flags after the right ones; None where the sources refuse
    them."""
    folder = hostile[1]
    readers = [RUNTIME / s for s in COMMON if s.startswith("image/")]
    parts = shared_objects(readers, [RUNTIME / "include"], folder / "parts")
    sources = [folder / "model.c", RUNTIME / "solve/rc_known.c", *(RUNTIME / "kernels" / s for s in PORTABLE.sources)]
    sources.append(RUNTIME / "solve/rc_solve.c")

    def engine(flags: list[str], number: str) -> HostEngine | None:
        out = folder / number / "model.so"
        try:
            compile_shared(sources, [folder, RUNTIME / "include"], out, flags, parts)
        except ToolchainError as e:
            assert "#error" in str(e), e
            return None
        return HostEngine(out, folder / "model.rcm")

    return engine


def bits(engine: HostEngine, model) -> tuple[int, ...]:
    engine.begin(random_puzzle(model))
    found = []
    for _ in model.known.steps:
        engine.step()
        found.append(step_crc(engine))
    return tuple(found)


@pytest.mark.parametrize("flags", RIGHT, ids=" ".join)
def test_right_flags_pass(flags, compiled, hostile):
    engine = compiled(flags, f"right{RIGHT.index(flags)}")
    assert engine is not None and bits(engine, hostile[0]) == hostile[0].known.steps
    assert (status(engine, 0), status(engine, 99)) == (OK, OK)


@pytest.mark.parametrize("flags", WRONG, ids=" ".join)
def test_flags_that_change_bits_are_found(flags, compiled, hostile):
    """Where nothing guards the sources from them, nor refuses them."""
    engine = compiled([*flags, UNGUARDED], f"wrong{WRONG.index(flags)}")
    if engine is not None:
        assert bits(engine, hostile[0]) != hostile[0].known.steps, "these flags change nothing here"
        assert (status(engine, 0), status(engine, 99)) == (SELFTEST, SELFTEST)


# -- a program of its own on an emulated core -------------------------------------------------------------------------------


def on_board(folder: Path, name: str, model, flags=()) -> tuple[int, int, int, int, int, int, int]:
    """Statuses of opening, of the reduced form, of a step and of all steps; instructions of the last three."""
    board = load_board(name)
    write_sources(folder, model, choose_kernels(board.features), 20_000)
    trusting(folder)
    (folder / "firmware.ld").write_text(render_linker_script(board, default_placement(board)))
    ports = [f for f in runtime_sources(board, RUNTIME) if f.is_relative_to(RUNTIME / "ports")]
    kernels = [RUNTIME / "kernels" / s for s in choose_kernels(board.features).sources]
    sources = [
        HERE / "known_main.c",
        folder / "model.c",
        folder / "weights.S",
        *(RUNTIME / s for s in COMMON),
        *kernels,
        *ports,
    ]
    elf = compile_firmware(
        board, sources, [folder, *port_include_dirs(board, RUNTIME)], {}, folder / "firmware.ld", folder, flags
    )
    transport, told = QemuTransport(board, elf), b""
    try:
        deadline = time.monotonic() + 60
        while len(told) < 16 and time.monotonic() < deadline:
            told += transport.read(1.0)
    finally:
        transport.close()
    return struct.unpack("<4B3I", told[:16])


@pytest.mark.parametrize("name", ["mps2-an500", "riscv32-virt"])
def test_an_emulated_core_tests_itself(name, tmp_path, hostile):
    need(name)
    found = on_board(tmp_path, name, hostile[0])
    assert found[:4] == (OK, OK, OK, OK) and 0 < found[4] < found[5] < found[6]


def test_contraction_on_a_cortex_m7_is_found(tmp_path, hostile):
    need("mps2-an500")
    assert on_board(tmp_path, "mps2-an500", hostile[0], ("-ffp-contract=fast", UNGUARDED))[:4] == (
        OK,
        SELFTEST,
        SELFTEST,
        SELFTEST,
    )
