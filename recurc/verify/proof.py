"""The proof that a device holds the build's bytes: it hashes them behind a nonce of ours, and we do the same.

Identities in HELLO are constants of the firmware and prove nothing; checksums (CRC-32) can be forged. A fresh nonce before the
bytes makes an answer that was stored beforehand useless: whoever answers rightly has all the bytes. It does not prove that the
program which answers is ours, for a program can lie about which bytes it runs.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from recurc.build.manifest import BoardArtifact, Build, mapped_table
from recurc.device.frames import status_text
from recurc.device.selftest import NONCE_BYTES
from recurc.device.session import DeviceSession
from recurc.documents.commands import ProofEntry, ProvenPiece
from recurc.errors import InputError, MismatchError
from recurc.plan.selftest import selftest_cost
from recurc.reading import Unreadable, clause, open_regular
from recurc.targets.boards import Board

IMAGE, TABLE = "weights image", "puzzle table"
CHECKED = "sha256 computed on the device"  # else: "CRC only"
_LEAST_SECONDS, _MARGIN = 20.0, 20.0  # a clock may be slower than its board file says, and its flash too
_EMULATED_BYTES_A_SECOND = 20_000.0  # an emulator on a busy computer


@dataclass(frozen=True)
class Proven:
    """A piece of the device's memory that is the build's: bytes, CRC-32, sha256 of nonce and bytes."""

    name: str
    bytes: int
    crc: int
    sha256: str


@dataclass(frozen=True)
class Proof:
    """What a device proved, with which nonce (hexadecimal).

    `seconds`: an estimate of the time that it takes on the board `clocked`, which is the one that answered, or the build's
    target where that is emulated; None: unknown.
    """

    nonce: str
    pieces: tuple[Proven, ...]
    seconds: float | None
    clocked: str

    @property
    def bytes(self) -> int:
        return sum(piece.bytes for piece in self.pieces)

    def as_dict(self) -> ProofEntry:
        """For JSON."""
        return {
            "checked": CHECKED,
            "nonce": self.nonce,
            "bytes": self.bytes,
            "estimated_seconds": self.seconds,
            "estimated_on": self.clocked,
            "pieces": [cast(ProvenPiece, vars(piece)) for piece in self.pieces],
        }


def memory_files(build: Build, board: Board, artifact: BoardArtifact) -> dict[str, Path]:
    """Files of a build whose bytes a board's memory holds as they are."""
    table = mapped_table(build, board.name)
    return {IMAGE: artifact.image, **({TABLE: table[0]} if table else {})}


def sums(path: Path, nonce: bytes = b"") -> tuple[int, int, bytes]:
    """Size, CRC-32 and sha256(nonce, bytes) of a file, read in pieces.

    Raises:
        InputError: it cannot be read.
    """
    size, crc, digest = 0, 0, hashlib.sha256(nonce)
    try:
        with open_regular(path) as file:
            while chunk := file.read(1 << 20):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
                digest.update(chunk)
    except (OSError, Unreadable) as e:
        raise InputError("a file of the build cannot be read", where=str(path), why=clause(e), next="Build again") from e
    return size, crc, digest.digest()


def prove(session: DeviceSession, build: Build, board: Board, artifact: BoardArtifact) -> Proof:
    """Let a device prove that its weights, and its puzzle table where it lies in its memory, are the build's.

    The carry is lost. Waits for an answer as long as the number of bytes and the board's clock allow, with a margin.

    Raises:
        MismatchError: other bytes. DeviceUnreachableError: no answer in time. InputError: a file of the build cannot be read.
    """
    nonce = os.urandom(NONCE_BYTES)
    wanted = {name: sums(path, nonce) for name, path in memory_files(build, board, artifact).items()}
    sizes = {name: size for name, (size, _, _) in wanted.items()}
    clocked = board if board.emulator is None else build.board(build.target)
    seconds = estimated_seconds(build, clocked, sizes)
    waiting = patience(board, sum(sizes.values()), seconds)
    told = session.persist(lambda: session.selftest(nonce, waiting), attempts=2)
    if told.status:
        raise MismatchError(
            "the device refuses its weights image", where=board.name, why=status_text(told.status), next="Flash it again"
        )
    pieces = []
    for name, answer in (
        (IMAGE, (told.image_bytes, told.image_crc, told.image_sha256)),
        (TABLE, (told.table_bytes, told.table_crc, told.table_sha256)),
    ):
        right = wanted.get(name, (0, 0, bytes(32)))
        if answer != right:
            raise _differs(name, answer, right, session.transport.description)
        if name in wanted:
            pieces.append(Proven(name, right[0], right[1], right[2].hex()))
    return Proof(nonce.hex(), tuple(pieces), seconds, clocked.name)


def _differs(name: str, told: tuple[int, int, bytes], wanted: tuple[int, int, bytes], where: str) -> MismatchError:
    if told[:2] != wanted[:2]:
        why = "it has {:,} bytes with CRC-32 {:08x}, the build's has {:,} with {:08x}".format(*told[:2], *wanted[:2])
    else:
        why = (
            f"sizes and checksums agree, but the sha256 that it computed over {told[0]:,} bytes is {told[2].hex()[:16]}…, "
            f"over the build's it is {wanted[2].hex()[:16]}…: the bytes were changed and their checksums mended, or it does "
            "not hash what it holds"
        )
    said = "weights are" if name == IMAGE else "puzzle table is"
    return MismatchError(
        f"the device's {said} not the build's",
        where=f"{name} of {where}",
        why=why,
        next="Flash the build again; if it stays so, look at the flash chip and its supply",
    )


def estimated_seconds(build: Build, board: Board, sizes: dict[str, int]) -> float | None:
    """An estimate of the time that hashing takes on a board; None where its clock or core says nothing."""
    plan = build.details["boards"][board.name].get("plan")
    weights = next((r["name"] for r in plan["regions"] if "weights" in r["parts"]), None) if plan else None
    table = plan["table"] if plan else None
    regions = {IMAGE: weights, TABLE: table["region"] if table else None}
    return selftest_cost(board, {name: (size, regions[name]) for name, size in sizes.items()}).seconds


def patience(board: Board, size: int, seconds: float | None) -> float:
    """Seconds until a device that does not answer is given up: bounded by the number of bytes."""
    if board.emulator is not None or seconds is None:
        return _LEAST_SECONDS + size / _EMULATED_BYTES_A_SECOND
    return _LEAST_SECONDS + _MARGIN * seconds


__all__ = ["CHECKED", "IMAGE", "Proof", "Proven", "TABLE", "memory_files", "prove", "sums"]
