"""Every check of the server, request by request: what is refused, with what, and what a refusal leaves as it was."""

from __future__ import annotations

import ctypes
import struct
import zlib

import numpy as np
import pytest

from recurc.device import frames as f
from recurc.noise import Noise
from recurc.quant.tables import PuzzleTable
from recurc.resources import resource_dir
from recurc.solve import Policy
from recurc.targets.toolchain import compile_shared
from tests.device import dummy_build as dummy
from tests.tools import need

OK, ARGUMENT, IMAGE_CRC, TOKEN, PUZZLE, STATE, COMMAND, TABLE, ROW, STEPS = 0, 1, 6, 11, 12, 13, 15, 16, 17, 19
RECORDS = PuzzleTable(np.ones((3, 601), np.float32), 1.0, "fp32", bytes([0x51, *range(1, 16)]))
CELLS = bytes(i % 6 for i in range(dummy.SEQ_LEN))
Z_H, LOGITS, Q, TOKENS, INPUT, ANSWER = (f.TENSORS[name] for name in ("z_H", "logits", "q", "tokens", "input", "answer"))
SIZES = {Z_H: 4 * dummy.ROWS * dummy.HIDDEN, LOGITS: 4 * dummy.SEQ_LEN * dummy.VOCAB, Q: 8, TOKENS: 16, INPUT: 16}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The stand-in model with the real server, without a table and with a streamed one."""
    need("host")
    runtime = resource_dir("runtime_c")
    files = [dummy.DUMMY / "model.c", dummy.DUMMY / "port.c", *sorted((runtime / "wire").glob("*.c")),
             *sorted((runtime / "image").glob("*.c")), *sorted((runtime / "solve").glob("*.c"))]  # fmt: skip
    made = {}
    for name, flags in (("plain", ()), ("table", ("-DDUMMY_TABLE=1",))):
        out = tmp_path_factory.mktemp("server") / "server.so"
        library = made[name] = ctypes.CDLL(str(compile_shared(files, [dummy.DUMMY, runtime / "include"], out, flags)))
        library.dummy_start.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]
        library.dummy_said.restype = ctypes.POINTER(ctypes.c_uint8)
    return made


class Server:
    """One started server; `ask` gives what it says to a request."""

    def __init__(self, library, image: bytes = b"", table: bytes | None = None) -> None:
        self.library, self.kept, self.seq = library, (image or dummy.image_bytes(), table), 0
        library.dummy_start(self.kept[0], len(self.kept[0]), table, len(table or b""))
        (self.boot,) = self.said()

    def said(self) -> list[f.Frame]:
        n = ctypes.c_uint32()
        data = self.library.dummy_said(ctypes.byref(n))
        return f.Receiver().push(bytes(data[: n.value]))

    def send(self, kind: int, body: bytes = b"") -> list[f.Frame]:
        self.seq = self.seq % 255 + 1
        data = f.encode(f.Frame(kind, self.seq, body))
        self.library.dummy_take(data, len(data))
        found = self.said()
        assert {x.seq for x in found} == {self.seq} and all(x.type == f.STEP for x in found[:-1])
        return found

    def ask(self, kind: int, body: bytes = b"") -> int | bytes:
        """The status that a request is refused with, or its reply's body."""
        last = self.send(kind, body)[-1]
        if last.type == f.NAK:
            assert len(last.body) == 2 and last.body[1] == kind
            return last.body[0]
        assert last.type == kind | f.REPLY
        return last.body

    def load(self, cells: bytes = CELLS, offset: int = 0) -> int | bytes:
        return self.ask(f.LOAD, struct.pack("<I", offset) + cells)

    def run(self, steps=1, *, flags=f.RUN_BEGIN, at=0, min_steps=1, puzzle=0, crc=None, threshold=0.0):
        crc = zlib.crc32(CELLS) if crc is None else crc
        return self.ask(f.RUN, f.run_body(flags, steps, min_steps, at, puzzle, crc, threshold))

    def read(self, tensor: int, offset: int = 0, n: int = 4):
        return self.ask(f.READ, struct.pack("<BIH", tensor, offset, n))

    def trace(self, step: int, ops: int):
        return self.ask(f.TRACE, struct.pack("<HH", step, ops))

    def row(self, offset: int, data: bytes, index: int = 0):
        return self.ask(f.ROW, f.row_body(index, offset, data))

    def send_row(self, index: int = 0) -> None:
        record = RECORDS.record(index)
        for at in range(0, len(record), f.MAX_ROW):
            assert isinstance(self.row(at, record[at : at + f.MAX_ROW], index), bytes)


@pytest.fixture
def server(libraries):
    """Without a table, its row loaded."""
    made = Server(libraries["plain"])
    assert made.load() == struct.pack("<I", zlib.crc32(CELLS))
    return made


# -- frames ---------------------------------------------------------------------------------------------------------------


def test_types_that_are_none_and_bodies_of_other_lengths(server):
    for kind in (0, 0x0B, 0x55, f.STEP, f.BOOT, f.NAK, f.HELLO | f.REPLY):
        assert server.ask(kind) == COMMAND
    server.run()
    for kind, good in ((f.HELLO, 2), (f.RUN, 20), (f.SOLVE, 20), (f.READ, 7), (f.TRACE, 4), (f.EXIT, 4), (f.RESET, 0)):
        for length in {0, 1, good - 1, good + 1, good + 8, 1024} - {good, -1}:
            assert server.ask(kind, bytes(length)) == ARGUMENT, (kind, length)


def test_a_damaged_frame_is_answered_under_no_number(server):
    data = bytearray(f.encode(f.Frame(f.HELLO, 9, b"\4\0")))
    data[3] ^= 1
    server.library.dummy_take(bytes(data), len(data))
    (found,) = server.said()
    assert (found.type, found.seq, found.body) == (f.NAK, 0, bytes([f.STATUS_FRAME, 0]))


# -- who it is ------------------------------------------------------------------------------------------------------------


def test_a_good_and_a_bad_image_and_why_it_started(libraries):
    for image, status in ((dummy.image_bytes(), OK), (dummy.image_bytes(good=False), IMAGE_CRC)):
        server = Server(libraries["plain"], image)
        assert (server.boot.type, server.boot.seq, server.boot.body) == (f.BOOT, 0, bytes([4, status]))
        hello = f.parse_hello(server.ask(f.HELLO, struct.pack("<H", f.VERSION)))
        assert (hello.status, hello.reset_cause, hello.image_bytes) == (status, "watchdog", len(image))


def test_a_bad_image_refuses_all_that_needs_it_with_its_own_status(libraries):
    server = Server(libraries["table"], dummy.image_bytes(good=False))
    assert server.load() == struct.pack("<I", zlib.crc32(CELLS)), "needs no model"
    assert [server.run(), server.read(Q), server.trace(1, 0), server.row(0, b"x")] == [IMAGE_CRC] * 4


def test_where_a_tables_rows_come_from(libraries, tmp_path):
    RECORDS.write(tmp_path / "table")
    table = (tmp_path / "table").read_bytes()
    for name, given, mode, status in (("plain", None, f.TABLE_NONE, OK), ("table", None, f.TABLE_WIRE, OK),
                                      ("table", table, f.TABLE_MAPPED, OK), ("table", table[:-1], f.TABLE_MAPPED, TABLE),
                                      ("table", b"RCT2" + table[4:], f.TABLE_MAPPED, TABLE)):  # fmt: skip
        server = Server(libraries[name], table=given)
        hello = f.parse_hello(server.ask(f.HELLO, struct.pack("<H", f.VERSION)))
        assert (hello.table_mode, hello.table_status) == (mode, status)
        server.load()
        assert (server.row(0, b"x") == COMMAND) == (mode != f.TABLE_WIRE)
        assert (server.run() == TABLE) == (status == TABLE), "no puzzle begins with a table that is not the model's"


# -- input ----------------------------------------------------------------------------------------------------------------


def test_the_input_row_is_never_left(server):
    n = dummy.SEQ_LEN
    assert server.load(b"") == ARGUMENT
    for offset, count in ((0, n + 1), (1, n), (n - 1, 2), (n, 1), (n + 1, 1), (0xFFFFFFFF, 1), (0xFFFFFFFF, 2),
                          (0xFFFFFFF0, n)):  # fmt: skip
        assert server.load(bytes(count), offset) == ARGUMENT, (offset, count)
    assert server.load(b"\5", n - 1) == struct.pack("<I", zlib.crc32(CELLS[:-1] + b"\5")), "a refusal changes nothing"


def test_a_run_is_of_the_row_that_was_loaded(server):
    assert server.run(crc=zlib.crc32(CELLS) ^ 1) == ARGUMENT
    assert isinstance(server.run(), bytes)
    before = server.read(Q, 0, 8)
    server.load(b"\6", 3)
    assert server.run(crc=zlib.crc32(CELLS[:3] + b"\6" + CELLS[4:])) == TOKEN, "a token beyond the vocabulary"
    assert server.read(Q, 0, 8) in (STATE, before), "nothing of the refused one is read as its answer"


# -- runs -----------------------------------------------------------------------------------------------------------------


def test_flags_and_reserved_bits(server):
    for bit in range(2, 8):
        assert server.run(flags=f.RUN_BEGIN | 1 << bit) == COMMAND


def test_a_puzzle_begins_at_its_beginning_and_goes_on_where_it_is(server):
    assert server.run(flags=0) == STATE, "nothing was begun"
    assert server.run(at=1) == ARGUMENT and server.run(puzzle=3) == PUZZLE and server.run(flags=0) == STATE
    assert isinstance(server.run(2), bytes)
    assert server.run(flags=0, at=1) == server.run(flags=0, at=3) == server.run(flags=0, at=0) == STATE
    result = f.parse_result(server.run(3, flags=0, at=2))
    assert (result.status, result.steps, result.total_steps, result.halted) == (OK, 3, 5, False)
    assert server.run(3, flags=0, at=2) == STATE, "the same request again is not run again"


def test_no_more_steps_than_were_compiled(server):
    most = dummy.STEPS
    for steps in (most + 1, 0xFFFF):
        assert isinstance(server.run(steps), int)
    assert f.parse_result(server.run(5)).total_steps == 5
    for steps in (most - 4, most, 0xFFFF):
        assert isinstance(server.run(steps, flags=0, at=5), int), steps
    assert f.parse_result(server.run(most - 5, flags=0, at=5)).total_steps == most
    assert isinstance(server.run(1, flags=0, at=most), int)
    assert f.parse_result(server.run(most)).total_steps == most


def test_no_steps_only_begin(server):
    assert server.run(0, flags=0) == STATE
    found = server.send(f.RUN, f.run_body(f.RUN_BEGIN, 0, 1, 0, 0, zlib.crc32(CELLS), 0.0))
    assert len(found) == 1 and f.parse_result(found[0].body).total_steps == 0
    assert isinstance(server.read(Z_H), bytes)
    assert isinstance(server.run(0, flags=0), int)


@pytest.mark.parametrize(
    ("flags", "min_steps", "threshold", "steps"),
    [(f.RUN_HALT, 1, 0.0, 6), (f.RUN_HALT, 6, 0.0, 6), (f.RUN_HALT, 7, 0.0, 7), (f.RUN_HALT, 1, 0.5, 7), (0, 1, 0.0, 12),
     (f.RUN_HALT, 1, 99.0, 12), (f.RUN_HALT, 13, 0.0, 12)],
)  # fmt: skip
def test_halting(server, flags, min_steps, threshold, steps):
    """The stand-in's margin is the step's number less 5.5."""
    body = f.run_body(f.RUN_BEGIN | flags, 12, min_steps, 0, 0, zlib.crc32(CELLS), threshold)
    *events, last = server.send(f.RUN, body)
    result = f.parse_result(last.body)
    assert (result.total_steps, result.steps, result.halted) == (steps, steps, steps < 12)
    told = [f.parse_step(e.body) for e in events]
    assert [e.step for e in told] == list(range(1, steps + 1)) and result.ticks == sum(e.ticks for e in told) > 0
    for name, value in (("logits", told[-1].logits_crc), ("tokens", told[-1].tokens_crc)):
        tensor = f.TENSORS[name]
        assert zlib.crc32(server.read(tensor, 0, SIZES[tensor])[8:]) == value
    assert server.read(Q, 0, 8)[8:] == told[-1].q_bytes


@pytest.mark.parametrize(("patience", "steps"), [(0, 6), (1, 12), (255, 12)])
def test_halting_waits_until_the_tokens_have_stayed(server, patience, steps):
    """The stand-in's never do."""
    body = f.run_body(f.RUN_BEGIN | f.RUN_HALT, 12, 1, 0, 0, zlib.crc32(CELLS), 0.0, patience)
    *events, last = server.send(f.RUN, body)
    result = f.parse_result(last.body)
    assert (result.steps, result.halted) == (steps, steps < 12)
    tokens = [f.parse_step(e.body).tokens_crc for e in events]
    assert all(a != b for a, b in zip(tokens, tokens[1:]))


# -- answers --------------------------------------------------------------------------------------------------------------


UNSURE = Policy(3, 2, 2, threshold=99.0)


def solve(server, policy=UNSURE, puzzle=0, crc=None, **changed):
    body = bytearray(f.solve_body(policy, puzzle, zlib.crc32(CELLS) if crc is None else crc))
    for offset, value in changed.items():
        struct.pack_into("<H", body, int(offset[2:]), value)
    return server.ask(f.SOLVE, bytes(body))


def test_solve_asks_again_and_tells_which_run_a_step_is_of(server):
    *events, last = server.send(f.SOLVE, f.solve_body(Policy(3, 5, 2, threshold=99.0), 1, zlib.crc32(CELLS)))
    told = [f.parse_step(e.body) for e in events]
    assert [(e.step, e.run) for e in told] == [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 2), (7, 2)]
    result = f.parse_solve(last.body)
    assert (result.status, result.solved, result.total_steps, result.restarts) == (OK, False, 7, 2)
    assert result.ticks == sum(e.ticks for e in told) and result.answer_crc == zlib.crc32(server.read(ANSWER, 0, 16)[8:])
    assert server.read(TOKENS, 0, 16) != server.read(ANSWER, 0, 16)
    asked = dummy.FORMS[1].present(np.frombuffer(CELLS, np.uint8))
    assert server.read(INPUT, 0, 16)[8:] == asked.tobytes()


def test_solve_ends_where_a_run_halts(server):
    result = f.parse_solve(solve(server, Policy(8, 2, 8, threshold=0.0, patience=0)))
    assert (result.solved, result.total_steps, result.restarts, result.run, result.margin) == (True, 6, 0, 0, 0.5)
    assert server.read(TOKENS, 0, 16) == server.read(ANSWER, 0, 16)


def noisy_run(server, steps=2, at="step", run=1, flags=f.RUN_BEGIN, **changed):
    body = bytearray(f.run_body(flags, steps, 0, 0, 0, zlib.crc32(CELLS), 0.0, stir=(Noise(0.5, at, 3), run)))
    for offset, value in changed.items():
        struct.pack_into("<B" if isinstance(value, int) else "<f", body, int(offset[2:]), value)
    return server.send(f.RUN, bytes(body))


def test_a_run_with_noise_is_that_of_an_answer(server):
    """Step by step, and with the noise that comes next at its end, from where TRACE goes on."""
    for at in ("start", "step"):
        policy = Policy(1, 1, 3, threshold=99.0, noise=0.5, noise_at=at, seed=3)
        *events, _ = server.send(f.SOLVE, f.solve_body(policy, 0, zlib.crc32(CELLS)))
        wanted = [f.parse_step(e.body) for e in events if f.parse_step(e.body).run == 1]
        asked = dummy.FORMS[0].present(np.frombuffer(CELLS, np.uint8)).tobytes()
        server.load(asked)
        told = []
        for steps in (3, 2, 1):
            body = f.run_body(f.RUN_BEGIN, steps, 0, 0, 0, zlib.crc32(asked), 0.0, stir=(Noise(0.5, at, 3), 1))
            *events, _ = server.send(f.RUN, body)
            told.append([f.parse_step(e.body).carry_crc for e in events])
        assert told == [[e.carry_crc for e in wanted][:n] for n in (3, 2, 1)]
        assert f.parse_trace(server.trace(2, 1)).carry_crc == wanted[1].carry_crc
        server.load(CELLS)


def test_noise_that_is_none_is_refused(server):
    assert f.parse_result(noisy_run(server)[-1].body).total_steps == 2
    for changed in (
        {"flags": 0}, {"run": 0}, {"at24": 2}, {"at25": 1}, {"at20": -1.0}, {"at20": float("nan")}, {"at20": float("inf")},
    ):  # fmt: skip
        (refused,) = noisy_run(server, **changed)
        assert refused.type == f.NAK and refused.body[0] == ARGUMENT, changed
    policy = Policy(2, 1, 2, noise=0.5)
    assert solve(server, policy, at26=1) == ARGUMENT and isinstance(solve(server, policy), bytes)
    body = f.solve_body(policy, 0, zlib.crc32(CELLS))
    assert server.ask(f.SOLVE, body[:24]) == server.ask(f.SOLVE, body + b"\0") == ARGUMENT


def test_what_solve_refuses(server):
    assert solve(server, crc=1) == ARGUMENT and solve(server, puzzle=3) == PUZZLE
    assert solve(server, Policy(13)) == solve(server, Policy(2, 1, 13)) == STEPS
    assert solve(server, at2=0) == solve(server, at4=0) == solve(server, at0=3) == ARGUMENT
    body = bytearray(f.solve_body(Policy(2), 0, zlib.crc32(CELLS)))
    for value in (float("nan"), float("inf"), float("-inf")):
        struct.pack_into("<f", body, 16, value)
        assert server.ask(f.SOLVE, bytes(body)) == ARGUMENT
    server.load(b"\6", 3)
    assert solve(server, crc=zlib.crc32(CELLS[:3] + b"\6" + CELLS[4:])) == TOKEN
    assert server.read(ANSWER) in (ARGUMENT, STATE)


def test_an_answer_goes_when_the_model_goes_on(server):
    for goes in (lambda: server.run(), lambda: server.trace(3, 1), lambda: server.ask(f.SELFTEST, bytes(16))):
        assert isinstance(solve(server, Policy(2)), bytes) and isinstance(server.read(ANSWER), bytes)
        assert solve(server, crc=1) == ARGUMENT and isinstance(server.read(ANSWER), bytes), "a refusal changes nothing"
        assert isinstance(goes(), bytes)
        assert server.read(ANSWER) in (ARGUMENT, STATE)


def test_solve_needs_a_good_image_and_a_row(libraries):
    bad = Server(libraries["plain"], dummy.image_bytes(good=False))
    bad.load()
    assert solve(bad) == IMAGE_CRC
    streamed = Server(libraries["table"])
    streamed.load()
    assert solve(streamed) == ROW
    streamed.send_row(1)
    assert solve(streamed, puzzle=1) != ROW and solve(streamed, puzzle=0) == ROW, "only the row that was sent"


# -- read-back ------------------------------------------------------------------------------------------------------------


def test_nothing_is_read_before_a_puzzle_has_begun(server):
    assert [server.read(tensor) for tensor in SIZES] == [STATE] * len(SIZES)


@pytest.mark.parametrize("tensor", SIZES)
def test_read_gives_bytes_of_the_tensor_and_no_others(server, tensor):
    server.run(3)
    size = SIZES[tensor]
    whole = server.read(tensor, 0, size)
    assert struct.unpack("<II", whole[:8]) == (0, size) and len(whole) == 8 + size
    for offset, n in ((0, 0), (size, 0), (size - 1, 1), (1, size - 1), (3, 4)):
        assert server.read(tensor, offset, n) == struct.pack("<II", offset, size) + whole[8 + offset : 8 + offset + n]
    for offset, n in ((0, size + 1), (1, size), (size - 1, 2), (size, 1), (size + 1, 0), (size + 1, 1), (size // 2, size),
                      (0xFFFFFFFF, 0), (0xFFFFFFFF, 1), (0xFFFFFFFF, 2), (0, 0xFFFF), (4, 1016), (0, 1017)):  # fmt: skip
        assert server.read(tensor, offset, n) == ARGUMENT, (offset, n)


def test_tensors_that_there_are_not(server):
    server.run()
    for tensor in (9, 10, 100, 255):
        assert server.read(tensor, 0, 0) == ARGUMENT


# -- rows -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(libraries):
    made = Server(libraries["table"])
    made.load()
    return made


def test_a_row_is_needed_and_of_the_puzzle_that_is_run(rows):
    assert rows.run() == ROW
    rows.send_row(1)
    assert rows.run() == ROW and isinstance(rows.run(puzzle=1), bytes)
    assert isinstance(rows.run(puzzle=1), bytes), "the row stays"


def test_a_record_is_never_left(rows):
    size = RECORDS.record_bytes
    assert rows.ask(f.ROW, f.row_body(0, 0, b"")) == ARGUMENT
    for length in (0, 1, 5):
        assert rows.ask(f.ROW, bytes(length)) == ARGUMENT
    for offset, n in ((size, 1), (size - 1, 2), (size + 1, 1), (0xFFFF, 1), (size - 1017, 1018)):
        assert rows.row(offset, bytes(n)) == ARGUMENT, (offset, n)


def test_only_the_last_piece_makes_a_row_whole(rows):
    record = RECORDS.record(2)
    for at in range(0, len(record), 1000):
        piece = record[at : at + 1000]
        got, whole = f.parse_row(rows.row(at, piece, 2))
        assert (got, whole) == (at + len(piece), at + len(piece) == len(record))


def test_a_row_on_its_way_in_ends_the_puzzle_under_way(rows):
    rows.send_row()
    assert isinstance(rows.run(2), bytes) and isinstance(rows.read(Q), bytes)
    assert isinstance(rows.row(0, RECORDS.record(0)[:8]), bytes)
    assert rows.read(Q) == STATE and rows.run(flags=0, at=2) == STATE and rows.trace(3, 0) == STATE


# -- op by op -------------------------------------------------------------------------------------------------------------


def test_trace_goes_forward_only_and_within_the_schedule(server):
    last = 1  # the stand-in's step is one op
    assert server.trace(1, 0) == STATE, "nothing was begun"
    server.run(0)
    for step, ops in ((0, 0), (0, last), (1, last + 1), (1, 0xFFFF), (dummy.STEPS + 1, 0)):
        assert isinstance(server.trace(step, ops), int), (step, ops)
    assert server.trace(2, 0) == server.trace(3, last) == STATE, "it is another step's turn"
    event = f.parse_trace(server.trace(1, 0))
    assert (event.step, event.ops, event.of) == (1, 0, last)
    done = f.parse_trace(server.trace(1, last))
    assert done.carry_crc != event.carry_crc
    again = f.parse_trace(server.trace(1, last))
    assert (again.carry_crc, again.step) == (done.carry_crc, 1), "a reply that was lost is told again, and nothing is run"
    assert server.trace(1, 0) == STATE and server.trace(3, 0) == STATE
    for step in range(2, dummy.STEPS + 1):
        assert f.parse_trace(server.trace(step, last)).step == step
    assert isinstance(server.trace(dummy.STEPS + 1, last), int)


# -- endings --------------------------------------------------------------------------------------------------------------


def test_reset_and_exit_are_answered_first(libraries):
    for kind, body in ((f.RESET, b""), (f.EXIT, bytes(4))):
        server = Server(libraries["plain"])
        data = f.encode(f.Frame(kind, 5, body))
        assert server.library.dummy_take(data, len(data)) == 1
        (found,) = server.said()
        assert (found.type, found.seq, found.body) == (kind | f.REPLY, 5, b"")
