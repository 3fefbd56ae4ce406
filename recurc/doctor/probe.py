"""Asks the device at a port who it is: does it answer, is it our firmware, is it this build.

One HELLO, twice at most, over a transport; every wait has a limit. Nothing on the device changes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from recurc.build.manifest import Build
from recurc.device import frames as f
from recurc.device.faults import describe
from recurc.device.transports import Transport, TransportClosed, open_transport
from recurc.doctor.findings import NOTE, OK, PROBLEM, Finding, within
from recurc.errors import DeviceUnreachableError, MismatchError, RecurcError

DEVICE = "device"
UNREACHABLE, DIFFERS = DeviceUnreachableError.exit_code, MismatchError.exit_code
BAUDS = (921600, 115200)  # what board files have
_REPLY_SECONDS = 1.5
_OPEN_SECONDS = 6.0
_SHOWN = 40
_KEPT = 65536


@dataclass(frozen=True)
class Heard:
    """What came back to HELLO: the device's own words where they could be read, else the bytes.

    `refused`: status of a NAK; `version`: the protocol's, where it is not ours; `busy`: it reports steps of a run;
    `restarted`: why it says it started, when nothing else came; `failure`: why nothing can be heard.
    """

    hello: f.Hello | None = None
    fault: f.Fault | None = None
    refused: int | None = None
    version: int | None = None
    busy: bool = False
    restarted: str = ""
    raw: bytes = b""
    failure: str = ""


def ask(transport: Transport, attempts: int = 2, seconds: float = _REPLY_SECONDS) -> Heard:
    """Say HELLO and listen, `attempts` times `seconds` at most."""
    raw, busy, restarted = b"", False, ""
    receiver = f.Receiver()
    for attempt in range(attempts):
        # A delimiter first: it ends whatever half frame an earlier session left in the receiver.
        transport.write(b"\0" + f.encode(f.Frame(f.HELLO, attempt + 1, struct.pack("<H", f.VERSION))))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            data = transport.read(left)
            raw = (raw + data)[-_KEPT:]
            for frame in receiver.push(data):
                if isinstance(frame, f.FrameError):
                    continue
                if frame.type == f.HELLO | f.REPLY:
                    return _hello(frame.body, raw)
                if frame.type == f.FAULT:
                    return Heard(fault=f.parse_fault(frame.body), raw=raw)
                if frame.type == f.NAK and frame.seq == attempt + 1 and frame.body:
                    return Heard(refused=frame.body[0], raw=raw)
                busy = busy or frame.type == f.STEP
                restarted = f.parse_boot(frame.body) if frame.type == f.BOOT else restarted
    return Heard(busy=busy, restarted=restarted, raw=raw)


def _hello(body: bytes, raw: bytes) -> Heard:
    version = f.hello_version(body)
    return Heard(hello=f.parse_hello(body), raw=raw) if version == f.VERSION else Heard(version=version, raw=raw)


def listen(url: str, bauds: Sequence[int] = BAUDS) -> tuple[Heard, int]:
    """`ask` at a port, at each rate until an answer makes sense; with the rate of the answer.

    Never raises and never takes longer than some seconds a rate, whatever driver or network lies between.
    """
    heard, rates = Heard(), tuple(dict.fromkeys(bauds)) if "://" not in url else tuple(bauds)[:1]
    for baud in rates:
        got = within(_OPEN_SECONDS + 2 * _REPLY_SECONDS, partial(_listen, url, baud), _stuck)
        if got.failure or _understood(got):
            return got, baud
        heard = got if len(got.raw) >= len(heard.raw) else heard
    return heard, rates[-1]


def _stuck() -> Heard:
    return Heard(failure="opening it or writing to it does not return: its driver hangs or flow control holds it")


def _listen(url: str, baud: int) -> Heard:
    try:
        transport = open_transport(url, baud)
    except RecurcError as e:
        return Heard(failure=e.why or e.what)
    try:
        return ask(transport)
    except TransportClosed as e:
        return Heard(failure=f"it closed: {e}")
    except f.FrameError as e:
        return Heard(failure=f"its answer is malformed: {e}")
    finally:
        transport.close()


def _understood(heard: Heard) -> bool:
    told = (heard.hello, heard.fault, heard.refused, heard.version)
    return any(x is not None for x in told) or heard.busy or bool(heard.restarted)


def check_device(url: str, heard: Heard, baud: int, build: Build | None = None) -> list[Finding]:
    """What a device's answer means, against a build where one is given.

    Args:
        build: what the device should run, or None.
    """
    rate = "" if "://" in url else f" at {baud} baud"
    if heard.failure:
        return [Finding(DEVICE, "answers", PROBLEM, heard.failure,
                        "Check that the board is powered and connected, or that the emulator runs (`recurc flash BUILD`)",
                        UNREACHABLE)]  # fmt: skip
    if not heard.raw:
        return [Finding(DEVICE, "answers", PROBLEM, f"silence{rate}",
                        "Reset the board; check that the port is the board's UART and that firmware is flashed (`recurc flash "
                        "BUILD`). Firmware in the middle of a step answers after it", UNREACHABLE)]  # fmt: skip
    answers = Finding(DEVICE, "answers", OK, f"{len(heard.raw)} bytes{rate}")
    if heard.hello is None:
        return [answers, _not_ours(heard, build is not None and build.board(build.target).family == "riscv")]
    hello = heard.hello
    ours = Finding(DEVICE, "our firmware", OK, f"{hello.model} on {hello.board}, protocol {hello.version}")
    if hello.status or hello.table_status:
        what = "weights image" if hello.status else "puzzle table"
        why = f.status_text(hello.status or hello.table_status)
        image = Finding(DEVICE, what, PROBLEM, f"the device refuses it: {why}", "Flash it again: `recurc flash BUILD`", DIFFERS)
    else:
        # What HELLO tells rests on checksums; asking for more would cost the device its carry.
        image = Finding(DEVICE, "weights image", OK, f"{hello.image_bytes:,} bytes, CRC only: `recurc verify` proves them")
    return [answers, ours, image, *_identity(hello, build)]


def _not_ours(heard: Heard, riscv: bool) -> Finding:
    name = "our firmware"
    if heard.fault is not None:
        words = ", ".join(x for x in (describe(heard.fault, riscv), str(heard.fault)) if x)
        return Finding(DEVICE, name, PROBLEM, f"it has crashed: {words}",
                       "Reset the board; `recurc verify BUILD --on PORT` names the line of the fault", DIFFERS)  # fmt: skip
    if heard.restarted:
        return Finding(DEVICE, name, PROBLEM, f"it starts anew and does not answer (reset cause: {heard.restarted})",
                       "Check its power supply and cable", UNREACHABLE)  # fmt: skip
    if heard.version is not None:
        return Finding(DEVICE, name, PROBLEM, f"it speaks protocol version {heard.version}, this recurc {f.VERSION}",
                       "Build and flash again with this recurc", DIFFERS)  # fmt: skip
    if heard.refused is not None:
        return Finding(DEVICE, name, PROBLEM, f"it refuses HELLO: {f.status_text(heard.refused)}",
                       "Build and flash again with this recurc", DIFFERS)  # fmt: skip
    if heard.busy:
        return Finding(DEVICE, name, PROBLEM, "it is in the middle of a run that another session began",
                       "Reset the board, or wait", UNREACHABLE)  # fmt: skip
    text = "".join(chr(b) if 32 <= b < 127 else "." for b in heard.raw[:_SHOWN])
    printable = sum(32 <= b < 127 or b in b"\r\n\t" for b in heard.raw) > 0.8 * len(heard.raw)
    guess = "another program" if printable else "another program, or another baud rate"
    return Finding(DEVICE, name, PROBLEM, f"{guess}: it says {text!r}", "Flash the build: `recurc flash BUILD --port PORT`",
                   DIFFERS)  # fmt: skip


def _identity(hello: f.Hello, build: Build | None) -> list[Finding]:
    name = "this build"
    told = f"build {hello.build_id[:16]}…, model {hello.model_sha256[:16]}…"
    if build is None:
        return [Finding(DEVICE, name, NOTE, f"{told}; no build was named to compare with")]
    flash = f"Flash it: `recurc flash {build.path}`"
    artifact = build.boards.get(hello.board)
    if artifact is None:
        return [Finding(DEVICE, name, PROBLEM, f"the device is a {hello.board}, the build is for {', '.join(build.boards)}",
                        f"Build for it: `recurc build ... --target {hello.board}`", DIFFERS)]  # fmt: skip
    if artifact.model_sha256 != hello.model_sha256:
        return [Finding(DEVICE, name, PROBLEM, f"another model: {told}; {build.path} has model "
                        f"{artifact.model_sha256[:16]}…", flash, DIFFERS)]  # fmt: skip
    if artifact.build_id != hello.build_id:
        return [Finding(DEVICE, name, PROBLEM, f"the same model in another build: {told}; {build.path} has build "
                        f"{artifact.build_id[:16]}…", flash, DIFFERS)]  # fmt: skip
    return [Finding(DEVICE, name, OK, told)]
