"""A line that loses and changes what is said on it."""

from __future__ import annotations


class BadLine:
    """A transport that damages or drops chosen writes and reads (counted from 0)."""

    def __init__(self, inner, write=None, read=None) -> None:
        self.inner, self.description = inner, inner.description
        self._write, self._read = write or {}, read or {}
        self.writes = self.reads = 0

    def write(self, data: bytes) -> None:
        change = self._write.get(self.writes)
        self.writes += 1
        self.inner.write(change(data) if change else data)

    def read(self, timeout: float) -> bytes:
        data = self.inner.read(timeout)
        if data:
            change = self._read.get(self.reads)
            self.reads += 1
            data = change(data) if change else data
        return data

    def close(self) -> None:
        self.inner.close()


def drop(data: bytes) -> bytes:
    return b""


def flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 0x10 or 1]) + data[at + 1 :]
