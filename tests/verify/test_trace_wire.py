"""TRACE on the wire: repeated at will, refused for the right reason; verify over a TCP port and a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import threading
import tty
import zlib
from pathlib import Path

import numpy as np
import pytest

import recurc.verify.device as device
import recurc.verify.run as run
from recurc.dataset import Dataset
from recurc.device.session import DeviceRefusedError, DeviceSession
from recurc.device.transports import ProcessTransport
from recurc.emit.linker import render_linker_script, render_main
from recurc.plan.kernels import choose_kernels
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.boards import load_board
from recurc.targets.toolchain import compile_firmware, port_include_dirs, runtime_sources
from recurc.verify.places import step_places
from tests.codegen.builder import COMMON, RUNTIME, compile_model, write_sources
from tests.device.badline import BadLine, drop, flip
from tests.placing import default_placement
from tests.randmodels import random_inputs, random_reasoner
from tests.tools import need
from tests.verify import planted
from tests.verify.standins import Artifact, Build, dataset


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """(program, engine, reasoner's inputs and ids) of a TRM-MLP with an int8 carry."""
    need("host")
    folder = tmp_path_factory.mktemp("traced")
    reasoner = random_reasoner("mlp_t", pos="none", hidden=24, ndim=24, layers=1, cycles=(1, 2), steps=3)
    model = quantize_model(reasoner, precision_named("int4"), method="min-max", carry="int8")
    common = planted.compile_common(folder)
    engine = compile_model(folder / "engine", model, shared=folder)
    return planted.compile_planted(folder / "firmware", model, common), engine, random_inputs(reasoner, 1)


def begun(elf, row, **damage) -> DeviceSession:
    session = DeviceSession(BadLine(ProcessTransport([str(elf)]), **damage), timeout=0.3, step_timeout=0.4)
    session.load(row)
    assert session.info.carry == "int8"
    return session


def test_trace_says_what_the_engine_computes(traced):
    elf, engine, (inputs, ids) = traced
    engine.begin(inputs[0], int(ids[0]))
    with begun(elf, inputs[0]) as session:
        (result,) = session.run(0, begin=True, puzzle=int(ids[0]))
        assert (result.total_steps, result.steps, result.ticks) == (0, 0, 0)
        for step in (1, 2):
            for ops in range(engine.ops + 1):
                engine.run_ops(ops)
                for _ in range(2):  # a repeated request changes nothing
                    event = session.trace(step, ops)
                    assert (event.step, event.ops, event.of) == (step, ops, engine.ops)
                    assert event.carry_crc == zlib.crc32(engine.carry_bytes())
                if 0 < ops < engine.ops:
                    mixed = ops % 2 == 1  # token mixing first
                    assert (engine.raw("columns") != b"") == mixed
                    if mixed:
                        assert session.read_raw("columns") == engine.raw("columns")
                    else:
                        with pytest.raises(DeviceRefusedError):
                            session.read_raw("columns")
        event, result = session.run(1, begin=False)
        engine.step()
        assert event.step == 3 and event.carry_crc == zlib.crc32(engine.carry_bytes())


def test_a_run_ends_the_step_that_a_trace_began(traced):
    elf, engine, (inputs, ids) = traced
    engine.begin(inputs[0], int(ids[0]))
    with begun(elf, inputs[0]) as session:
        list(session.run(0, begin=True, puzzle=int(ids[0])))
        session.trace(1, 2)
        (event, result) = session.run(1, begin=False)
        engine.step()
        assert event.step == result.total_steps == 1 and event.carry_crc == zlib.crc32(engine.carry_bytes())
        assert np.array_equal(session.read_tensor("logits"), engine.tensor("logits").reshape(-1))


@pytest.mark.parametrize(
    ("step", "ops", "status"),
    [(1, 3, 13), (3, 1, 13), (2, 1, 13), (1, 99, 1), (4, 1, 19), (0, 1, 1)],
    ids=["op passed", "step after next", "next step", "no such op", "no such step", "step 0"],
)
def test_what_cannot_be_traced_is_refused(traced, step, ops, status):
    elf, engine, (inputs, ids) = traced
    with begun(elf, inputs[0]) as session:
        with pytest.raises(DeviceRefusedError) as e:
            session.trace(1, 1)  # nothing has begun
        assert e.value.status == 13
        list(session.run(0, begin=True, puzzle=int(ids[0])))
        session.trace(1, 4)
        with pytest.raises(DeviceRefusedError) as e:
            session.trace(step, ops)
        assert e.value.status == status
        assert session.trace(1, engine.ops).of == engine.ops


@pytest.mark.parametrize("change", [drop, flip])
@pytest.mark.parametrize("side", ["write", "read"])
def test_a_lost_trace_is_asked_for_again(traced, side, change):
    elf, engine, (inputs, ids) = traced
    engine.begin(inputs[0], int(ids[0]))
    with begun(elf, inputs[0], **{side: {4: change}}) as session:
        list(session.run(0, begin=True, puzzle=int(ids[0])))
        for ops in (1, 2, 3):
            engine.run_ops(ops)
            assert session.trace(1, ops).carry_crc == zlib.crc32(engine.carry_bytes())
        assert session.retries == 1


def verified(monkeypatch, engine, elf, on):
    import recurc.targets.host

    monkeypatch.setattr(recurc.targets.host, "HostEngine", lambda *_: engine)
    monkeypatch.setattr(run, "build_places", lambda _: ())
    other = Artifact(elf, build_id="f" * 32)
    return run.verify(Build({"stm32h7": other, "host": Artifact(elf)}), on, dataset())


@pytest.mark.parametrize("scheme", ["tcp", "socket"])
def test_verify_over_a_tcp_port(monkeypatch, engine, elfs, scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection, subprocess.Popen([elfs("host")], stdin=connection, stdout=connection):
                pass

        elfs("host")
        thread = threading.Thread(target=serve)
        thread.start()
        result = verified(monkeypatch, engine, elfs("host"), f"{scheme}://127.0.0.1:{port}")
        thread.join(10)
    assert result.bit_exact and result.n == 3 and result.instructions(1) is None
    assert result.board.name == "host"  # not the target's firmware, and as much of the build


def test_verify_over_a_pseudo_terminal(monkeypatch, engine, elfs):
    master, slave = pty.openpty()
    tty.setraw(slave)
    with subprocess.Popen([elfs("host")], stdin=master, stdout=master) as firmware:
        assert verified(monkeypatch, engine, elfs("host"), os.ttyname(slave)).bit_exact
        firmware.terminate()
    os.close(master)
    os.close(slave)


EMULATED_BUGS = {  # file, what it has, what is planted; the op that is the first to come to it
    "sign of a nibble": ("dsp/rc_tile_s4_dsp.c", "sxtb16 r2, r2, ror #8", "uxtb16 r2, r2, ror #8", 1),
    "rounding of rows of 24": (
        "portable/rc_quantize_pairs16.c", "x0 = rounded(x[i], p), x1", "x0 = rounded(x[i], p) + (n == 24u ? 1u : 0u), x1", 2),
}  # fmt: skip


@pytest.mark.parametrize("bug", EMULATED_BUGS)
def test_a_planted_bug_is_located_on_an_emulated_core(bug, tmp_path):
    """Bugs in the SIMD kernels of a Cortex-M7: token mixing over 10 rows comes first, channel mixing of 24 features then."""
    need("mps2-an500")
    board, kernels = load_board("mps2-an500"), choose_kernels(load_board("mps2-an500").features)
    name, old, new, op = EMULATED_BUGS[bug]
    reasoner = random_reasoner("mlp_t", pos="none", hidden=24, ndim=24, layers=1, cycles=(1, 1), steps=2)
    model = quantize_model(reasoner, precision_named("int4"), method="min-max", carry="fp16")
    engine = compile_model(tmp_path / "engine", model)
    folder = tmp_path / "firmware"
    write_sources(folder, model, kernels, 20_000)
    sources = [RUNTIME / "kernels" / s for s in kernels.sources]
    (wrong,) = [s for s in sources if str(s).endswith(name)]
    text = wrong.read_text()
    assert old in text
    (folder / wrong.name).write_text(text.replace(old, new))
    (folder / "main.c").write_text(render_main(planted.BUILD_ID))
    (folder / "firmware.ld").write_text(render_linker_script(board, default_placement(board)))
    sources = [folder / wrong.name if s == wrong else s for s in sources]
    sources += [folder / n for n in ("main.c", "model.c", "weights.S")] + [RUNTIME / s for s in COMMON]
    sources = list(dict.fromkeys([*sources, *runtime_sources(board, RUNTIME)]))
    elf = compile_firmware(board, sources, [folder, *port_include_dirs(board, RUNTIME)], {}, folder / "firmware.ld", folder)
    inputs, ids = random_inputs(reasoner, 1)
    c = reasoner.config
    data = Dataset(inputs, inputs.astype(np.int32), ids.astype(np.int32), c.seq_len, c.vocab_size, 3, None, Path("d"), "test")
    with device.connect(board, elf, "qemu", step_timeout=60) as session:
        result = run.verify_session(session, engine, data, run.Side(board, "qemu", places=step_places(model.program)))
    d = result.first_difference
    assert (d.step, d.place.op, d.place.call, d.tensor, d.reproduced) == (1, op, 1, "z_L", True)
    assert d.place.kind == ("token_mix", "channel_mix")[op - 1]
