"""Pickles of tensors and plain containers, read as data: nothing that they name is imported or called.

A `torch.save` file's pickle describes each tensor by its storage, offset, shape and strides. They are taken as they stand
there, and checked by who reads the storages.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from recurc.reading import Unreadable, clause, shown

_OPCODES = 500_000  # a state dict has 30 a tensor; an empty container takes 60 bytes of memory for one of the file
_LONGEST = 64 << 20  # bytes of a pickle
_AXES = 16
_BITS = 128  # of a whole number; the longest in a file of torch.save, its mark, has 77
_REBUILD = "torch._utils._rebuild_"
NUMPY_ARRAY = "a NumPy array"
_NUMPY_ARRAYS = tuple(
    f"numpy.{core}.{made}" for core in ("core", "_core") for made in ("multiarray._reconstruct", "numeric._frombuffer")
)
_PLAIN = (
    "collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.bytearray", "builtins.set",
    "builtins.complex", "__builtin__.bytearray", "__builtin__.set", "__builtin__.complex", "torch.serialization._get_layout",
    "torch.nn.parameter.Parameter", "torch._tensor._rebuild_from_type_v2", "torch.nn.parameter.UninitializedParameter",
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names: "module.name"."""

    text: str


@dataclass(eq=False)
class Opaque:
    """Something that was not built: what it is, in words."""

    kind: str


@dataclass(eq=False)
class Storage:
    """A storage as the pickle names it: its key, NumPy-like name of its type ("" for bytes), number of values or bytes."""

    key: str
    dtype: str
    count: int


@dataclass(eq=False)
class Stored:
    """A tensor as the pickle describes it: offset and strides count values of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Window:
    """The next bytes of a stream, no more than a pickle may have."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left = stream, _LONGEST

    def read(self, count: int) -> bytes:
        data = self._stream.read(count if count < self._left else self._left)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        data = self._stream.readline(min(self._left, 1 << 16))
        self._left -= len(data)
        return data


@dataclass
class Pickle:
    """What a pickle holds: its value, and the names of code in it that is no part of a state dict."""

    value: Any = None
    foreign: list[str] = field(default_factory=list)


def read_pickle(stream: BinaryIO) -> Pickle:
    """The next pickle of a stream. Where it names foreign code, that is in `foreign` even if the rest is damaged.

    Raises:
        Unreadable: truncated, damaged or too large.
    """
    reader = _Reader()
    try:
        reader.run(stream)
    except Unreadable:
        if not reader.found.foreign:
            raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, EOFError) as error:
        if not reader.found.foreign:
            raise Unreadable(f"it is truncated or damaged ({clause(error, 100)})") from None
    return reader.found


class _Reader:
    """The stack machine. Opcodes that it does not know are of no file of torch.save."""

    def __init__(self) -> None:
        self.found = Pickle()
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def run(self, stream: BinaryIO) -> None:
        window = _Window(stream)
        for _ in range(_OPCODES + 1):
            name, argument = _step(window)
            if name in _ACTS:
                _ACTS[name](self)
            elif name in _TAKEN:
                _TAKEN[name](self, argument)
            elif name == "STOP":
                self.found.value = self._stack.pop()
                return
            elif name not in ("PROTO", "FRAME"):
                raise Unreadable(f"it is damaged, or no file of torch.save (its pickle has a step {name})")
        raise Unreadable(f"its pickle has more than {_OPCODES:,} steps, a state dict has thousands")

    def push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > _BITS:
            raise Unreadable(f"it is damaged: a number in its pickle has {value.bit_length()} bits")
        self._stack.append(value)

    def recall(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def pop(self) -> None:
        self._stack.pop()

    def duplicate(self) -> None:
        self._stack.append(self._stack[-1])

    def tuple_of(self, count: int) -> None:
        items = self._stack[len(self._stack) - count :]
        if len(items) != count:
            raise IndexError("stack")
        self._stack[len(self._stack) - count :] = [tuple(items)]

    def collect(self, kind: Callable[[list[Any]], Any]) -> None:
        items = self.to_mark()
        self._stack.append(kind(items))

    def append(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError("no list to append to")
        self._stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            if not isinstance(target, Opaque):
                raise TypeError("no table to fill")
            return
        _fill(target, items)

    def name(self, text: str) -> None:
        module, _, _ = text.rpartition(".")
        data = text in _PLAIN or text.startswith(_REBUILD) or module in ("torch", "torch.storage")
        if not data:
            self.found.foreign.append(text)
        self._stack.append(Name(text))

    def stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name is no text")
        self.name(f"{module}.{name}")

    def call(self) -> None:
        args = self._stack.pop()
        self._stack[-1] = _called(self._stack[-1], args)

    def build(self) -> None:
        self._stack.pop()  # attributes of an OrderedDict, and the state of what was not built

    def storage(self) -> None:
        self._stack.append(_storage(self._stack.pop()))


# What a step does, by its name: those that take no argument, and those that take one.
_ACTS: dict[str, Callable[[_Reader], None]] = {
    "MARK": _Reader.mark, "POP": _Reader.pop, "POP_MARK": lambda r: r.to_mark().clear(), "DUP": _Reader.duplicate,
    "TUPLE": lambda r: r.collect(tuple), "TUPLE1": lambda r: r.tuple_of(1), "TUPLE2": lambda r: r.tuple_of(2),
    "TUPLE3": lambda r: r.tuple_of(3), "LIST": lambda r: r.collect(list), "FROZENSET": lambda r: r.collect(list),
    "DICT": lambda r: r.collect(lambda items: _fill({}, items)), "APPEND": lambda r: r.append([r._stack.pop()]),
    "APPENDS": lambda r: r.append(r.to_mark()), "ADDITEMS": lambda r: r.append(r.to_mark()),
    "SETITEM": lambda r: r.set_items([r._stack.pop(), r._stack.pop()][::-1]), "SETITEMS": lambda r: r.set_items(r.to_mark()),
    "STACK_GLOBAL": _Reader.stack_name, "REDUCE": _Reader.call, "NEWOBJ": _Reader.call, "BUILD": _Reader.build,
    "BINPERSID": _Reader.storage, "MEMOIZE": lambda r: r.remember(len(r._memo)), "NONE": lambda r: r.push(None),
    "NEWTRUE": lambda r: r.push(True), "NEWFALSE": lambda r: r.push(False), "EMPTY_TUPLE": lambda r: r.push(()),
    "EMPTY_LIST": lambda r: r.push([]), "EMPTY_DICT": lambda r: r.push({}), "EMPTY_SET": lambda r: r.push([]),
}  # fmt: skip
_TAKEN: dict[str, Callable[[_Reader, Any], None]] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
                     "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING", "SHORT_BINSTRING",
                     "INT", "LONG", "FLOAT", "UNICODE", "STRING"), _Reader.push),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), _Reader.recall),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), _Reader.remember),
    "GLOBAL": lambda r, text: r.name(text.replace(" ", ".")),
}  # fmt: skip
_STEPS: dict[bytes, tuple[str, Callable[[Any], Any] | None]] = {
    code.code.encode("latin-1"): (code.name, code.arg.reader if code.arg else None) for code in pickletools.opcodes
}


def _step(window: _Window) -> tuple[str, Any]:
    """(the name of a pickle's next step, its argument). `pickletools.genops` gives the same at half the pace.

    Raises:
        ValueError: the pickle ends before, or has no such step.
    """
    code = window.read(1)
    name, reader = _STEPS.get(code, ("", None))
    if not name:
        raise ValueError(f"opcode {code!r} unknown" if code else "pickle exhausted before seeing STOP")
    return name, reader(window) if reader else None


def _fill(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise TypeError("a key has no value")
    for key, value in zip(items[::2], items[1::2]):
        if isinstance(key, bytes):  # text of Python 2
            key = key.decode("utf-8", "replace")
        if not (key is None or isinstance(key, (str, int, float))):
            key = Opaque(f"a {type(key).__name__}")  # hashing it could take for ever
        if key in target:
            raise Unreadable(f"its pickle gives {shown(key)} twice")
        target[key] = value
    return target


def _called(function: Any, args: Any) -> Any:
    """What a pickled call gives, for the few calls that a state dict has; else something opaque."""
    if not isinstance(args, tuple):
        raise TypeError("arguments are no tuple")
    while isinstance(function, Name) and function.text == "torch._tensor._rebuild_from_type_v2":  # a tensor with attributes
        function, _, args, _ = args
        if not isinstance(args, tuple):
            raise TypeError("arguments are no tuple")
    if not isinstance(function, Name):
        raise TypeError("what is called is no name")
    text = function.text
    if text == "collections.OrderedDict":
        pairs = args[0] if args else []
        return _fill({}, [part for pair in pairs for part in (pair[0], pair[1])])
    if text == "torch.Size":
        return args[0] if args else ()
    if text in (_REBUILD + "parameter", _REBUILD + "parameter_with_state", "torch.nn.parameter.Parameter"):
        return args[0]
    if text in (_REBUILD + "tensor", _REBUILD + "tensor_v2"):
        return _tensor(args[0], args[0].dtype if isinstance(args[0], Storage) else "", *args[1:4])
    if text == _REBUILD + "tensor_v3":
        if not (isinstance(args[6], Name) and args[6].text.startswith("torch.")):
            raise TypeError("a tensor's type is no name")
        return _tensor(args[0], args[6].text.removeprefix("torch."), *args[1:4])
    if text == _REBUILD + "meta_tensor_no_storage":
        return Opaque("without values (it was on the device meta)")
    if text.startswith(_REBUILD):
        return Opaque(f"no plain tensor ({text.removeprefix(_REBUILD).replace('_', ' ')})")
    if text in _NUMPY_ARRAYS:
        return Opaque(NUMPY_ARRAY)
    return Opaque(f"a {text.rpartition('.')[2]}")


def _tensor(storage: Any, dtype: str, offset: Any, shape: Any, strides: Any) -> Stored | Opaque:
    if isinstance(storage, Opaque):
        return storage
    shape, strides = tuple(shape), tuple(strides)
    numbers = (offset, *shape, *strides)
    right = isinstance(storage, Storage) and len(shape) == len(strides) <= _AXES
    if not right or any(type(n) is not int or n < 0 for n in numbers):
        raise Unreadable("it is damaged: a tensor's shape, strides or offset are no numbers from 0")
    return Stored(storage, dtype, offset, shape, strides)


def _storage(identity: Any) -> Storage | Opaque:
    """What a persistent id stands for: ("storage", type, key, device, number of values) and, of old, a view."""
    kind, dtype, key, device, count, *view = identity
    kind, key, device = (part.decode("ascii") if isinstance(part, bytes) else part for part in (kind, key, device))
    right = kind == "storage" and isinstance(dtype, Name) and type(count) is int and count >= 0
    if not right or any(v is not None for v in view):
        raise Unreadable("it is damaged: a storage is not described as torch.save does")
    if device == "meta":
        return Opaque("without values (it was on the device meta)")
    if not isinstance(key, str):
        raise Unreadable("it is damaged: a storage's key is no text")
    return Storage(key, _TYPES.get(dtype.text.rpartition(".")[2], "unknown"), count)


_TYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128", "UntypedStorage": "",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
}  # fmt: skip
