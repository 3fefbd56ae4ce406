"""A conversation with one firmware: requests, replies, timeouts, retries."""

from __future__ import annotations

import struct
import time
import zlib
from typing import Iterator

import numpy as np

from recurc.device import frames as f
from recurc.device.transports import Transport, TransportClosed
from recurc.errors import DeviceUnreachableError, InputError


class DeviceFaultError(DeviceUnreachableError):
    """The firmware crashed and told where. `fault` holds the registers."""

    def __init__(self, fault: f.Fault, where: str) -> None:
        super().__init__(
            "the firmware crashed", where=where, why=f"fault at {fault}", next="Look the addresses up in firmware.map"
        )
        self.fault = fault


class DeviceRefusedError(DeviceUnreachableError):
    """The firmware refused a request. `status` is the code of rc_status.h."""

    def __init__(self, request: str, status: int, where: str) -> None:
        super().__init__(
            f"the device refused {request}",
            where=where,
            why=f.status_text(status),
            next="Build and flash again if the firmware is not of this build",
        )
        self.status = status


_NAMES = {
    f.HELLO: "HELLO",
    f.LOAD: "LOAD",
    f.RUN: "RUN",
    f.READ: "READ",
    f.SELFTEST: "SELFTEST",
    f.RESET: "RESET",
    f.EXIT: "EXIT",
    f.ROW: "ROW",
}


class DeviceSession:
    """Drives one firmware over a transport. A context manager: leaving it closes the transport.

    Args:
        transport: where the device is.
        timeout: seconds to wait for a quick reply before asking again.
        step_timeout: seconds that one supervision step may take.
        attempts: how often a request without side effects is sent before giving up.
    """

    def __init__(
        self, transport: Transport, timeout: float = 2.0, step_timeout: float = 600.0, attempts: int = 3
    ) -> None:
        self.transport = transport
        self.timeout, self.step_timeout, self.attempts = timeout, step_timeout, attempts
        self.info: f.Hello | None = None
        self.retries = 0
        self._receiver = f.Receiver()
        self._pending: list[f.Frame | f.FrameError] = []
        self._seq = 0
        self._input_crc = 0
        self._step = 0

    def __enter__(self) -> "DeviceSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    # --- frames -----------------------------------------------------------------------------------------------------

    def _lost(self, why: str) -> DeviceUnreachableError:
        return DeviceUnreachableError(
            "the device does not answer",
            where=self.transport.description,
            why=why,
            next="Check that the firmware runs and that the port is its own",
        )

    def _send(self, frame: f.Frame) -> None:
        try:
            # A delimiter first: it ends whatever half frame an earlier session or a glitch left in the receiver.
            self.transport.write(b"\0" + f.encode(frame))
        except TransportClosed as e:
            raise self._lost(str(e)) from e

    def _receive(self, deadline: float) -> f.Frame | f.FrameError | None:
        """The next frame, well-formed or not; None at the deadline."""
        while not self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            try:
                self._pending = self._receiver.push(self.transport.read(left))
            except TransportClosed as e:
                raise self._lost(str(e)) from e
        frame = self._pending.pop(0)
        if isinstance(frame, f.Frame) and frame.type == f.FAULT:
            raise DeviceFaultError(f.parse_fault(frame.body), self.transport.description)
        return frame

    def _next_seq(self) -> int:
        self._seq = self._seq % 255 + 1  # 0 is the device's own, for what answers no request
        return self._seq

    def _mine(self, frame: f.Frame | f.FrameError, seq: int, kind: int) -> bool:
        """Whether a frame is the reply to the request, which a refusal ends with an exception."""
        if isinstance(frame, f.FrameError) or frame.seq != seq:
            return False
        if frame.type == f.NAK and len(frame.body) == 2:
            raise DeviceRefusedError(_NAMES.get(kind, f"request {kind}"), frame.body[0], self.transport.description)
        return frame.type == kind | f.REPLY

    def _request(
        self, kind: int, body: bytes = b"", timeout: float | None = None, attempts: int | None = None
    ) -> bytes:
        """Send a request that may be repeated and return its reply's body.

        Raises:
            DeviceUnreachableError: no reply after all attempts, or the transport closed.
            DeviceRefusedError: the device refused it.
        """
        frame = f.Frame(kind, self._next_seq(), body)
        tries = self.attempts if attempts is None else attempts
        for attempt in range(tries):
            self.retries += attempt > 0
            self._send(frame)
            deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
            while (got := self._receive(deadline)) is not None:
                if self._mine(got, frame.seq, kind):
                    assert isinstance(got, f.Frame)
                    return got.body
                if _is_damaged_request(got):
                    break  # it did not get there whole: send it again at once
        raise self._lost(f"no reply to {_NAMES[kind]} in {tries} attempts")

    # --- requests ---------------------------------------------------------------------------------------------------

    def hello(self) -> f.Hello:
        """Ask the device who it is.

        Raises:
            DeviceUnreachableError: no answer, or one of another protocol version.
        """
        body = self._request(f.HELLO, struct.pack("<H", f.VERSION))
        try:
            version = f.hello_version(body)
            if version != f.VERSION:
                raise self._lost(f"it speaks protocol version {version}, this recurc {f.VERSION}")
            info = f.parse_hello(body)
        except f.FrameError as e:
            raise self._lost(f"its HELLO is malformed: {e}") from e
        self.info = info
        return info

    def load(self, tokens: np.ndarray) -> None:
        """Send a puzzle's input row.

        Args:
            tokens: integers [seq_len], each 0..255.

        Raises:
            InputError: the row has another length or values outside a byte.
        """
        info = self.info or self.hello()
        row = np.asarray(tokens)
        if row.shape != (info.seq_len,) or row.min(initial=0) < 0 or row.max(initial=0) > 255:
            raise InputError(
                "the input row does not fit the device's model",
                why=f"shape {row.shape}, the model takes ({info.seq_len},) bytes",
            )
        data = row.astype(np.uint8).tobytes()
        self._input_crc = zlib.crc32(data)
        reported = 0
        for offset in range(0, len(data), f.MAX_LOAD):
            body = struct.pack("<I", offset) + data[offset : offset + f.MAX_LOAD]
            (reported,) = struct.unpack("<I", self._request(f.LOAD, body))
        if reported != self._input_crc:
            raise self._lost("it holds another input row than was sent")

    def send_row(self, index: int, record: bytes) -> None:
        """Send a puzzle's row of the streamed table; `run` with that puzzle comes next. A puzzle under way ends.

        Args:
            index: the puzzle's identifier, its row in the table.
            record: the whole record, as `TableFile.record` or `PuzzleTable.record` gives it.

        Raises:
            InputError: the model takes no rows over the wire, or rows of another size; no such puzzle.
            DeviceRefusedError: the record is corrupt, of another puzzle or of another model's table.
        """
        info = self.info or self.hello()
        if info.table_mode != f.TABLE_WIRE:
            where = "has them in its memory" if info.table_mode == f.TABLE_MAPPED else "has no streamed puzzle table"
            raise InputError(
                "the device takes no puzzle rows", where=self.transport.description, why=f"its firmware {where}",
                next="Build with a table streamed over the wire, or run without sending rows",
            )  # fmt: skip
        if len(record) != info.record_bytes:
            raise InputError(
                "the puzzle's record does not fit the device's model",
                why=f"it has {len(record)} bytes, the model takes {info.record_bytes}",
                next="Use the table file that was written with this build",
            )
        if not 0 <= index < info.puzzles:
            raise InputError(
                f"there is no puzzle {index}", where=self.transport.description,
                why=f"the device's table has puzzles 0 to {info.puzzles - 1}",
                next="Use the dataset that the model was trained with",
            )  # fmt: skip
        self._step = 0
        reply = (0, False)
        for offset in range(0, len(record), f.MAX_ROW):
            piece = record[offset : offset + f.MAX_ROW]
            body = self._request(f.ROW, f.row_body(index, offset, piece))
            try:
                reply = f.parse_row(body)
            except f.FrameError as e:
                raise self._lost(f"its reply to ROW is malformed: {e}") from e
        if reply != (len(record), True):
            raise self._lost(f"it holds {reply[0]} of {len(record)} bytes of the puzzle's row")

    def run(
        self,
        steps: int,
        *,
        begin: bool = True,
        halt: bool = False,
        min_steps: int = 1,
        threshold: float = 0.0,
        puzzle: int = 0,
    ) -> Iterator[f.StepEvent | f.RunResult]:
        """Run supervision steps on the loaded row; yields a StepEvent after each and the RunResult last.

        Args:
            steps: how many at most.
            begin: start from the loaded row; False goes on from the carry as it is.
            halt: stop when the halting head says so, at the earliest after `min_steps` steps.
            puzzle: row of the puzzle embedding table.

        Raises:
            DeviceRefusedError: bad token, puzzle or step count; or the model is not open.
            DeviceUnreachableError: silence for `step_timeout` seconds, or an event was lost; not repeated, because
                going on from a carry is not idempotent.
        """
        flags = (f.RUN_BEGIN if begin else 0) | (f.RUN_HALT if halt else 0)
        at = 0 if begin else self._step
        body = f.run_body(flags, steps, min_steps, at, puzzle, self._input_crc, threshold)
        frame = f.Frame(f.RUN, self._next_seq(), body)
        self._step = at
        for attempt in range(self.attempts):
            self.retries += attempt > 0
            self._send(frame)
            again = False
            while not again:
                got = self._receive(time.monotonic() + self.step_timeout)
                if got is None:
                    raise self._lost(f"no sign of life for {self.step_timeout:g} s while it should run a step")
                if _is_damaged_request(got) and self._step == at:
                    again = True  # it never began
                elif isinstance(got, f.FrameError):
                    raise self._lost(f"a frame arrived damaged during a run: {got}")
                elif got.seq == frame.seq and got.type == f.STEP:
                    event = f.parse_step(got.body)
                    if event.step != self._step + 1:
                        raise self._lost(f"step {event.step} was reported after step {self._step}")
                    self._step = event.step
                    yield event
                elif self._mine(got, frame.seq, f.RUN):
                    result = f.parse_result(got.body)
                    if result.status:
                        raise DeviceRefusedError("a step", result.status, self.transport.description)
                    yield result
                    return
        raise self._lost(f"RUN arrived damaged {self.attempts} times")

    def run_all(self, steps: int, **options: object) -> tuple[list[f.StepEvent], f.RunResult]:
        """`run` with begin, collected; repeated once from the start when the line lost something."""
        for last in (False, True):
            try:
                *events, result = list(self.run(steps, begin=True, **options))  # type: ignore[arg-type]
                return events, result  # type: ignore[return-value]
            except (DeviceRefusedError, DeviceFaultError):
                raise
            except DeviceUnreachableError:
                if last:
                    raise
                self.retries += 1
                self.hello()  # a device that is gone must not cost another step_timeout
        raise AssertionError("unreachable")

    def read_tensor(self, name: str) -> np.ndarray:
        """A tensor of the last step, flat: uint8 for "tokens" and "input", float32 for all others.

        "z_H" and "z_L" are decoded to float32 from whatever type the device stores the carry in.

        Raises:
            DeviceRefusedError: nothing has run yet, or the model has no such tensor.
        """
        if name not in f.CARRY_SCALES:
            return np.frombuffer(self.read_raw(name), dtype=f.TENSOR_TYPES.get(name, "<f4"))
        carry = (self.info or self.hello()).carry
        scales = self.read_raw(f.CARRY_SCALES[name]) if carry == "int8" else b""
        try:
            return f.decode_carry(carry, self.read_raw(name), scales)
        except f.FrameError as e:
            raise self._lost(f"its {name} is malformed: {e}") from e

    def read_raw(self, name: str) -> bytes:
        """The bytes of a tensor of the last step, as the device stores them.

        Raises:
            DeviceRefusedError: nothing has run yet, or the model has no such tensor.
        """
        ident, data, total = f.TENSORS[name], b"", None
        while total is None or len(data) < total:
            length = f.MAX_READ if total is None else min(f.MAX_READ, total - len(data))
            if total is None:
                length = 0  # the first reply only tells the size
            body = self._request(f.READ, struct.pack("<BIH", ident, len(data), length))
            offset, total = struct.unpack_from("<II", body)
            if offset != len(data) or len(body) - f.READ_HEADER != length:
                raise self._lost(f"its reply to READ {name} is not what was asked for")
            data += body[f.READ_HEADER :]
        return data

    def selftest(self) -> tuple[int, int, int]:
        """Let the device check its image anew: (status, image bytes, CRC-32 of the image). The carry is lost."""
        status, image, _ = self.selftest_all()
        return status, *image

    def selftest_all(self) -> tuple[int, tuple[int, int], tuple[int, int]]:
        """`selftest`, with the mapped puzzle table: status, (bytes, CRC-32) of the image and of the table (zeros: none)."""
        self._step = 0
        body = self._request(f.SELFTEST, timeout=max(self.timeout, 30.0))
        if len(body) != f.SELFTEST_BYTES:
            raise self._lost(f"its reply to SELFTEST has {len(body)} bytes")
        status, *words = struct.unpack("<5I", body)
        return status, (words[0], words[1]), (words[2], words[3])

    def reset(self) -> None:
        """Restart the firmware."""
        self._request(f.RESET, attempts=1)

    def exit(self, code: int = 0) -> None:
        """End the firmware (emulators and processes only)."""
        self._request(f.EXIT, struct.pack("<I", code), attempts=1)


def _is_damaged_request(frame: f.Frame | f.FrameError) -> bool:
    """Whether the device says that what it received was no frame."""
    return (
        isinstance(frame, f.Frame)
        and frame.type == f.NAK
        and frame.seq == 0
        and frame.body[:1] == bytes([f.STATUS_FRAME])
    )
