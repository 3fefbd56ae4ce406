"""Reading a puzzle table file, row by row; nothing of it stays in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recurc.errors import InputError
from recurc.quant.tableformat import HEADER, TableError, TableHeader, decode_record, unpack_header
from recurc.quant.tables import check_ids
from recurc.reading import Unreadable, open_regular

_CHUNK = 4 << 20  # bytes that `verify` reads at a time


class TableFile:
    """An open table file. A context manager; safe to read from several threads.

    Args:
        path: the file that `PuzzleTable.write` wrote.
        expected: header that the table must have (a `PuzzleTable.header`, or one made of a build's manifest).

    Raises:
        InputError: it cannot be read, is no table, truncated or damaged, or belongs to another model.
    """

    def __init__(self, path: Path | str, expected: TableHeader | None = None) -> None:
        self.path = Path(path)
        try:
            self._file = open_regular(self.path)
        except Unreadable as error:
            raise self._bad(str(error)) from None
        try:
            self.header = self._read_header()
            if expected is not None and self.header != expected:
                raise self._other(expected)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def rows(self) -> int:
        return self.header.rows

    @property
    def dim(self) -> int:
        return self.header.dim

    @property
    def storage(self) -> str:
        return self.header.storage

    @property
    def key(self) -> bytes:
        return self.header.key

    @property
    def record_bytes(self) -> int:
        return self.header.record_bytes

    def record(self, index: int) -> bytes:
        """A puzzle's record as it stands in the file; the device checks it.

        Raises:
            InputError: the puzzle is not in the table, or the file became shorter.
        """
        (at,) = check_ids(np.array([index]), self.rows, str(self.path))
        return self._read(HEADER.size + int(at) * self.record_bytes, self.record_bytes)

    def row(self, index: int) -> np.ndarray:
        """A puzzle's row, float32 [dim], as the device decodes it.

        Raises:
            InputError: as for `record`, or the record is corrupt.
        """
        record = self.record(index)
        try:
            return decode_record(self.header, int(index), record)
        except TableError as error:
            raise self._corrupt(int(index), 1, str(error)) from None

    def verify(self, progress: Callable[[int], object] | None = None) -> None:
        """Check every record.

        Args:
            progress: called with the number of records checked since the last call.

        Raises:
            InputError: names the first corrupt record and how many there are.
        """
        size, first, why, count = self.record_bytes, -1, "", 0
        step = max(1, _CHUNK // size)
        for begin in range(0, self.rows, step):
            n = min(step, self.rows - begin)
            data = self._read(HEADER.size + begin * size, n * size)
            for i in range(n):
                try:
                    decode_record(self.header, begin + i, data[i * size : (i + 1) * size])
                except TableError as error:
                    first, why = (begin + i, str(error)) if not count else (first, why)
                    count += 1
            if progress is not None:
                progress(n)
        if count:
            raise self._corrupt(first, count, why)

    def _read_header(self) -> TableHeader:
        size = os.fstat(self._file.fileno()).st_size
        try:
            header = unpack_header(self._file.read(HEADER.size))
        except OSError as error:
            raise self._bad(error.strerror or str(error)) from None
        except TableError as error:
            raise self._bad(str(error)) from None
        if size != header.file_bytes:
            word = "truncated" if size < header.file_bytes else "too long"
            raise self._bad(f"it is {word}: {size:,} bytes where its header says {header.file_bytes:,}")
        return header

    def _read(self, offset: int, n: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), n, offset)
        except OSError as error:
            raise self._bad(error.strerror or str(error)) from None
        if len(data) != n:
            raise self._bad(f"it ends at byte {offset + len(data):,}: it was cut off while it was open")
        return data

    def _bad(self, why: str) -> InputError:
        return InputError("not a usable puzzle table", where=str(self.path), why=why,
                          next="Write the table again with recurc build")  # fmt: skip

    def _corrupt(self, index: int, count: int, why: str) -> InputError:
        more = f" ({count:,} records are corrupt)" if count > 1 else ""
        return InputError("the puzzle table is corrupt", where=f"{self.path}, puzzle {index}", why=why + more,
                          next="Write the table again with recurc build")  # fmt: skip

    def _other(self, expected: TableHeader) -> InputError:
        found = self.header
        if (found.storage, found.rows, found.dim) != (expected.storage, expected.rows, expected.dim):
            why = (
                f"it has {found.rows:,} x {found.dim} {found.storage} rows, the model takes {expected.rows:,} x "
                f"{expected.dim} {expected.storage}"
            )
        else:
            why = f"its key is {found.key.hex()}, the model's {expected.key.hex()}"
        return InputError("the puzzle table is of another model", where=str(self.path), why=why,
                          next="Use the table file that was written with this build")  # fmt: skip
