"""Panels: 16 channels side by side, for computers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurc.storage.packings.packing import Floats, Groups, Integers, Packing, up

PANEL = 16
MIDDLE = 128  # int8 is stored as q + 128


def _quads(q: np.ndarray, depth: int) -> bytes:
    n, k = q.shape
    full = np.zeros((up(n, PANEL), depth), dtype=np.uint8)  # what is padding stays zero
    full[:n, :k] = q
    return np.ascontiguousarray(full.reshape(-1, PANEL, depth // 4, 4).swapaxes(1, 2)).tobytes()


def _of_quads(data: bytes, depth: int) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, depth // 4, PANEL, 4).swapaxes(1, 2).reshape(-1, depth).astype(np.int16)


class PanelFloats(Floats):
    """fp32: [k][16]."""

    def channels(self, n: int) -> int:
        return up(n, PANEL)

    def pack(self, values: np.ndarray) -> bytes:
        full = np.zeros((up(len(values), PANEL), values.shape[1]), dtype="<f4")
        full[: len(values)] = values
        return np.ascontiguousarray(full.reshape(-1, PANEL, values.shape[1]).swapaxes(1, 2)).tobytes()

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        return np.frombuffer(data, "<f4").reshape(-1, k, PANEL).swapaxes(1, 2).reshape(-1, k)[:n].astype(np.float32)


@dataclass(frozen=True)
class PanelIntegers(Integers):
    """Unsigned bytes whatever the width, [k/4][16][4]; int8 as q + 128 with zero point 128."""

    def tile_bytes(self, k: int) -> int:
        return self.packing.tile * self.packing.padded(k)

    def channels(self, n: int) -> int:
        return up(n, PANEL)

    @property
    def zeros_stored(self) -> bool:
        return True

    def zeros(self, zero: np.ndarray) -> np.ndarray:
        return np.full(len(zero), MIDDLE, np.uint8) if self.bits == 8 else zero.astype(np.uint8)

    def pack(self, values: np.ndarray) -> bytes:
        return _quads(values + (MIDDLE if self.bits == 8 else 0), self.packing.padded(values.shape[1]))

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        return _of_quads(data, self.packing.padded(k))[:n, :k] - np.int16(MIDDLE if self.bits == 8 else 0)


class PanelGroups(Groups):
    """As integers, of q + 8."""

    def tile_bytes(self, k: int) -> int:
        return self.packing.tile * self.packing.padded(k)

    def pack(self, values: np.ndarray) -> bytes:
        return _quads(values + 8, self.packing.padded(values.shape[1]))

    def unpack(self, data: bytes, n: int, k: int) -> np.ndarray:
        return _of_quads(data, self.packing.padded(k))[:n, :k] - np.int16(8)


@dataclass(frozen=True)
class Panels(Packing):
    """Panels of 16 channels. A tile is up to four panels, one after the other; channels are padded to whole panels only."""

    floats = PanelFloats
    integers = PanelIntegers
    groups = PanelGroups

    lanes: int = PANEL


PANELS = Panels(2, 64)
