"""Frames to and from one device: sequence numbers, timeouts, what is said again when the line loses something."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import TypeVar

from recurc.device import frames as f
from recurc.device.faults import DeviceFaultError, DeviceRefusedError, DeviceRestartedError, LineError, Places
from recurc.device.transports import Transport, TransportClosed
from recurc.errors import DeviceUnreachableError, MismatchError

NAMES = {
    f.HELLO: "HELLO",
    f.LOAD: "LOAD",
    f.RUN: "RUN",
    f.SOLVE: "SOLVE",
    f.READ: "READ",
    f.SELFTEST: "SELFTEST",
    f.RESET: "RESET",
    f.EXIT: "EXIT",
    f.ROW: "ROW",
    f.TRACE: "TRACE",
}
DAMAGES = 32  # damaged frames in answer to one request until the line counts as unusable
STALE_STEPS = 4096  # of an abandoned run, up to which its steps are waited for
T = TypeVar("T")


class Link:
    """One firmware behind a transport. A context manager: leaving it closes the transport.

    Args:
        transport: where the device is.
        timeout: seconds to wait for a quick reply before asking again.
        step_timeout: seconds that one supervision step may take.
        attempts: how often a request without side effects is sent into silence before giving up.
        places: source lines of the device's firmware, for the report of a fault.
    """

    def __init__(
        self,
        transport: Transport,
        timeout: float = 2.0,
        step_timeout: float = 600.0,
        attempts: int = 3,
        places: Places | None = None,
    ) -> None:
        self.transport, self.places = transport, places
        self.timeout, self.step_timeout, self.attempts = timeout, step_timeout, attempts
        self.retries = 0
        self._receiver = f.Receiver()
        self._pending: list[f.Frame | f.FrameError] = []
        self._seq = 0
        self._greeted = False

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    def _lost(self, why: str, kind: type[DeviceUnreachableError] = DeviceUnreachableError) -> DeviceUnreachableError:
        hint = getattr(self.transport, "hint", lambda: "")()
        return kind(
            "the device does not answer" if kind is DeviceUnreachableError else "the line to the device lost something",
            where=self.transport.description,
            why=why + (f"; {hint}" if hint else ""),
            next="Check that the firmware runs and that the port is its own",
        )

    def _send(self, frame: f.Frame) -> None:
        try:
            # A delimiter first: it ends whatever half frame an earlier session or a glitch left in the receiver.
            self.transport.write(b"\0" + f.encode(frame))
        except TransportClosed as e:
            raise self._lost(str(e)) from e

    def _receive(self, deadline: float) -> f.Frame | f.FrameError | None:
        """The next frame, well-formed or not; None at the deadline.

        Raises:
            DeviceFaultError: it tells of a crash. DeviceRestartedError: it started anew after HELLO had been answered.
            DeviceUnreachableError: the transport is closed.
        """
        while True:
            while not self._pending:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                try:
                    self._pending = self._receiver.push(self.transport.read(left))
                except TransportClosed as e:
                    raise self._lost(str(e)) from e
            frame = self._pending.pop(0)
            if isinstance(frame, f.FrameError) or frame.seq or frame.type not in (f.FAULT, f.BOOT):
                return frame
            try:
                if frame.type == f.FAULT:
                    raise DeviceFaultError(f.parse_fault(frame.body), self.transport.description, self.places)
                cause = f.parse_boot(frame.body)
            except f.FrameError as e:
                return e
            if self._greeted:  # before HELLO's reply it is how every session may begin
                self._greeted = False
                raise DeviceRestartedError(cause, self.transport.description)

    def _differs(self, what: str, why: str) -> MismatchError:
        """The error of a device that answers, and not as this build's firmware would."""
        return MismatchError(
            what, where=self.transport.description, why=why,
            next="Build and flash again; if it stays so, what answers there is not this firmware",
        )  # fmt: skip

    def _next_seq(self) -> int:
        self._seq = self._seq % 255 + 1  # 0 is the device's own, for what answers no request
        return self._seq

    def _forgot(self, kind: int, status: int) -> bool:
        """Whether a refusal shows that the device no longer knows what this session told it; a session's to say."""
        return False

    def _mine(self, frame: f.Frame | f.FrameError, seq: int, kind: int) -> bool:
        """Whether a frame is the reply to the request, which a refusal ends with an exception."""
        if isinstance(frame, f.FrameError) or frame.seq != seq:
            return False
        if frame.type == f.NAK and len(frame.body) == 2:
            if self._forgot(kind, frame.body[0]):
                raise DeviceRestartedError("unknown", self.transport.description)
            raise DeviceRefusedError(NAMES.get(kind, f"request {kind}"), frame.body[0], self.transport.description)
        return frame.type == kind | f.REPLY

    def _request(self, kind: int, body: bytes = b"", timeout: float | None = None, attempts: int | None = None) -> bytes:
        """Send a request that may be repeated and return its reply's body.

        Into silence it is sent `attempts` times; when something arrives damaged it is sent again at once. Where the reply may
        take longer than a quick one (`timeout`), HELLO asks meanwhile whether it was lost: a device that works answers only
        after its reply. So a loss costs seconds, and a device that is silent all the time is given up after `timeout`.

        Raises:
            DeviceUnreachableError: no reply after all attempts, or the transport closed.
            DeviceRefusedError: the device refused it.
        """
        frame = f.Frame(kind, self._next_seq(), body)
        wait = self.timeout if timeout is None else timeout
        slow = wait > self.timeout
        tries = 1 if slow else self.attempts if attempts is None else attempts
        silent = damaged = stale = 0  # stale: the last step that an abandoned run has told of
        while silent < tries and damaged < DAMAGES:
            self.retries += silent + damaged > 0
            self._send(frame)
            probe, pause = 0, self.timeout
            deadline, ask = time.monotonic() + wait, time.monotonic() + pause
            while True:
                got = self._receive(min(deadline, ask) if slow else deadline)
                if got is None:
                    now = time.monotonic()
                    if not slow or now >= deadline:
                        silent += 1
                        break
                    probe, pause = self._probe(probe), 2 * pause
                    ask = now + pause
                    continue
                if self._mine(got, frame.seq, kind):
                    assert isinstance(got, f.Frame)
                    return got.body
                answered = probe and isinstance(got, f.Frame) and (got.seq, got.type) == (probe, f.HELLO | f.REPLY)
                if answered or isinstance(got, f.FrameError) or is_damaged_request(got):
                    damaged += 1  # the request or its reply did not get there whole: send it again at once
                    break
                if isinstance(got, f.Frame) and got.type == f.STEP and stale < (step := _step_of(got)) <= STALE_STEPS:
                    stale = step  # it still runs what was given up, and will come to this
                    deadline = time.monotonic() + max(wait, self.step_timeout)
        if slow and silent:
            raise self._lost(f"no sign of life for {wait:g} s while it should answer {NAMES[kind]}")
        noise = f"; {damaged} damaged frames came" if damaged else ""
        raise self._lost(f"no reply to {NAMES[kind]} in {tries} attempts{noise}")

    def _probe(self, seq: int) -> int:
        """Ask HELLO of a device that may be busy, with the number of the last such question (0: the first); its number."""
        seq = seq or self._next_seq()
        self._send(f.Frame(f.HELLO, seq, struct.pack("<H", f.VERSION)))
        return seq

    def _parsed(self, parse: Callable[[bytes], T], body: bytes, name: str) -> T:
        """A reply's body parsed. Raises DeviceUnreachableError when it is malformed: the peer is not our firmware."""
        try:
            return parse(body)
        except f.FrameError as e:
            raise self._lost(f"its {name} is malformed: {e}") from e


def _step_of(frame: f.Frame) -> int:
    """The number in a STEP frame; 0 when it is malformed."""
    try:
        return f.parse_step(frame.body).step
    except f.FrameError:
        return 0


def is_damaged_request(frame: f.Frame | f.FrameError) -> bool:
    """Whether the device says that what it received was no frame."""
    return isinstance(frame, f.Frame) and frame.type == f.NAK and frame.seq == 0 and frame.body[:1] == bytes([f.STATUS_FRAME])


__all__ = ["DAMAGES", "Link", "LineError", "NAMES", "is_damaged_request"]
