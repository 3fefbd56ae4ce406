"""First divergence: one puzzle again on device and host, op by op, until they differ."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from recurc.device import frames as f
from recurc.device.session import DeviceSession
from recurc.evaluate.stepping import Stepped, walk
from recurc.noise import Stir
from recurc.verify.places import Place
from recurc.verify.result import Difference


class TracedEngine(Stepped, Protocol):
    """The host's side (recurc.targets.host.HostEngine)."""

    @property
    def ops(self) -> int: ...

    def run_ops(self, ops: int) -> None: ...

    def tensor(self, name: str) -> np.ndarray: ...

    def carry_bytes(self) -> bytes: ...

    def raw(self, name: str) -> bytes: ...


def first_element(host: np.ndarray, device: np.ndarray) -> tuple[tuple[int, ...], Any, Any, int] | None:
    """First element whose bits differ, of arrays of one shape: (index, host's, device's, how many differ); None: none."""
    raw = [np.frombuffer(np.ascontiguousarray(a).tobytes(), np.uint8).reshape(a.size, a.itemsize) for a in (host, device)]
    differs = (raw[0] != raw[1]).any(axis=1)
    if not differs.any():
        return None
    flat = int(np.argmax(differs))
    place = tuple(int(i) for i in np.unravel_index(flat, host.shape))
    return place, host.reshape(-1)[flat].item(), device.reshape(-1)[flat].item(), int(differs.sum())


def compare_tensors(
    engine: TracedEngine, session: DeviceSession, puzzle: int, step: int, names: Sequence[str], place: Place | None = None
) -> Difference | None:
    """First differing element of the last step's tensors, read back from the device; None when all bits are equal."""
    for name in names:
        host, device = np.ascontiguousarray(engine.tensor(name)), session.read_tensor(name)
        if device.nbytes != host.nbytes:
            return Difference(puzzle, step, name + " size", None, host.nbytes, device.nbytes, place)
        if found := first_element(host, device.reshape(host.shape)):
            return Difference(puzzle, step, name, *found[:3], place, found[3], host.size)
    return None


def _no_op(puzzle: int, step: int, op: int) -> None:
    """Default of `on_op`."""


class Tracer:
    """Finds the op after which device and host first differ.

    Args:
        places: names of a step's ops, element i of op i (`step_places`); without them ops have only numbers.
        on_op: called with puzzle, step and number of each op that has been compared.
    """

    def __init__(
        self,
        session: DeviceSession,
        engine: TracedEngine,
        places: Sequence[Place] = (),
        on_op: Callable[[int, int, int], None] = _no_op,
    ) -> None:
        self.session, self.engine, self.places, self.on_op = session, engine, places, on_op

    def _place(self, ops: int) -> Place:
        count = self.engine.ops
        if len(self.places) == count + 1:
            return self.places[ops]
        return Place(ops, count, "heads" if ops == count else "op" if ops else "begin", "z_H")

    def locate(self, tokens: np.ndarray, puzzle_id: int, found: Difference, stir: Stir | None = None) -> Difference:
        """Run the puzzle once more, the step of `found` op by op; the input row is still loaded on the device.

        stir: noise that its run has; what that leaves is compared before the first op.

        Returns:
            The difference down to op and element; `found` with `reproduced` False when all bits are equal this time.

        Raises:
            DeviceUnreachableError: the device stopped answering.
        """
        session, engine = self.session, self.engine
        for _ in session.run(found.step - 1, begin=True, puzzle=puzzle_id, stir=stir):
            pass
        for _ in walk(engine, tokens, puzzle_id, found.step - 1, stir):
            pass
        if stir is not None:
            engine.add_noise(*stir)
        for ops in range(engine.ops + 1):
            event = session.trace(found.step, ops)
            if event.of != engine.ops:
                return Difference(found.puzzle, found.step, "number of ops", None, engine.ops, event.of, run=found.run)
            engine.run_ops(ops)
            if event.carry_crc != zlib.crc32(engine.carry_bytes()):
                element = self._element(found, ops)
                return replace(element, run=found.run) if element else replace(found, place=self._place(ops))
            self.on_op(found.puzzle, found.step, ops)
        heads = compare_tensors(engine, session, found.puzzle, found.step, ("logits", "q", "tokens"), self._place(engine.ops))
        return replace(heads, run=found.run) if heads else replace(found, reproduced=False)

    def _element(self, found: Difference, ops: int) -> Difference | None:
        """First differing element of the carry, of the tensor that the op works on if it is there."""
        place, sent = self._place(ops), self.session.read_carry(bool(self.engine.raw("columns")))
        for name in sorted(f.CARRY_SCALES, key=lambda n: n != place.tensor):
            mixed = bool(self.engine.raw("columns")) and name == place.tensor
            scales = "columns" if mixed else f.CARRY_SCALES[name]
            sides = (self.engine.raw(name), self.engine.raw(scales)), (sent[name], sent.get(scales, b""))
            values = [self._values(*side, mixed) for side in sides]
            if hit := first_element(*values):
                return Difference(found.puzzle, found.step, name, *hit[:3], place, hit[3], values[0].size)
            pairs = [np.frombuffer(side[1], "<f4") for side in sides]
            if hit := first_element(*pairs):  # of a row of zeros
                what = f"{name} scale of {'channel' if mixed else 'row'}"
                return Difference(found.puzzle, found.step, what, *hit[:3], place, hit[3], pairs[0].size)
        return None

    def _values(self, stored: bytes, scales: bytes, mixed: bool) -> np.ndarray:
        info = self.session.info or self.session.hello()
        return f.decode_carry(info.carry, stored, scales, mixed).reshape(info.rows, info.hidden)
