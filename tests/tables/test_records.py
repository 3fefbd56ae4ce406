"""Records and headers of the table file: C and Python give the same bits and refuse the same damage."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recurc.errors import InputError
from recurc.quant.arith import quantize_rows
from recurc.quant.tableformat import HEADER, TableError, TableHeader, decode_record, record_bytes, unpack_header
from recurc.quant.tables import PuzzleTable, table_key
from recurc.resources import resource_dir
from recurc.targets.toolchain import C_FLAGS, find_compiler
from tests.structs import TABLE_FIELDS
from tests.tables.builder import KEY, table
from tests.tools import need

OK, ARGUMENT, PUZZLE, TABLE, ROW = 0, 1, 12, 16, 17
NONE = 0xFFFFFFFF
STORAGES = ("fp32", "int8")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    need("host")
    runtime, out = resource_dir("runtime_c"), tmp_path_factory.mktemp("table") / "driver"
    here = __file__.rpartition("/")[0]
    sources = [f"{here}/driver.c", *(str(runtime / "image" / name) for name in ("rc_table.c", "rc_crc32.c"))]
    subprocess.run(
        [find_compiler("host"), *C_FLAGS, *SANITIZERS, f"-I{runtime / 'include'}", *sources, "-o", str(out)], check=True
    )
    return out


class Cases:
    """Calls to make in one run of the driver."""

    def __init__(self, driver) -> None:
        self.driver, self.stream, self.dims = driver, b"", []

    def add(
        self, kind: int, header: TableHeader, index: int, data: bytes, dtype: int | None = None, record: int | None = None
    ) -> None:
        dtype = STORAGES.index(header.storage) if dtype is None else dtype
        record = header.record_bytes if record is None else record
        self.stream += struct.pack("<7I", kind, header.rows, header.dim, dtype, record, index, len(data))
        self.stream += header.key + data
        self.dims.append(header.dim if kind == 1 else 0)

    def answers(self) -> list[tuple[int, bytes]]:
        done = subprocess.run([str(self.driver)], input=self.stream, capture_output=True, timeout=120)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()
        found, at = [], 0
        for dim in self.dims:
            (status,) = struct.unpack_from("<I", done.stdout, at)
            found.append((status, done.stdout[at + 4 : at + 4 + 4 * dim]))
            at += 4 + 4 * dim
        assert at == len(done.stdout)
        return found


def sealed(header: TableHeader, index: int, body: bytes) -> bytes:
    """A record with any content and the CRC that belongs to it."""
    return body + struct.pack("<I", header.crc(index, body))


def untouched(row: bytes) -> bool:
    return set(row) <= {0x5A}


# -- rows ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 64, 512])
def test_rows_are_bit_equal_in_c_and_python(driver, storage, dim):
    t, cases = table(storage, rows=9, dim=dim, seed=dim), Cases(driver)
    for i in range(t.rows):
        cases.add(1, t.header, i, t.record(i))
    values = t.values(np.arange(t.rows))
    for i, (status, row) in enumerate(cases.answers()):
        assert status == OK and row == values[i].tobytes() == decode_record(t.header, i, t.record(i)).tobytes()


def test_fp32_rows_are_those_of_a_table_in_the_image():
    t = table("fp32", dim=33, factor=22.627416997969522)
    expected = (t.source.astype(np.float64) * t.factor).astype(np.float32)
    assert t.values(np.arange(t.rows)).tobytes() == expected.tobytes()


def test_int8_rows_are_the_contracts_rows():
    t = table("int8", dim=33)
    rows = quantize_rows((t.source.astype(np.float64) * t.factor).astype(np.float32))
    expected = rows.q.astype(np.float32) * rows.a[:, None]
    assert t.values(np.arange(t.rows)).tobytes() == expected.tobytes()
    error = np.abs(t.values(np.arange(t.rows)) - t.source * np.float32(t.factor)).max(axis=1)
    assert (error <= rows.a * 0.51).all()


KEYS = st.binary(min_size=16, max_size=16)
SOURCES = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, -0.0, 1e-40, 2.0**-96, -(2.0**-97), 1.5]),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SOURCES, st.sampled_from(STORAGES), st.sampled_from([1.0, 22.627416997969522, 1e-30]), KEYS)
def test_any_row_survives_the_round_trip(driver, source, storage, factor, key):
    t, cases = PuzzleTable(source, factor, storage, key), Cases(driver)
    values = t.values(np.arange(t.rows))
    for i in range(t.rows):
        record = t.record(i)
        assert len(record) == t.record_bytes == record_bytes(storage, t.dim)
        assert decode_record(t.header, i, record).tobytes() == values[i].tobytes()
        cases.add(1, t.header, i, record)
    assert [row for status, row in cases.answers() if status == OK] == [v.tobytes() for v in values]


# -- damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_every_flipped_bit_is_found(driver, storage):
    t, cases = table(storage, dim=40), Cases(driver)
    good = t.record(3)
    for bit in range(8 * len(good)):
        bent = bytearray(good)
        bent[bit // 8] ^= 1 << bit % 8
        cases.add(1, t.header, 3, bytes(bent))
        with pytest.raises(TableError, match="CRC"):
            decode_record(t.header, 3, bytes(bent))
    answers = cases.answers()
    assert len(answers) == 8 * len(good)
    assert all(status == ROW and untouched(row) for status, row in answers)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(STORAGES), st.integers(1, 70))
def test_any_damage_of_up_to_32_bits_in_a_row_is_found(data, storage, dim):
    t = table(storage, dim=dim, seed=dim)
    record = int.from_bytes(t.record(2), "little")
    length = 8 * t.record_bytes
    burst = data.draw(st.integers(1, NONE)) << data.draw(st.integers(0, length - 1))
    bent = (record ^ burst) & (1 << length) - 1
    if bent != record:
        with pytest.raises(TableError):
            decode_record(t.header, 2, bent.to_bytes(t.record_bytes, "little"))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_record_of_another_puzzle_or_model_is_refused(driver, storage):
    t, cases = table(storage), Cases(driver)
    other = replace(t.header, key=bytes(16))
    wrong = [(t.header, 2, 3, ROW), (t.header, 0, 6, ROW), (other, 2, 2, ROW), (t.header, 2, 7, PUZZLE),
             (t.header, 2, NONE, PUZZLE)]  # fmt: skip
    for header, taken, told, _ in wrong:
        cases.add(1, header, told, t.record(taken))
        if told < t.rows:
            with pytest.raises(TableError, match="CRC"):
                decode_record(header, told, t.record(taken))
    assert [(status, untouched(row)) for status, row in cases.answers()] == [(s, True) for *_, s in wrong]


def test_rows_of_zeros_are_rows_and_silence_is_none(driver):
    """All zeros (erased or never written memory), all ones: no record, though a row of zeros is one."""
    for storage in STORAGES:
        t, cases = table(storage), Cases(driver)
        cases.add(1, t.header, 1, t.record(1))
        cases.add(1, t.header, 1, bytes(t.record_bytes))
        cases.add(1, t.header, 1, b"\xff" * t.record_bytes)
        (ok, row), *bad = cases.answers()
        assert ok == OK and not any(row)
        assert all(status == ROW and untouched(row) for status, row in bad)


BAD_SCALES = (np.nan, -np.nan, np.inf, -np.inf, -1.0, 3e38, -1e-40)


def test_scales_and_values_that_are_no_numbers_are_refused_even_with_a_good_crc(driver):
    cases, wanted = Cases(driver), []
    header = table("int8").header
    for scale in (*BAD_SCALES, 0.0, 1e-40, 2.0**120):
        record = sealed(header, 4, struct.pack("<f5b3x", scale, 1, -2, 127, -128, 0))
        cases.add(1, header, 4, record)
        good = scale not in BAD_SCALES and scale == scale
        wanted.append(OK if good else ROW)
        if good:
            expected = np.array([1, -2, 127, -128, 0], np.float32) * np.float32(scale)
            assert decode_record(header, 4, record).tobytes() == expected.tobytes()
        else:
            with pytest.raises(TableError, match="scale"):
                decode_record(header, 4, record)
    header = table("fp32").header
    for value in (np.nan, np.inf, -np.inf, 3.4e38, 0.0):
        record = sealed(header, 4, struct.pack("<5f", 1, 2, 3, 4, value))
        cases.add(1, header, 4, record)
        wanted.append(OK if np.isfinite(value) else ROW)
        if not np.isfinite(value):
            with pytest.raises(TableError, match="finite"):
                decode_record(header, 4, record)
    answers = cases.answers()
    assert [status for status, _ in answers] == wanted
    assert all(untouched(row) for status, row in answers if status == ROW)


# -- header -------------------------------------------------------------------------------------------------------------


def whole(t: PuzzleTable) -> bytes:
    return t.header.pack() + b"".join(t.record(i) for i in range(t.rows))


def resealed(data: bytes, at: int, fmt: str, *values) -> bytes:
    """The table with header fields changed and the header's CRC made right again."""
    bent = bytearray(data)
    struct.pack_into(fmt, bent, at, *values)
    struct.pack_into("<I", bent, 124, zlib.crc32(bytes(bent[:124])))
    return bytes(bent)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_mapped_table_is_found_good_and_its_records_are_where_they_are(driver, storage):
    t, cases = table(storage), Cases(driver)
    data = whole(t)
    assert len(data) == t.file_bytes
    cases.add(0, t.header, 0, data)
    cases.add(0, t.header, 0, data + bytes(1000))  # flash goes on behind the table
    for i in range(t.rows):
        cases.add(2, t.header, i, data)
    for i in (t.rows, NONE):
        cases.add(2, t.header, i, data)
    first, longer, *records, out, far = [status for status, _ in cases.answers()]
    assert (first, longer, out, far) == (OK, OK, NONE, NONE)
    assert records == [HEADER.size + i * t.record_bytes for i in range(t.rows)]
    for i, at in enumerate(records):
        assert data[at : at + t.record_bytes] == t.record(i)


def test_headers_that_are_refused(driver):
    t, cases = table("int8"), Cases(driver)
    data = whole(t)
    bad = {
        "magic": resealed(data, 0, "<4s", b"RCM1"), "endian": resealed(data, 4, "<I", 0x04030201),
        "version": resealed(data, 8, "<H", 2), "flags": resealed(data, 12, "<I", 1), "type": resealed(data, 16, "<I", 0),
        "unknown type": resealed(data, 16, "<I", 2), "rows": resealed(data, 20, "<I", 8),
        "dim": resealed(data, 24, "<I", 6), "record": resealed(data, 28, "<I", 20), "size": resealed(data, 32, "<Q", 999),
        "huge": resealed(data, 36, "<I", 1), "key": resealed(data, 40, "<I", 0), "truncated": data[:-1], "short": data[:127],
        "header only": data[:128], "empty": b"", "erased": b"\xff" * len(data), "zeros": bytes(len(data)),
    }  # fmt: skip
    bad |= {f"key byte {i}": resealed(data, 40 + i, "<B", data[40 + i] ^ 1) for i in range(16)}
    for bent in bad.values():
        cases.add(0, t.header, 0, bent)
    for bit in range(8 * HEADER.size):
        bent = bytearray(data)
        bent[bit // 8] ^= 1 << bit % 8
        cases.add(0, t.header, 0, bytes(bent))
        with pytest.raises(TableError):
            unpack_header(bytes(bent[: HEADER.size]))
    cases.add(0, t.header, 0, resealed(data, 10, "<H", 7))  # a minor version is no obstacle
    *answers, minor = [status for status, _ in cases.answers()]
    assert minor == OK and answers == [TABLE] * len(answers)
    assert unpack_header(resealed(data, 10, "<H", 7)) == t.header
    for name in ("magic", "endian", "version", "flags", "type", "unknown type", "rows", "record", "size", "huge",
                 "short", "empty", "erased", "zeros"):  # fmt: skip
        with pytest.raises(TableError):
            unpack_header(bad[name])


def test_specifications_that_make_no_sense_are_refused(driver):
    t, cases = table("int8"), Cases(driver)
    data = whole(t)
    for dtype, record, dim in ((2, None, 5), (1, 0, 5), (1, 12, 5), (0, None, 5), (1, None, 0)):
        header = replace(t.header, dim=dim)
        cases.add(0, header, 0, data, dtype, record)
        cases.add(1, header, 2, t.record(2), dtype, record)
    assert all(status == ARGUMENT and untouched(row) for status, row in cases.answers())


def test_a_table_larger_than_32_bits_has_its_size_in_the_header():
    header = TableHeader("fp32", 3_000_000, 512, KEY)
    assert unpack_header(header.pack()) == header and header.file_bytes > 1 << 32


def test_layout_equals_the_c_struct(tmp_path):
    need("host")
    source = tmp_path / "offsets.c"
    prints = "".join(f'printf("%zu\\n", offsetof(rc_table_header_t, {n}));' for n in TABLE_FIELDS)
    source.write_text(
        '#include <stddef.h>\n#include <stdio.h>\n#include "recurc/rc_table.h"\nint main(void) {'
        + prints
        + 'printf("%u\\n", RC_TABLE_MAGIC);return 0; }\n'
    )
    subprocess.run(
        [find_compiler("host"), f"-I{resource_dir('runtime_c') / 'include'}", str(source), "-o", str(tmp_path / "offsets")],
        check=True,
    )
    *told, magic = [int(x) for x in subprocess.check_output([str(tmp_path / "offsets")]).split()]
    assert told == [0, 4, 8, 10, 12, 16, 20, 24, 28, 32, 40, 56, 124]
    assert magic.to_bytes(4, "little") == b"RCT1"
    kinds = re.findall(r"(\d*)([sIHQx])", HEADER.format.lstrip("<"))
    assert sum({"I": 4, "H": 2, "Q": 8, "s": 1, "x": 1}[k] * int(n or 1) for n, k in kinds) == 128


# -- the table itself -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [-1, 7, 1 << 40])
def test_a_puzzle_that_is_not_in_the_table_is_named(index):
    t = table("fp32")
    for call in (lambda: t.record(index), lambda: t.values([0, index])):
        with pytest.raises(InputError, match=f"puzzle {index} is not in the table.*0 to 6") as e:
            call()
        assert e.value.exit_code == 3 and e.value.next


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_values_that_cannot_be_stored_are_refused_with_their_row(tmp_path, storage, value):
    t = table(storage)
    t.source[4, 2] = value
    for call in (lambda: t.record(4), lambda: t.values([4]), lambda: t.write(tmp_path / "t")):
        with pytest.raises(InputError, match=r"puzzle_emb.weights\[4\]"):
            call()
    assert t.values([3]).shape == (1, 5) and not list(tmp_path.iterdir())


def test_tables_that_cannot_be_streamed_are_refused():
    with pytest.raises(InputError, match="cannot be streamed.*65,540 of at most 65,535"):
        PuzzleTable(np.zeros((1, 16384), np.float32), 1.0, "fp32", KEY)
    PuzzleTable(np.zeros((1, 16384), np.float32), 1.0, "int8", KEY)
    with pytest.raises(InputError, match="cannot be streamed"):
        PuzzleTable(np.zeros((0, 4), np.float32), 1.0, "fp32", KEY)


def test_the_key_tells_checkpoint_storage_and_factor():
    keys = {table_key(sha * 32, storage, factor) for sha in ("00", "ab") for storage in STORAGES for factor in (1.0, 1.0000001)}
    assert len(keys) == 8 and {len(k) for k in keys} == {16}
