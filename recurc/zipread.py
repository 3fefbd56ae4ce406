"""The members of a zip file, without belief in what its directory claims: `torch.save` and `np.savez` write such files."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from recurc.reading import Unreadable, read_part, shown, size_of

_END = struct.Struct("<4s4H2IH")
_END_64_PLACE = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_END_MAGIC, _PLACE_MAGIC, _END_64_MAGIC, _ENTRY_MAGIC, _LOCAL_MAGIC = b"PK\5\6", b"PK\6\7", b"PK\6\6", b"PK\1\2", b"PK\3\4"
_FULL = 0xFFFFFFFF  # stands for a number in the 64-bit extra field
_DEFLATE = 8
_MEMBERS = 50_000
_DIRECTORY = 16 << 20  # bytes
_NAME = 512


@dataclass(frozen=True)
class Member:
    """A member by the zip's directory: its name, bytes in the file and unpacked, and where its own header is."""

    name: str
    packed: int
    bytes: int
    header: int


class ZipMembers:
    """Directory of an open zip file.

    Args:
        packed: take compressed members too.

    Raises:
        Unreadable: no zip, truncated, too many members, or members that are encrypted, compressed (where that is not taken) or
            twice there.
    """

    def __init__(self, file: BinaryIO, packed: bool = False) -> None:
        self._file, self._size, self._packed = file, size_of(file), packed
        self.members: dict[str, Member] = {}
        self._deflated: set[str] = set()
        at, length, count = self._directory()
        self._start = at
        data = read_part(file, at, length)
        position = 0
        for _ in range(count):
            position = self._entry(data, position)

    def place(self, name: str) -> tuple[int, int]:
        """(offset in the file, bytes there) of a member.

        Raises:
            Unreadable: there is none, or the directory lies about it.
        """
        member = self.members.get(name)
        if member is None:
            raise Unreadable(f"it has no member {shown(name)}: it is truncated or damaged")
        if member.header + _LOCAL.size > self._start:
            raise Unreadable(f"member {shown(name)} lies outside the file")
        magic, _, _, _, _, _, _, _, _, long, extra = _LOCAL.unpack(read_part(self._file, member.header, _LOCAL.size))
        begin = member.header + _LOCAL.size
        if magic != _LOCAL_MAGIC or read_part(self._file, begin, long) != name.encode():
            raise Unreadable(f"the directory lies about member {shown(name)}")
        begin += long + extra
        if begin + member.packed > self._start:
            raise Unreadable(f"member {shown(name)} claims {member.packed} bytes and does not have them")
        return begin, member.packed

    def read(self, name: str, limit: int) -> bytes:
        """A member's bytes, unpacked.

        Raises:
            Unreadable: as for `place`, damaged, or more than `limit` bytes.
        """
        begin, size = self.place(name)
        member = self.members[name]
        if member.bytes > limit:
            raise Unreadable(f"member {shown(name)} has more than {limit:,} bytes")
        data = read_part(self._file, begin, size)
        if name in self._deflated:
            try:
                data = zlib.decompressobj(-15).decompress(data, member.bytes + 1)
            except zlib.error:
                raise Unreadable(f"member {shown(name)} is damaged") from None
        if len(data) != member.bytes:
            raise Unreadable(f"member {shown(name)} has not the size that the directory says")
        return data

    def _directory(self) -> tuple[int, int, int]:
        """(offset, bytes, members) of the directory."""
        tail = read_part(self._file, max(0, self._size - 65_557), min(self._size, 65_557))
        found = tail.rfind(_END_MAGIC)
        if found < 0 or len(tail) - found < _END.size:
            raise Unreadable("the end of the file is missing: it is truncated, or no file of torch.save")
        end = self._size - len(tail) + found
        _, disk, _, here, count, length, at, _ = _END.unpack_from(tail, found)
        place = end - _END_64_PLACE.size
        if place >= 0:
            magic, _, end_64, _ = _END_64_PLACE.unpack(read_part(self._file, place, _END_64_PLACE.size))
            if magic == _PLACE_MAGIC:
                if end_64 + _END_64.size > place:
                    raise Unreadable("its directory lies outside the file")
                fields = _END_64.unpack(read_part(self._file, end_64, _END_64.size))
                magic, disk, here, count, length, at, end = fields[0], fields[4], *fields[6:10], end_64
                if magic != _END_64_MAGIC:
                    raise Unreadable("the end of its directory is damaged")
        if disk or here != count or at + length > end:
            raise Unreadable("its directory lies outside the file")
        if count > _MEMBERS or length > _DIRECTORY:
            raise Unreadable(f"it has more than {_MEMBERS:,} members")
        return at, length, count

    def _entry(self, data: bytes, at: int) -> int:
        """Take the directory's entry at a position; returns that of the next."""
        if at + _ENTRY.size > len(data) or data[at : at + 4] != _ENTRY_MAGIC:
            raise Unreadable("its directory is damaged")
        _, _, _, flags, method, _, _, _, packed, size, long, extra, comment, _, _, _, header = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        try:
            name = data[at : at + long].decode()
        except UnicodeDecodeError:
            raise Unreadable("a member's name is not UTF-8") from None
        more = data[at + long : at + long + extra]
        after = int(at + long + extra + comment)
        if after > len(data) or long > _NAME:
            raise Unreadable("its directory is damaged")
        if name in self.members:
            raise Unreadable(f"member {shown(name)} is there twice")
        if flags & 1:
            raise Unreadable(f"member {shown(name)} is encrypted")
        if method and not (self._packed and method == _DEFLATE):
            raise Unreadable(f"member {shown(name)} is compressed in a way that is not read here")
        size, packed, header = _wide(more, size, packed, header)
        if method:
            self._deflated.add(name)
        elif size != packed:
            raise Unreadable(f"the directory gives member {shown(name)} two sizes")
        self.members[name] = Member(name, packed, size, header)
        return after


def _wide(extra: bytes, *numbers: int) -> list[int]:
    """The numbers, those that do not fit 32 bits from the 64-bit extra field."""
    at, field = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
        at += 4 + length
    found, at = [], 0
    for number in numbers:
        if number == _FULL:
            if at + 8 > len(field):
                raise Unreadable("its directory is damaged")
            number = int.from_bytes(field[at : at + 8], "little")
            at += 8
        found.append(number)
    return found
