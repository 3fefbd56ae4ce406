"""Tables larger than what memory should hold: import, inspection and conversion stay flat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recurc.build.tablefile import TableFile
from recurc.models import pages
from tests.tables import builder

ROWS = 153_600  # x 512 fp32: 300 MiB
GROWTH_MIB = 96
LINUX = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc/self/smaps")

CONVERT = """
from recurc.models.checkpoint import load
from recurc.quant.tables import PuzzleTable
from recurc.build.tablefile import TableFile
{warm}
start()
reasoner = load({source!r})
for storage in ("fp32", "int8"):
    table = PuzzleTable(reasoner.tensors["puzzle_emb.weights"], 2.0, storage, bytes(16))
    table.write({out!r} + storage)
    with TableFile({out!r} + storage, table.header) as file:
        file.verify()
"""


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    return builder.sparse_checkpoint(tmp_path_factory.mktemp("f32"), ROWS)


def converted(source: Path, tmp_path: Path, warm: str = "") -> int:
    """MiB that loading and converting to both storages added; the files' values are checked."""
    before, after = builder.peak_mib(CONVERT.format(source=str(source), out=str(tmp_path / "t."), warm=warm))
    for storage in ("fp32", "int8"):
        with TableFile(tmp_path / f"t.{storage}") as file:
            assert file.rows == ROWS
            for row in (0, ROWS // 2, ROWS - 1):
                got = file.row(row)
                assert got[0] == pytest.approx(2 * (row + 1), rel=0.01) and not got[1:].any()
            assert not file.row(5).any()
        (tmp_path / f"t.{storage}").unlink()
    return after - before


@LINUX
def test_a_large_safetensors_table_is_converted_in_flat_memory(sparse, tmp_path):
    assert converted(sparse, tmp_path) < GROWTH_MIB


@LINUX
def test_a_large_bf16_table_is_widened_in_flat_memory(tmp_path):
    assert converted(builder.sparse_checkpoint(tmp_path, ROWS, "BF16"), tmp_path) < GROWTH_MIB


@LINUX
def test_a_large_table_in_a_torch_file_stays_mapped(tmp_path):
    file = builder.torch_checkpoint(tmp_path, ROWS, torch.bfloat16)
    small = builder.write_checkpoint(tmp_path / "small", builder.MODEL, builder.state_dict(builder.MODEL))
    warm = f"load({str(small)!r})"  # torch itself takes 200 MiB
    assert converted(file, tmp_path, warm) < GROWTH_MIB


@LINUX
def test_inspect_stays_flat_and_tells_the_tables_size(sparse):
    code = (
        f"import contextlib, io, recurc.cli.main as m\nstart()\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    m.main(['inspect', '--json', {str(sparse)!r}])"
    )
    before, after = builder.peak_mib(code)
    assert after - before < GROWTH_MIB
    done = subprocess.run([sys.executable, "-m", "recurc", "inspect", str(sparse)], capture_output=True, text=True)
    assert "153,600 x 512, 300.00 MiB fp32" in done.stdout
    done = subprocess.run([sys.executable, "-m", "recurc", "inspect", "--json", str(sparse)], capture_output=True)
    assert json.loads(done.stdout)["puzzle_table_bytes"] == 300 << 20


@LINUX
def test_convert_stays_flat(sparse, tmp_path):
    code = f"from recurc.models.checkpoint import load, save\nstart()\nsave(load({str(sparse)!r}), {str(tmp_path / 'out')!r})"
    before, after = builder.peak_mib(code)
    assert after - before < GROWTH_MIB


# -- giving pages back ------------------------------------------------------------------------------------------------


def resident_kib(array: np.ndarray) -> int:
    """KiB of an array's mapping that count as this process's memory."""
    at, inside, total = array.__array_interface__["data"][0], False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            start, end = (int(x, 16) for x in first.split("-"))
            inside = start <= at < end
        elif inside and first == "Rss:":
            total += int(line.split()[1])
    return total


def mapped(tmp_path: Path, mode: str) -> np.memmap:
    np.arange(4 << 20, dtype=np.float32).tofile(tmp_path / "data")
    return np.memmap(tmp_path / "data", np.float32, mode)


@LINUX
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_pages_of_a_file_are_given_back(tmp_path, mode):
    array = mapped(tmp_path, mode)
    total = sum(float(part.sum(dtype=np.float64)) for _, part in pages.pieces(array))
    assert total == array.size * (array.size - 1) / 2 and resident_kib(array) < 1024


@LINUX
def test_what_was_written_is_kept(tmp_path):
    shared = mapped(tmp_path, "r+")
    drop = pages.dropper(shared)
    shared[:] = 7.0
    drop(shared)
    assert (shared == 7.0).all()


@LINUX
def test_a_private_copy_is_never_dropped(tmp_path):
    private = mapped(tmp_path, "c")
    private[5] = -1.0  # stands in no file
    for _ in pages.pieces(private):
        pass
    assert private[5] == -1.0


def test_memory_without_a_file_is_left_alone():
    array = np.arange(4 << 20, dtype=np.float32)
    assert sum(part.size for _, part in pages.pieces(array)) == array.size
    assert array[-1] == array.size - 1 and array[12345] == 12345


def test_without_proc_nothing_is_dropped_and_nothing_fails(tmp_path, monkeypatch):
    array = mapped(tmp_path, "r")
    monkeypatch.setattr(pages, "_mappings", lambda: iter(()))
    assert sum(float(part[0]) for _, part in pages.pieces(array)) > 0


def test_pieces_cover_rows_in_order_and_empty_arrays_have_none():
    array = np.arange(30).reshape(10, 3)
    found = list(pages.pieces(array, 9))
    assert [begin for begin, _ in found] == [0, 3, 6, 9]
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), array)
    assert list(pages.pieces(np.zeros((0, 3)))) == []
