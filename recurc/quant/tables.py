"""Puzzle embeddings that stay out of the image: fp32 or int8 rows, one of which is fetched for each puzzle.

A table of gigabytes is converted in pieces; memory stays flat (recurc/models/pages.py).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurc.errors import InputError
from recurc.files import whole_file
from recurc.models.pages import CHUNK, pieces
from recurc.quant.arith import quantize_rows
from recurc.quant.tableformat import CRC_BYTES, MAX_RECORD, STORAGES, TableHeader
from recurc.storage.image import KEY_BYTES

_LARGEST_SCALE = np.float32(np.finfo(np.float32).max / np.float32(128.0))


def table_key(checkpoint_sha256: str, storage: str, factor: float) -> bytes:
    """Key of a table: a record of another checkpoint, storage or factor is refused by the device. 16 bytes."""
    text = bytes.fromhex(checkpoint_sha256) + storage.encode() + struct.pack("<d", factor)
    return hashlib.sha256(text).digest()[:KEY_BYTES]


@dataclass(frozen=True)
class PuzzleTable:
    """A table of puzzle embeddings in the form in which a device gets its rows.

    source: [N, dim] floats, a memory map where it is large. factor: what rows are multiplied by (the embedding scale).
    storage: "fp32" or "int8". key: 16 bytes, see `table_key`.

    Raises:
        InputError: no rows, or rows that are too long for the wire.
    """

    source: np.ndarray
    factor: float
    storage: str
    key: bytes

    def __post_init__(self) -> None:
        if self.storage not in STORAGES or len(self.key) != KEY_BYTES or self.source.ndim != 2:
            raise ValueError(f"storage {self.storage!r}, key of {len(self.key)} bytes, {self.source.ndim} axes")
        if not self.source.size or self.record_bytes > MAX_RECORD or self.rows > 0xFFFFFFFF:
            raise InputError(
                "the puzzle table cannot be streamed", where="puzzle_emb.weights",
                why=f"it is {self.rows:,} x {self.dim:,}, a record would have {self.record_bytes:,} of at most "
                    f"{MAX_RECORD:,} bytes",
                next="Keep it in the image, or store int8 rows",
            )  # fmt: skip

    @property
    def rows(self) -> int:
        return int(self.source.shape[0])

    @property
    def dim(self) -> int:
        return int(self.source.shape[1])

    @property
    def header(self) -> TableHeader:
        return TableHeader(self.storage, self.rows, self.dim, self.key)

    @property
    def record_bytes(self) -> int:
        """Bytes of one record, CRC included."""
        return self.header.record_bytes

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole table file."""
        return self.header.file_bytes

    def values(self, ids: np.ndarray) -> np.ndarray:
        """The rows of some puzzles as the device will have them: float32 [n, dim].

        Args:
            ids: puzzle identifiers, integers [n].

        Raises:
            InputError: an identifier that is not in the table; a row with a value that has no finite stored form.
        """
        index = check_ids(ids, self.rows, "the puzzle table")
        found = np.empty((len(index), self.dim), np.float32)
        step = max(1, CHUNK // self.dim)
        for begin in range(0, len(index), step):
            part = index[begin : begin + step]
            stored, scale = self._stored(self.source[part], part)
            found[begin : begin + step] = stored if scale is None else stored.astype(np.float32) * scale[:, None]
        return found

    def record(self, index: int) -> bytes:
        """One puzzle's record, as it stands in the file and goes over the wire.

        Raises:
            InputError: as for `values`.
        """
        (at,) = check_ids(np.array([index]), self.rows, "the puzzle table")
        return self._records(self.source[at : at + 1], int(at)).tobytes()

    def write(self, path: Path | str, progress: Callable[[int], object] | None = None) -> None:
        """Write the table file, whole or not at all.

        Args:
            progress: called with the number of rows written since the last call.

        Raises:
            InputError: the file cannot be written, or a row has a value that has no finite stored form.
        """
        next = f"It takes {self.file_bytes:,} bytes: choose another folder or make room"
        with whole_file(path, "the table file", next) as file:
            file.write(self.header.pack())
            for records in self._all_records():
                file.write(records.data)
                if progress is not None:
                    progress(len(records))

    def _all_records(self) -> Iterator[np.ndarray]:
        for begin, rows in pieces(self.source):
            yield self._records(rows, begin)

    def _stored(self, rows: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(fp32 rows, None), or (int8 rows, fp32 scale a row), of rows of the source; `index` names them in errors."""
        with np.errstate(over="ignore", invalid="ignore"):
            # One product in binary64, rounded once, as for tables in the image.
            scaled = (np.asarray(rows, np.float64) * self.factor).astype(np.float32)
        finite = np.isfinite(scaled).all(axis=1)
        if not finite.all():
            raise self._not_finite(int(index[np.argmin(finite)]))
        if self.storage == "fp32":
            return scaled, None
        quantized = quantize_rows(scaled)
        if quantized.a.max() > _LARGEST_SCALE:
            raise self._not_finite(int(index[np.argmax(quantized.a)]))
        return quantized.q.astype(np.int8), quantized.a

    def _not_finite(self, row: int) -> InputError:
        return InputError(
            "a puzzle's row cannot be stored", where=f"puzzle_emb.weights[{row}]",
            why=f"a value is not finite, or not within {self.storage}'s range, after scaling by {self.factor:g}",
            next="Use an earlier checkpoint of the training run",
        )  # fmt: skip

    def _records(self, rows: np.ndarray, first: int) -> np.ndarray:
        """Records of consecutive rows, uint8 [n, record_bytes]; `first` is the index of the first."""
        stored, scale = self._stored(rows, np.arange(first, first + len(rows)))
        header = self.header
        out = np.zeros((len(rows), header.record_bytes), np.uint8)
        at = 0
        if scale is not None:
            out[:, :4] = scale.astype("<f4")[:, None].view(np.uint8)
            at = 4
        data = np.ascontiguousarray(stored, "<f4" if scale is None else "i1").view(np.uint8)
        out[:, at : at + data.shape[1]] = data
        body = out[:, :-CRC_BYTES]
        crcs = [header.crc(first + i, row.data) for i, row in enumerate(body)]
        out[:, -CRC_BYTES:] = np.array(crcs, "<u4")[:, None].view(np.uint8)
        return out


def check_ids(ids: np.ndarray, rows: int, where: str) -> np.ndarray:
    """Puzzle identifiers as int64 [n].

    Raises:
        InputError: one is not in a table of `rows` rows; names it.
    """
    index = np.asarray(ids)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise ValueError(f"identifiers are integers [n], not {index.dtype} {index.shape}")
    wrong = (index < 0) | (index >= rows)
    if wrong.any():
        raise InputError(
            f"puzzle {int(index[np.argmax(wrong)])} is not in the table", where=where,
            why=f"it has {rows:,} rows, for puzzles 0 to {rows - 1:,}",
            next="Use the dataset that the model was trained with",
        )  # fmt: skip
    return index.astype(np.int64)
