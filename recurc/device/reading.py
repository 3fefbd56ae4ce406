"""Who a device is and what its tensors hold, held against what the build says and what the device told of them before."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from recurc.device import frames as f
from recurc.device.expected import MOST_TENSOR, Expected, changed, tensor_bytes
from recurc.device.link import Link
from recurc.errors import MismatchError


class Reader(Link):
    """A link whose device has been asked who it is; `info` is its answer, `expected` what the build says of it."""

    info: f.Hello | None = None
    expected: Expected | None = None
    _event: f.StepEvent | None = None  # of the state that tensors are read in, where a step has ended it
    _carry_crc: int | None = None  # of that state
    _answer_crc: int | None = None  # of the answer that SOLVE has ended with, until the model goes on
    _input_crc = 0  # of the row that it was given

    def expect(self, expected: Expected) -> None:
        """Hold whatever answers, now and later, against what the build says of its firmware.

        Raises:
            MismatchError: what has answered already differs; the field and both values are named.
        """
        self.expected = expected
        if self.info:
            self._check_hello(self.info)

    def _check_hello(self, info: f.Hello) -> None:
        why = self.expected.difference(info) if self.expected else None
        if why:
            raise self._differs("the device's firmware is not as the build says", why)
        why = changed(self.info, info) if self.info else None
        if why:
            raise self._differs("the device changed in the middle of the session", why)

    def _new_state(self, event: f.StepEvent | None = None, carry_crc: int | None = None) -> None:
        self._event, self._carry_crc = event, event.carry_crc if event else carry_crc
        self._answer_crc = None

    def hello(self) -> f.Hello:
        """Ask the device who it is.

        Raises:
            DeviceUnreachableError: no answer.
            MismatchError: it is a firmware of another protocol version, not as expected, or no longer the one that answered
                first.
        """
        self._greeted = False
        body = self._request(f.HELLO, struct.pack("<H", f.VERSION))
        version = self._parsed(f.hello_version, body, "HELLO")
        if version != f.VERSION:
            raise MismatchError(
                "the device's firmware speaks another protocol version", where=self.transport.description,
                why=f"it speaks version {version}, this recurc {f.VERSION}",
                next="Build and flash again with this recurc, or use the recurc that the firmware was built with",
            )  # fmt: skip
        info = self._parsed(f.parse_hello, body, "HELLO")
        self._check_hello(info)
        self.info, self._greeted = info, True
        return info

    def read_tensor(self, name: str) -> np.ndarray:
        """A tensor of the last step, flat: uint8 for "tokens" and "input", float32 for all others.

        "z_H" and "z_L" are decoded to float32 from whatever type the device stores the carry in.

        Raises:
            As `read_raw`.
        """
        if name not in f.CARRY_SCALES:
            return np.frombuffer(self.read_raw(name), dtype=f.TENSOR_TYPES.get(name, "<f4"))
        carry = (self.info or self.hello()).carry
        parts = self.read_carry()  # all of them, since the checksum is of all
        return f.decode_carry(carry, parts[name], parts.get(f.CARRY_SCALES[name], b""))

    def read_carry(self, columns: bool = False) -> dict[str, bytes]:
        """All parts of the carry as the device stores them, by name, held against the checksum that it told of them.

        Args:
            columns: within a step, whether the last op has left a tensor with scales a channel.

        Raises:
            As `read_raw`.
        """
        carry = (self.info or self.hello()).carry
        names = (n for n in f.CARRY_PARTS if (n != "columns" or columns) and (carry == "int8" or n in f.CARRY_SCALES))
        parts = {name: self.read_raw(name) for name in names}
        self._check_sent("the carry", zlib.crc32(b"".join(parts.values())), self._carry_crc)
        return parts

    def read_raw(self, name: str) -> bytes:
        """The bytes of a tensor of the last step, as the device stores them. Its size is the build's, whatever is sent.

        Raises:
            DeviceRefusedError: nothing has run yet, or the model has no such tensor.
            MismatchError: the device sends another size or piece than was asked for, or not what it told the checksum of.
        """
        ident, total = f.TENSORS[name], tensor_bytes(self.info or self.hello(), name)
        self._read(name, ident, 0, 0, total)  # tells the size
        data = b""
        while total is not None and len(data) < total:
            data += self._read(name, ident, len(data), min(f.MAX_READ, total - len(data)), total)
        if event := self._event:
            told = {"logits": event.logits_crc, "tokens": event.tokens_crc, "q": zlib.crc32(event.q_bytes),
                    "input": self._input_crc, "answer": self._answer_crc}  # fmt: skip
            self._check_sent(f"its {name}", zlib.crc32(data), told.get(name))
        return data

    def _read(self, name: str, ident: int, at: int, length: int, total: int | None) -> bytes:
        """One READ: `length` bytes from `at`; `total`: of the whole tensor, None where there should be none."""
        if total is not None and total > MOST_TENSOR:
            raise self._differs("the device claims a tensor that no device holds", f"its {name} would have {total} bytes")
        body = self._request(f.READ, struct.pack("<BIH", ident, at, length))
        offset, size = self._parsed(f.parse_data, body, "reply to READ")
        piece = body[f.READ_HEADER :]
        if size != total:
            wanted = "has none" if total is None else f"has {total}"
            why = f"its {name} has {size} bytes, the model's {wanted}"
            raise self._differs("the device's tensors are not the model's", why)
        if (offset, len(piece)) != (at, length):
            raise self._differs("the device's reply is not to what was asked", f"READ of {length} bytes of {name} from {at} is "
                                f"answered by {len(piece)} from {offset}")  # fmt: skip
        return piece

    def _check_sent(self, what: str, crc: int, told: int | None) -> None:
        if told is not None and crc != told:
            raise self._differs("the device sends other data than it told the checksum of",
                                f"{what} has CRC-32 {crc:08x} as sent, {told:08x} as told")  # fmt: skip
