"""The host engine: the generated C as a shared library, called through ctypes.

It is the simulator: the same code and arithmetic as the firmware's, so accuracy and expected bits come from here.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recurc.device.frames import CARRIES, CARRY_PARTS, CARRY_SCALES, TENSORS, decode_carry
from recurc.environment import remedy
from recurc.errors import InputError
from recurc.models.reasoner import HALT_RULES
from recurc.noise import NOISE_AT, Noise
from recurc.solve import Answer, Policy
from recurc.storage.image import KEY_BYTES
from recurc.targets.solving import Solving

_U8P = ctypes.POINTER(ctypes.c_uint8)


class ModelInfo(ctypes.Structure):
    """Constants of a model, as rc.h has them."""

    api: int
    seq_len: int
    vocab: int
    rows: int
    hidden: int
    puzzles: int
    steps: int
    h_cycles: int
    l_cycles: int
    arena_bytes: int
    image_bytes: int
    halt_rule: int
    carry: int
    table_dtype: int
    table_rows: int
    record_bytes: int
    ops: int
    forms: int
    forms_offset: int
    restarts: int
    key_offset: int
    known_steps: int
    known_offset: int
    name: bytes
    _fields_ = [
        *(
            (name, ctypes.c_uint32)
            for name in (
                "api",
                "seq_len",
                "vocab",
                "rows",
                "hidden",
                "puzzles",
                "steps",
                "h_cycles",
                "l_cycles",
                "arena_bytes",
                "image_bytes",
                "halt_rule",
                "carry",
                "table_dtype",
                "table_rows",
                "record_bytes",
                "ops",
                "forms",
                "forms_offset",
                "restarts",
                "key_offset",
                "known_steps",
                "known_offset",
            )
        ),
        ("grids", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
    ]


class _Context(ctypes.Structure):
    _fields_ = [
        ("image", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("answers", ctypes.c_void_p),
        ("step", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("puzzle", ctypes.c_uint32),
        ("puzzle_row", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        *(
            (name, ctypes.c_uint32)
            for name in (
                "row_index",
                "row_got",
                "row_ready",
                "op",
                "op_next",
                "op_end",
                "columns",
                "finite",
                "same",
                "spent",
                "cancelled",
                "busy",
                "again",
                "epoch",
            )
        ),
        ("flags", ctypes.c_uint32),
        ("hook", ctypes.c_void_p),
        ("user", ctypes.c_void_p),
    ]


# What is called of a library, here and by `Solving`, and the constants that it has.
_CALLED = (
    "rc_open", "rc_begin", "rc_row", "rc_step", "rc_selftest", "rc_noise", "rc_ops", "rc_halts", "rc_tensor",
    "rc_status_text", "rc_solve_begin", "rc_solve_step", "rc_info",
)  # fmt: skip


def _aligned(size: int) -> np.ndarray:
    """A zeroed uint8 buffer on a page boundary (the arena needs 64 bytes)."""
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=np.uint8)


class _Variant(ctypes.Structure):
    name: bytes
    _fields_ = [("name", ctypes.c_char_p)]  # functions follow


class HostEngine:
    """One compiled model on this computer; `clone` gives more instances that share code and image.

    Args:
        library: the shared library that `recurc.make` compiled.
        image: path of its model.rcm.
        records: gives a record of the streamed puzzle table by index; needed by models that have one.
        kernels: variant of the library's kernels (see `variants`); the best one that this CPU runs when left out, or
            what the environment variable RECURC_KERNELS says. It counts for all engines of that library.

    Raises:
        InputError: the library or image cannot be used together, or this CPU does not run those kernels.
    """

    def __init__(
        self, library: Path, image: Path, records: Callable[[int], bytes] | None = None, kernels: str | None = None
    ) -> None:
        self._records = records
        try:
            # The loader knows a library by its name: a relative one may be another since the folder changed.
            self._lib = ctypes.CDLL(os.path.abspath(library))
            data = Path(image).read_bytes()
        except OSError as e:
            raise InputError(
                "the host engine cannot be loaded", where=str(library), why=str(e), next=remedy(e, "Build again")
            ) from e
        self._declare(library)
        self._image = _aligned(len(data))
        self._image[:] = np.frombuffer(data, dtype=np.uint8)
        self.info = ModelInfo.in_dll(self._lib, "rc_info")
        wanted = kernels or os.environ.get("RECURC_KERNELS")
        if wanted and self.variants:
            self._use(wanted)
        self._open(str(image))

    @property
    def table_key(self) -> bytes:
        """Key of the streamed puzzle table that belongs to the image; zeros where it has none."""
        at = self.info.key_offset
        return self._image[at : at + KEY_BYTES].tobytes() if self.info.table_dtype else bytes(KEY_BYTES)

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants of the kernels that this CPU runs, best first; empty for libraries that have no choice."""
        return tuple(self._variants())

    @property
    def kernels(self) -> str | None:
        """The variant in use; None for libraries that have no choice."""
        address = self._chosen().value if self.variants else None
        return _Variant.from_address(address).name.decode() if address is not None else None

    def _chosen(self) -> ctypes.c_void_p:
        return ctypes.c_void_p.in_dll(self._lib, "rc_host")

    def _variants(self) -> dict[str, int]:
        """Name -> address of its table, best first."""
        if not hasattr(self._lib, "rc_host_variant"):
            return {}
        self._lib.rc_host_variant.restype = ctypes.POINTER(_Variant)
        found: dict[str, int] = {}
        while entry := self._lib.rc_host_variant(len(found)):
            found[entry.contents.name.decode()] = ctypes.addressof(entry.contents)
        return found

    def _use(self, name: str) -> None:
        if name not in self.variants:
            raise InputError(
                f"this CPU has no kernels {name!r}",
                where="RECURC_KERNELS",
                why="it runs " + ", ".join(self.variants),
                next="choose one of them, or leave it out",
            )
        self._chosen().value = self._variants()[name]

    def _declare(self, library: Path) -> None:
        lib, lacks = self._lib, [name for name in _CALLED if not hasattr(self._lib, name)]
        if lacks:
            raise InputError(
                "the host engine was made by another version of recurc",
                where=str(library), why=f"it has no {', '.join(lacks)}", next="Build again",
            )  # fmt: skip
        lib.rc_open.argtypes = [ctypes.POINTER(_Context), _U8P, ctypes.c_uint32, _U8P, ctypes.c_uint32, ctypes.c_void_p]
        lib.rc_begin.argtypes = [ctypes.POINTER(_Context), _U8P, ctypes.c_uint32]
        lib.rc_row.argtypes = [ctypes.POINTER(_Context), ctypes.c_uint32, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_uint32]
        lib.rc_step.argtypes = [ctypes.POINTER(_Context)]
        lib.rc_selftest.argtypes = [ctypes.POINTER(_Context), ctypes.c_uint32]
        u32 = ctypes.c_uint32
        lib.rc_noise.argtypes = [ctypes.POINTER(_Context), u32, ctypes.c_float, u32, u32]
        lib.rc_ops.argtypes = [ctypes.POINTER(_Context), ctypes.c_uint32]
        lib.rc_halts.argtypes = [ctypes.POINTER(_Context), ctypes.c_float, ctypes.c_uint32]
        lib.rc_tensor.argtypes = [ctypes.POINTER(_Context), ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]
        lib.rc_tensor.restype = _U8P
        lib.rc_status_text.restype = ctypes.c_char_p

    def _open(self, where: str) -> None:
        self._arena = _aligned(self.info.arena_bytes)
        self._context = _Context()
        status = self._lib.rc_open(
            ctypes.byref(self._context),
            self._pointer(self._image),
            len(self._image),
            self._pointer(self._arena),
            len(self._arena),
            None,
        )
        self._check(status, where)

    @staticmethod
    def _pointer(array: np.ndarray) -> ctypes._Pointer[ctypes.c_uint8]:
        return array.ctypes.data_as(_U8P)

    def _check(self, status: int, where: str) -> None:
        if status:
            why = self._lib.rc_status_text(status).decode()
            raise InputError("the model refused", where=where, why=why, next="Check the input; if it is an image, build again")

    def clone(self) -> HostEngine:
        """Another instance with its own carry."""
        other = object.__new__(HostEngine)
        other._lib, other._image, other.info, other._records = self._lib, self._image, self.info, self._records
        other._open("clone")
        return other

    def begin(self, tokens: np.ndarray, puzzle_id: int = 0) -> None:
        """Load a puzzle (tokens [seq_len], uint8) and reset the carry.

        Raises:
            InputError: wrong length, token or puzzle identifier out of range.
        """
        row = self._row(tokens, puzzle_id)
        self._check(self._lib.rc_begin(ctypes.byref(self._context), self._pointer(row), int(puzzle_id)), "begin")

    def solve(self, tokens: np.ndarray, policy: Policy, puzzle_id: int = 0) -> Answer:
        """Answer a puzzle (tokens [seq_len], uint8) with the forms that the image has: the device's code, see `recurc.solve`.

        Raises:
            InputError: as `begin` and `step`; a run of the policy has more steps than were compiled.
        """
        solving = self.solving(tokens, policy, puzzle_id)
        for _ in solving.steps():
            pass
        return solving.answer()

    def solving(self, tokens: np.ndarray, policy: Policy, puzzle_id: int = 0) -> Solving:
        """The same step by step. Raises as `solve`."""
        row = self._row(tokens, puzzle_id)
        return Solving(self._lib, self._context, self._check, row, int(puzzle_id), policy, self.info.seq_len)

    def _row(self, tokens: np.ndarray, puzzle_id: int) -> np.ndarray:
        """The puzzle as bytes, once its row of a streamed table is there."""
        row = np.ascontiguousarray(tokens, dtype=np.uint8)
        if row.shape != (self.info.seq_len,) or (row != np.asarray(tokens)).any():
            raise InputError(
                "the puzzle does not fit the model",
                where="tokens",
                why=f"shape {np.shape(tokens)}, the model takes {self.info.seq_len} tokens of one byte",
                next="check the dataset",
            )
        puzzles = self.info.puzzles or 1
        if not 0 <= puzzle_id < puzzles:
            raise InputError(
                "the puzzle identifier is out of range",
                where=f"puzzle {puzzle_id}",
                why=f"the model has puzzles 0 to {puzzles - 1}",
                next="use the dataset that the model was trained with",
            )
        if self.info.table_dtype and self._records:
            self._send_row(int(puzzle_id))
        return row

    def _send_row(self, puzzle_id: int) -> None:
        """Give the model a puzzle's row of the streamed table."""
        assert self._records is not None
        record = self._records(puzzle_id)
        self._check(self._lib.rc_row(ctypes.byref(self._context), puzzle_id, 0, record, len(record)), f"row {puzzle_id}")

    def step(self) -> None:
        """One supervision step (releases the GIL).

        Raises:
            InputError: as many as were compiled have been run, or the step left something that is not a finite number.
        """
        self._check(self._lib.rc_step(ctypes.byref(self._context)), "step")

    def add_noise(self, noise: Noise, run: int) -> None:
        """Add what a run, 0 the first, has before its next step, if it has any then."""
        if noise.due(run, int(self._context.step)):
            at = NOISE_AT.index(noise.at)
            self._check(self._lib.rc_noise(ctypes.byref(self._context), at, noise.sigma, noise.seed, run), "noise")

    @property
    def halt_rule(self) -> str:
        """What its halting head is asked: one of HALT_RULES."""
        return HALT_RULES[self.info.halt_rule]

    @property
    def ops(self) -> int:
        """Ops of one supervision step: every op of every block call, then the heads."""
        return self.info.ops

    def run_ops(self, ops: int) -> None:
        """Go on with the step under way until `ops` of its ops are done; `self.ops` end it (releases the GIL).

        In between, `raw` and `carry_bytes` give the carry as the op has left it. The step's last op are the heads.

        Raises:
            InputError: there are not so many, or more have been run already.
        """
        self._check(self._lib.rc_ops(ctypes.byref(self._context), ops), f"op {ops}")

    def selftest(self, steps: int = 0) -> None:
        """Run the puzzle whose answer the image knows and compare: `steps` of it, or the reduced form. The puzzle under way has
        ended.

        Raises:
            InputError: something differs, or the image knows no answer.
        """
        if self.info.table_dtype and self._records:
            (puzzle_id,) = self._image[self.info.known_offset :][:4].view("<u4")
            self._send_row(int(puzzle_id))
        self._check(self._lib.rc_selftest(ctypes.byref(self._context), steps), "self-test")

    def halts(self, threshold: float = 0.0, patience: int = 0) -> bool:
        """Whether the model halts after the last step: its margin is above the threshold, and its tokens have stayed the same
        for `patience` steps."""
        return bool(self._lib.rc_halts(ctypes.byref(self._context), threshold, patience))

    def tensor(self, name: str) -> np.ndarray:
        """Copy of a tensor: "z_H", "z_L" float32 [S, D], "logits" [seq, vocab], "q" [2]; "tokens", "input" uint8.

        A carry that is stored as fp16 or int8 is widened to what the ops read.
        """
        i, raw = self.info, self.raw(name)
        shapes = {"logits": (i.seq_len, i.vocab), "q": (2,)}
        if name in CARRY_SCALES:
            kind = CARRIES[i.carry]
            return decode_carry(kind, raw, self.raw(CARRY_SCALES[name])).reshape(i.rows, i.hidden)
        values = np.frombuffer(bytearray(raw), np.float32 if name in shapes else np.uint8)
        return values.reshape(shapes[name]) if name in shapes else values

    def carry_bytes(self) -> bytes:
        """The carry as stored: z_H, its scales if any, z_L, its scales, those of its channels while it has them.

        This is what the wire's carry checksum covers.
        """
        return b"".join(self.raw(name) for name in CARRY_PARTS)

    def raw(self, name: str) -> bytes:
        """A tensor's bytes as stored; none when the model has no such tensor now ("H_scale", "L_scale", "columns")."""
        count = ctypes.c_uint32()
        pointer = self._lib.rc_tensor(ctypes.byref(self._context), TENSORS[name], ctypes.byref(count))
        return bytes(ctypes.string_at(pointer, count.value)) if pointer else b""


def cpu_signature() -> str:
    """What a host library must not be moved away from: it runs on every CPU of its architecture, with the kernels that
    this CPU has."""
    return platform.machine()
