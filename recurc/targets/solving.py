"""The device's procedure that answers a puzzle, rc_solve.h, called through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import numpy as np

from recurc.noise import NOISE_AT
from recurc.solve import ACCEPT, Answer, Policy

_U8P = ctypes.POINTER(ctypes.c_uint8)


class _Policy(ctypes.Structure):
    restarts: int
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("steps", "restart_steps", "restarts", "patience")),
        ("threshold", ctypes.c_float),
        ("accept", ctypes.c_uint32),
        ("noise", ctypes.c_float),
        ("noise_at", ctypes.c_uint32),
        ("seed", ctypes.c_uint32),
    ]

    @classmethod
    def of(cls, p: Policy) -> _Policy:
        """A policy as the C code takes it."""
        return cls(
            p.steps, p.restart_steps, p.restarts, p.patience, p.threshold, ACCEPT.index(p.accept),
            p.noise, NOISE_AT.index(p.noise_at), p.seed,
        )  # fmt: skip


class _Solver(ctypes.Structure):
    policy: _Policy
    row: int
    run: int
    steps: int
    done: int
    solved: int
    answer_run: int
    margin: float
    votes: int
    _fields_ = [
        ("ctx", ctypes.c_void_p),
        ("policy", _Policy),
        ("puzzle", ctypes.c_void_p),
        *(
            (name, ctypes.c_uint32)
            for name in ("puzzle_id", "row", "forms", "run", "run_steps", "ended", "steps", "done", "solved", "answer_run")
        ),
        ("margin", ctypes.c_float),
        ("votes", ctypes.c_uint32),
        ("answer", _U8P),
        ("epoch", ctypes.c_uint32),
    ]


class Solving:
    """One puzzle being answered, on a context that nothing else uses meanwhile.

    Args:
        check: raises what a status and a place mean.
        puzzle: uint8 [seq_len].
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        context: ctypes.Structure,
        check: Callable[[int, str], None],
        puzzle: np.ndarray,
        puzzle_id: int,
        policy: Policy,
        seq_len: int,
    ) -> None:
        self._lib, self._check, self._seq_len = library, check, seq_len
        self._kept = context, puzzle  # the solver points to them
        self._solver = _Solver()
        given = _Policy.of(policy)
        pointer = puzzle.ctypes.data_as(_U8P)
        status = library.rc_solve_begin(
            ctypes.byref(self._solver), ctypes.byref(context), ctypes.byref(given), pointer, ctypes.c_uint32(puzzle_id)
        )
        check(status, "begin")

    @property
    def run(self) -> int:
        """The run that the last step was of: 0 the puzzle itself, i its i-th form."""
        return int(self._solver.run)

    @property
    def row(self) -> int:
        """Of the puzzle table: what that run was asked with, the puzzle's own or that of its form."""
        return int(self._solver.row)

    @property
    def most(self) -> int:
        """How often this puzzle may be asked again: as the policy says, and no more often than it has other forms."""
        return int(self._solver.policy.restarts)

    def steps(self) -> Iterator[int]:
        """Run step by step (releases the GIL): the number of each, through all runs from 1, once it has run.

        Raises:
            InputError: a step left something that is not a finite number.
        """
        while not self._solver.done:
            self._check(self._lib.rc_solve_step(ctypes.byref(self._solver)), "step")
            yield int(self._solver.steps)

    def answer(self) -> Answer:
        """The answer, once there are no more steps."""
        s = self._solver
        assert s.done
        tokens = np.frombuffer(ctypes.string_at(s.answer, self._seq_len), np.uint8)
        return Answer(tokens, bool(s.solved), int(s.steps), int(s.run), int(s.answer_run), float(s.margin), int(s.votes))
