"""A device that lies: every field of every frame of frames.LAYOUTS, every frame of a conversation, floods and stalls.

    python -m tests.device.lies            the whole campaign
    python -m tests.device.lies --every 50 each 50th case

The real server is behind the lies, and the host does with it what `flash`, `verify` and `recurc.connect` do. Each case must
end in what the host has without a lie, or in an error of exit code 7 or 8, in bounded time.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import signal
import struct
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np

from recurc.dataset import Dataset
from recurc.device import frames as f
from recurc.device import link
from recurc.device import session as session_module
from recurc.device.expected import Expected, model_fields
from recurc.device.session import DeviceSession
from recurc.device.transports import TransportClosed
from recurc.errors import RecurcError
from recurc.evaluate.halting import Halt
from recurc.quant.tables import PuzzleTable
from recurc.solve import Policy
from recurc.targets.boards import load_board
from recurc.targets.host import HostEngine
from recurc.verify.device import check_identity
from recurc.verify.options import Listener, RunOptions
from recurc.verify.proof import prove
from recurc.verify.result import VerifyResult
from recurc.verify.run import Side, verify_session
from tests.device import dummy_build as dummy
from tests.device.inprocess import Clock, Line, build_server
from tests.device.runs import run_all

STEPS, PUZZLES, STEP_TIMEOUT = 4, 2, 20.0
POLICY = Policy(2, 2, 2, threshold=9.0)  # never sure, so that it asks again
MOST_SECONDS = 8 * (STEPS + POLICY.worst_steps + 2) * 3 * STEP_TIMEOUT  # by the device's clock: attempts, steps, silences
KEY = bytes([0x51, *range(1, 16)])
FREE = {  # what only the device knows, so that a lie about it cannot be found where it goes together with itself
    ("HELLO", "flags"), ("HELLO", "stack_bytes"), ("HELLO", "tick_hz"), ("RESULT", "stack_used"), ("BOOT", "cause"),
    ("BOOT", "status"), ("ANSWER", "stack_used"),
}  # fmt: skip
Lie = Callable[[int, f.Frame], "bytes | Flood | None"]  # number and frame -> what is sent instead; None: the frame itself


@dataclass(frozen=True)
class Flood:
    """From here on the device says only this, a chunk a read; `seconds` pass meanwhile. None: the line is cut."""

    chunk: bytes | None
    seconds: float = 0.05


class LyingLine(Line):
    """The real device, of whose frames some are told otherwise."""

    flood: Flood | None = None

    def __init__(self, library: ctypes.CDLL, clock: Clock, image: bytes, lie: Lie) -> None:
        self.lie, self.told = lie, list[f.Frame]()
        super().__init__(library, clock, image)

    def start(self, boot_is_heard: bool = True) -> None:
        said = self._said()  # the reply to what restarts it
        super().start()
        self._out = self._through("from", said + self._out)

    def _deliver(self, data: bytes) -> None:
        kept, self._out = self._out, b""
        super()._deliver(data)
        self._out = kept + self._out

    def _through(self, way: str, data: bytes) -> bytes:
        out = b""
        for frame in f.Receiver().push(data) if way == "from" else ():
            assert isinstance(frame, f.Frame)
            said = self.lie(len(self.told), frame) if self.flood is None else b""
            self.told.append(frame)
            if isinstance(said, Flood):
                self.flood, said = said, b""
            out += f.encode(frame) if said is None else said
        return out if way == "from" else data

    def read(self, timeout: float) -> bytes:
        if self._out or self.flood is None:
            return super().read(timeout)
        if self.flood.chunk is None:
            raise TransportClosed("unplugged")
        self.clock.now += min(timeout, self.flood.seconds)
        return self.flood.chunk


@dataclass(frozen=True)
class Case:
    """One lie. `must_fail`: nothing but an error or a difference will do."""

    name: str
    lie: Lie
    must_fail: bool = False


class Meter:
    """Stands for the fp32 model: a number that every bit of the carries counts in."""

    def measure(self, tokens: np.ndarray, puzzle_id: int, carries: dict[int, np.ndarray]) -> tuple[float, float]:
        assert all(np.isfinite(c).all() for c in carries.values())
        return float(sum(c.sum() for c in carries.values())), float(len(carries))


class Scene:
    """What is asked of a device, and the answers of one that does not lie.

    Args:
        defines: of the stand-in model. changed: the device's image is not the host's, so that differences are traced.
    """

    def __init__(
        self, folder: Path, name: str, defines: tuple[str, ...] = (), halt: Halt | None = None, changed: bool = False
    ) -> None:
        self.name, self.halt, self.changed = name, halt, changed
        folder = folder / name.replace(" ", "-")
        folder.mkdir()
        self.library = build_server(folder, *defines)
        (folder / "model.rcm").write_bytes(dummy.image_bytes())
        table = PuzzleTable(np.random.default_rng(4).normal(size=(3, 601)).astype(np.float32), 1.7, "int8", KEY)
        self.records = table.record if "DUMMY_TABLE=2" in defines else None
        self.engine = HostEngine(dummy.build_dummy_library(folder / "engine.so", *defines), folder / "model.rcm", self.records)
        rng = np.random.default_rng(1)
        inputs = rng.integers(0, 6, (PUZZLES, 16)).astype(np.uint8)
        labels, ids = inputs.astype(np.int32), np.arange(PUZZLES, dtype=np.int32)
        self.dataset = Dataset(inputs, labels, ids, 16, 6, 3, None, Path("d"), "test")
        image = bytearray(dummy.image_bytes())
        if changed:
            image[82] ^= 0x11
            image[-4:] = struct.pack("<I", zlib.crc32(image[:-4]))
        self.image, self.board, self.held = bytes(image), load_board("host"), folder / "held.rcm"
        self.held.write_bytes(self.image)
        self.build = SimpleNamespace(details={"boards": {"host": {}}}, target="host", board=load_board, table_path=None)
        self.truth: tuple | None = None
        self.frames: list[f.Frame] = []
        line, self.truth = self.converse(lambda i, frame: None)
        self.frames = line.told

    def _fields(self) -> dict:
        mode = f.TABLE_WIRE if self.records else f.TABLE_NONE
        return {**model_fields(self.engine.info, self.engine.table_key), "build_id": "010203" + "00" * 13,
                "model_sha256": dummy.SHA256.hex(), "arena_bytes": 8192, "image_bytes": len(self.image), "table_mode": mode,
                "board": "in-process"}  # fmt: skip

    def converse(self, lie: Lie) -> tuple[LyingLine, tuple]:
        """What the host has in the end: of verify every field but times, and whether all bits were equal."""
        clock = Clock()
        with mock.patch.object(link, "time", clock), mock.patch.object(session_module, "time", clock):
            line = LyingLine(self.library, clock, self.image, lie)
            with DeviceSession(line, timeout=2.0, step_timeout=STEP_TIMEOUT) as session:
                try:
                    return line, self._ask(session)
                finally:
                    assert clock.now <= MOST_SECONDS, f"it took {clock.now:g} s of the device's time"

    def _ask(self, session: DeviceSession) -> tuple:
        fields = self._fields()
        check_identity(session.hello(), SimpleNamespace(**fields))
        session.expect(Expected(fields))
        prove(session, self.build, self.board, SimpleNamespace(image=self.held))
        options = RunOptions(steps=STEPS, halt=self.halt, meter=Meter(), fidelity=1)  # type: ignore[arg-type]
        side, listener = Side(self.board, "host", self.records), Listener(show=lambda view: None)
        result = verify_session(session, self.engine, self.dataset, side, options, listener)
        answered = verify_session(session, self.engine, self.dataset, side, RunOptions(policy=POLICY), listener)
        session.load(self.dataset.inputs[0])
        if self.records:
            session.send_row(0, self.records(0))
        run_all(session, 2)
        read = [session.read_raw(name) for name in ("logits", "q", "tokens", "input")] + [session.read_tensor("z_L").tobytes()]
        session.reset()
        session.hello()
        session.exit()
        return self._facts(result, answered), read

    def _facts(self, *results: VerifyResult) -> tuple:
        assert all(result.bit_exact == (result.first_difference is None) for result in results)
        equal = all(result.bit_exact for result in results)
        return equal, [replace(p, ticks=0, stack_used=0) for result in results for p in result.puzzles]

    def judge(self, case: Case) -> str:
        """What a case ends in: "right", or "exit 7" or "exit 8"; an AssertionError when it is anything else."""
        try:
            _, got = self.converse(case.lie)
        except RecurcError as e:
            assert e.exit_code in (7, 8) and e.paragraph().isprintable(), f"exit {e.exit_code}: {e}"
            return f"exit {e.exit_code}"
        bit_exact = got[0][0]
        if got == self.truth:
            assert not case.must_fail, "the lie was not found"
            return "right"
        assert not bit_exact, "a false bit-exact"
        return "exit 8"


# -- lies -------------------------------------------------------------------------------------------------------------------


def values(code: str, truth: object, rng: random.Random) -> list:
    """Other values of a field of `struct`'s code."""
    if code.endswith("s"):
        size = int(code[:-1])
        others = [
            bytes(size),
            b"\xff" * size,
            rng.randbytes(size),
            bytes([truth[0] ^ 1]) + truth[1:],  # type: ignore[index]
            truth[:-1] + bytes([truth[-1] ^ 0x80]),
        ]  # type: ignore[index]
        if size % 4 == 0:
            floats = (float("nan"), float("inf"), float("-inf"), -0.0, 1e38)
            others += [struct.pack("<f", x) * (size // 4) for x in floats]
    elif code == "f":
        assert isinstance(truth, float)
        others = [0.0, -truth, float(np.nextafter(np.float32(truth), np.float32(9e9))), *map(float, ("nan", "inf", "-inf"))]
    else:
        most = (1 << 8 * struct.calcsize("<" + code)) - 1
        assert isinstance(truth, int)
        others = [
            0,
            1,
            2,
            most,
            most >> 1,
            (most >> 1) + 1,
            truth + 1,
            truth - 1,
            truth ^ 1,
            truth ^ (most + 1 >> 1),
            rng.randrange(most + 1),
        ]
        others = [x for x in others if 0 <= x <= most]
    return [x for i, x in enumerate(others) if x != truth and x not in others[:i]]


def bodies(layout: f.Layout, frame: f.Frame, rng: random.Random) -> Iterator[tuple[str, str, bytes]]:
    """(field, what, body) with one thing of a frame changed."""
    head, tail = frame.body[: layout.size], frame.body[layout.size :]
    truth = layout.unpack(frame.body)
    for field, code in layout.fields:
        for value in values(code, truth[field], rng):
            yield field, repr(value)[:40], layout.pack({**truth, field: value}) + tail
    body = frame.body
    yield "body", "empty", b""
    for name, other in (
        ("cut", body[:-1]),
        ("halved", body[: len(body) // 2]),
        ("longer", body + b"\0"),
        ("longest", (body + bytes(1024))[:1024]),
        ("noise", rng.randbytes(len(body))),
    ):
        yield "body", name, other
    if layout.tail == "names":
        for name, n in (
            ("none", b"\0\0"),
            ("escape", b"\x08\x1b]0;x\x07\n\r\x03abc"),
            ("utf-8", b"\x02\xc3\xa4\x02\xff\xfe"),
            ("too long", b"\xff" + b"a" * 255 + b"\0"),
            ("longest", b"\x1f" + b"a" * 31 + b"\x1f" + b"b" * 31),
            ("cut", tail[:3]),
            ("more", tail + b"x"),
            ("256", b"\x20" + b"a" * 32 + b"\0"),
        ):
            yield "names", name, head + n
    if layout.tail == "data" and tail:
        for name, n in (
            ("bit", bytes([tail[0] ^ 1]) + tail[1:]),
            ("last bit", tail[:-1] + bytes([tail[-1] ^ 128])),
            ("zeros", bytes(len(tail))),
            ("NaN", b"\xff" * len(tail)),
            ("shorter", tail[:-1]),
            ("none", b""),
            ("longer", tail + b"\0"),
            ("turned", tail[::-1]),
        ):
            yield "data", name, head + n


def nth(number: int, said: bytes | Flood) -> Lie:
    return lambda i, frame: said if i == number else None


def always(kind: int, change: Callable[[f.Frame], bytes]) -> Lie:
    return lambda i, frame: f.encode(replace(frame, body=change(frame))) if frame.type == kind else None


def field_lies(scene: Scene, rng: random.Random) -> Iterator[Case]:
    """Every field of every frame that the device sends: told otherwise once, and each time."""
    for kind, layout in f.LAYOUTS.items():
        places = [i for i, frame in enumerate(scene.frames) if frame.type == kind]
        if not places:
            continue
        first, last = places[0], places[-1]
        for place in sorted({first, rng.choice(places), last}):
            frame = scene.frames[place]
            for field, what, body in bodies(layout, frame, rng):
                said = f.encode(replace(frame, body=body))
                yield Case(f"{layout.name} {place} {field} = {what}", nth(place, said))
        for field, code in layout.fields:
            for value in values(code, layout.unpack(scene.frames[first].body)[field], rng):

                def change(frame: f.Frame, layout: f.Layout = layout, field: str = field, value: object = value) -> bytes:
                    return layout.pack({**layout.unpack(frame.body), field: value}) + frame.body[layout.size :]

                differs = any(change(scene.frames[i]) != scene.frames[i].body for i in places)
                found = differs and not scene.changed and (layout.name, field) not in FREE
                yield Case(f"{layout.name} always {field} = {value!r:.40}", always(kind, change), found)


def injected(scene: Scene, rng: random.Random) -> Iterator[Case]:
    """Frames that an honest device has no reason for, before and instead of those it sends."""
    samples = {f.NAK: [struct.pack("<BB", s, k) for s in (*range(len(f.STATUS_TEXT) + 1), 255) for k in (0, f.RUN, f.READ)],
               f.BOOT: [bytes([c, s]) for c in (0, 4, 9, 255) for s in (0, 6, 255)],
               f.FAULT: [f.LAYOUTS[f.FAULT].pack({**dict.fromkeys(dict(f.LAYOUTS[f.FAULT].fields), 0), n: v})
                         for n in dict(f.LAYOUTS[f.FAULT].fields) for v in (0, 1, 3, 0x8000, 0xFFFFFFFF)]}  # fmt: skip
    for kind, good in samples.items():
        for body in [*good, b"", b"x", bytes(1024)]:
            place = rng.randrange(len(scene.frames))
            frame = scene.frames[place]
            for seq in (0, frame.seq):
                one, name = f.encode(f.Frame(kind, seq, body)), f"{f.LAYOUTS[kind].name} {body[:8].hex()} of {seq}"
                yield Case(f"{name} instead of {place}", nth(place, one))
                yield Case(f"{name} before {place}", nth(place, one + f.encode(frame)))
                yield Case(f"{name} always", lambda i, fr, b=body, k=kind, s=seq: f.encode(f.Frame(k, fr.seq if s else 0, b)))


def frame_lies(scene: Scene, rng: random.Random) -> Iterator[Case]:
    """Every frame of the conversation: lost, doubled, late, of another number or type, cut off, followed by a flood."""
    step = f.LAYOUTS[f.STEP]
    for place, frame in enumerate(scene.frames):
        made, after = f.encode(frame), scene.frames[(place + 1) % len(scene.frames)]
        name = f"frame {place} ({f.LAYOUTS[frame.type].name})"
        for what, said in (
            ("lost", b""),
            ("twice", made * 2),
            ("a hundred times", made * 100),
            ("next one first", f.encode(after) + made),
            ("cut", made[: len(made) // 2]),
            ("noise", rng.randbytes(50) + b"\0"),
            ("after noise", rng.randbytes(3000) + made),
            ("without end", made[:-1]),
            ("unplugged", Flood(None)),
            ("silent", Flood(b"", 100.0)),
            ("endless zeros", Flood(bytes(4096))),
            ("endless bytes", Flood(b"\x55" * 65536)),
            ("a byte a while", Flood(b"\x03", 1.5)),
            ("endless noise", Flood(rng.randbytes(2048))),
            ("endlessly itself", Flood(made * 20)),
            ("slowly itself", Flood(made, 1.9)),
        ):
            yield Case(f"{name} {what}", nth(place, said))
        for seq in {0, 1, 255, frame.seq - 1 & 255, frame.seq + 1 & 255} - {frame.seq}:
            yield Case(f"{name} of number {seq}", nth(place, f.encode(replace(frame, seq=seq))))
        for kind in {*f.LAYOUTS, f.RUN, f.HELLO, 0, 0x55} - {frame.type}:
            yield Case(f"{name} of type {kind:#04x}", nth(place, f.encode(replace(frame, type=kind))))
        if frame.type in (f.STEP, f.RUN | f.REPLY):  # STEPs on and on, with numbers that rise, stay or jump
            for what, numbers in (("rising", range(1, 300)), ("the same", [1] * 300), ("jumping", range(1, 60000, 200))):
                v = {**dict.fromkeys(dict(step.fields), 0), "q_bytes": bytes(8)}
                chunk = b"".join(f.encode(f.Frame(f.STEP, frame.seq, step.pack({**v, "step": n}))) for n in numbers)
                yield Case(f"{name} then endless STEPs, {what}", nth(place, Flood(chunk)))
                stale = b"".join(f.encode(f.Frame(f.STEP, 77, step.pack({**v, "step": n}))) for n in numbers)
                yield Case(f"{name} then endless STEPs of another run, {what}", nth(place, Flood(stale, 1.9)))
        if frame.type == f.RUN | f.REPLY:  # ends early, and says so consistently
            v = f.LAYOUTS[frame.type].unpack(frame.body)
            for n in range(v["steps"]):
                short = f.LAYOUTS[frame.type].pack({**v, "steps": n, "total_steps": max(0, v["total_steps"] - v["steps"] + n)})
                yield Case(f"{name} after {n} steps", nth(place, f.encode(replace(frame, body=short))))


class EarlyEnd:
    """Each RUN ends after one step: later STEPs are kept back, and RESULT says that there were no more."""

    def __init__(self) -> None:
        self.first: f.StepEvent | None = None

    def __call__(self, i: int, frame: f.Frame) -> bytes | None:
        if frame.type == f.STEP:
            event = f.parse_step(frame.body)
            if self.first is not None:
                return b""
            self.first = event
        if frame.type == f.RUN | f.REPLY and self.first is not None:
            v = f.LAYOUTS[frame.type].unpack(frame.body)
            v |= {"steps": 1, "total_steps": self.first.step, "ticks": self.first.ticks, "halted": 0}
            self.first = None
            return f.encode(replace(frame, body=f.LAYOUTS[frame.type].pack(v)))
        return None


def cases(scene: Scene, seed: int) -> Iterator[Case]:
    """All lies of a scene."""
    rng = random.Random(seed)
    yield from field_lies(scene, rng)
    yield from injected(scene, rng)
    yield from frame_lies(scene, rng)
    yield Case("every run ends after a step", EarlyEnd(), not scene.changed)


def scenes(folder: Path) -> list[Scene]:
    """A plain model; one with rows over the wire, an int8 carry and halting; one whose device computes something else."""
    return [
        Scene(folder, "plain"),
        Scene(folder, "rows", ("DUMMY_TABLE=2", "DUMMY_CARRY=2"), Halt(-3.0)),
        Scene(folder, "another device", changed=True),
    ]


def run(folder: Path, every: int = 1, part: int = 0, seed: int = 0, seconds: int = 120) -> tuple[Counter, list[str]]:
    """Outcomes by scene, and failures in words."""
    counts: Counter = Counter()
    failed = []

    def too_long(*_: object) -> None:
        raise AssertionError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for scene in scenes(folder):
            for number, case in enumerate(cases(scene, seed)):
                if number % every != part:
                    continue
                signal.alarm(seconds)
                try:
                    counts[scene.name, scene.judge(case)] += 1
                except Exception as e:  # what the command line would call a bug
                    failed.append(f"{scene.name}: {case.name}: {type(e).__name__}: {e}"[:300])
                finally:
                    signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, before)
    return counts, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="run each so many-th case only")
    parser.add_argument("--part", type=int, default=0, help="which of those, from 0: for several processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, failed = run(Path(folder), args.every, args.part, args.seed)
    for (scene, outcome), n in sorted(counts.items()):
        print(f"{scene:16} {outcome:8} {n:>7,}")
    print(f"{sum(counts.values()) + len(failed):,} lies in {time.monotonic() - started:.0f} s, {len(failed)} not answered for")
    for text in failed[:60]:
        print(" ", text)
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
