"""A model that says what a test has written down, around the device's procedure in C: tests/solve/script.c."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from recurc.solve import Policy
from recurc.symmetries import Symmetry
from recurc.targets.host import _Context
from recurc.targets.solving import Solving, _Policy, _Solver

SOURCE = Path(__file__).parent / "script.c"
STEPS = 8
OK, ARGUMENT, SECTION, STATE, STEPS_STATUS, TOKEN, PUZZLE = 0, 1, 7, 13, 19, 11, 12


class Script:
    """A scripted model of one size, with its forms in an image, and room for so many runs with noise."""

    def __init__(self, library: Path, seq: int, vocab: int, forms: tuple[Symmetry, ...], room: int = 0) -> None:
        self.room = room
        self.lib, self.seq, self.vocab, self.forms = ctypes.CDLL(str(library)), seq, vocab, forms
        cells = "<u2" if seq > 256 else "u1"
        records = b"".join(np.asarray(f.cells, cells).tobytes() + np.asarray(f.tokens, "u1").tobytes() for f in forms)
        self.image = np.frombuffer(b"\xff" * 3 + records, np.uint8).copy()
        self.runs = runs = 1 + max(len(forms), room)
        self.tokens = self._array("script_tokens", ctypes.c_uint8, (runs, STEPS, seq))
        self.margins = self._array("script_margins", ctypes.c_float, (runs, STEPS))
        self.noise = self._array("script_noise", ctypes.c_float, (runs, STEPS))
        self.asked = self._array("script_asked", ctypes.c_uint8, (runs, seq))
        self.context = _Context()

    def _array(self, name: str, kind: type, shape: tuple[int, ...]) -> np.ndarray:
        flat = (kind * int(np.prod(shape))).in_dll(self.lib, name)
        return np.ctypeslib.as_array(flat).reshape(shape)

    def count(self, name: str) -> int:
        return ctypes.c_uint32.in_dll(self.lib, name).value

    def open(self) -> None:
        self.lib.script_open(ctypes.byref(self.context), self.image.ctypes.data_as(ctypes.c_void_p))

    def begin(self, puzzle: np.ndarray, policy: Policy, puzzle_id: int = 0, **changed) -> tuple[int, _Solver]:
        """Status of rc_solve_begin with a policy some of whose numbers are others."""
        self.open()
        p, solver = policy, _Solver()
        given = _Policy.of(p)
        for name, value in changed.items():
            setattr(given, name, value)
        self.kept = puzzle, given
        row = puzzle.ctypes.data_as(ctypes.c_void_p)
        status = self.lib.rc_solve_begin(
            ctypes.byref(solver), ctypes.byref(self.context), ctypes.byref(given), row, ctypes.c_uint32(puzzle_id)
        )
        return status, solver

    def solve(self, puzzle: np.ndarray, policy: Policy, puzzle_id: int = 0):
        self.open()

        def check(status: int, where: str) -> None:
            assert status == OK, (status, where)

        solving = Solving(self.lib, self.context, check, puzzle, puzzle_id, policy, self.seq)
        runs = []
        for number in solving.steps():
            runs.append(solving.run)
            assert number == len(runs)
        return solving.answer(), runs
