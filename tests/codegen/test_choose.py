"""Two slots for an image: which one rc_choose takes, and which it refuses."""

from __future__ import annotations

import ctypes
import hashlib
import struct

import numpy as np
import pytest

from recurc.emit.image import build_image
from recurc.plan.kernels import kernel_set
from recurc.quant.model import quantize_model
from recurc.quant.weights import precision_named
from recurc.targets.host import _U8P, HostEngine, _aligned
from tests.build import forging
from tests.codegen.builder import compile_model
from tests.randmodels import random_reasoner
from tests.tools import need

OK, ARGUMENT, MAGIC, SIZE, CRC, MODEL, ALIGNMENT, CANCELLED, ROLLBACK, SIGNATURE = 0, 1, 2, 5, 6, 8, 9, 21, 23, 24
PORTABLE = kernel_set("portable")
TRUST = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, _U8P, _U8P, ctypes.c_uint32)
HOOK = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)


class Choice(ctypes.Structure):
    _fields_ = [("least", ctypes.c_uint32), ("trust", TRUST), ("user", ctypes.c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint32), ("hook", HOOK), ("user", ctypes.c_void_p)]


def image(seed: int, counter: int, **shape) -> bytes:
    model = quantize_model(random_reasoner(seed=seed, **shape), precision_named("int8"))
    return build_image(model, PORTABLE, counter).data


@pytest.fixture(scope="module")
def choose(tmp_path_factory, kernels_folder):
    """status, index of the chosen slot or None, statuses of the slots = choose(a, b, ...)."""
    need("host")
    model = quantize_model(random_reasoner(), precision_named("int8"))
    engine: HostEngine = compile_model(tmp_path_factory.mktemp("choose") / "m", model, shared=kernels_folder)

    def call(*slots, least=0, trust=None, options=None, shift=0):
        rooms, pointers = [], (_U8P * 2)()
        for i, data in enumerate(slots):
            if data is not None:
                room = _aligned(len(data) + 64)
                room[shift : shift + len(data)] = np.frombuffer(data, np.uint8)
                rooms.append(room)
                pointers[i] = room[shift:].ctypes.data_as(_U8P)
        chosen, told = _U8P(), (ctypes.c_uint32 * 2)()
        choice = Choice(least, TRUST(trust) if trust else TRUST(), None)
        status = engine._lib.rc_choose(
            pointers, ctypes.byref(choice), ctypes.byref(options) if options else None, ctypes.byref(chosen), told
        )
        address = ctypes.cast(chosen, ctypes.c_void_p).value
        places = [ctypes.cast(p, ctypes.c_void_p).value for p in pointers]
        return status, (places.index(address) if address else None), tuple(told)

    call.lib = engine._lib
    return call


OLD, NEW = image(1, 4), image(2, 5)


def bent(data: bytes, at: int = -1000) -> bytes:
    found = bytearray(data)
    found[at] ^= 1
    return bytes(found)


def test_the_newer_of_two_good_ones(choose):
    assert choose(OLD, NEW) == (OK, 1, (OK, OK)) and choose(NEW, OLD) == (OK, 0, (OK, OK))
    assert choose(OLD, image(2, 4)) == (OK, 0, (OK, OK)), "the first of equal ones"
    assert choose(image(1, 2**31), image(2, 2**32 - 1)) == (OK, 1, (OK, OK)), "counters have no sign"


def test_the_good_one_of_two(choose):
    assert choose(OLD, bent(NEW)) == (OK, 0, (OK, CRC)) and choose(bent(NEW), OLD) == (OK, 1, (CRC, OK))
    assert choose(OLD, None) == (OK, 0, (OK, ARGUMENT)) and choose(None, OLD) == (OK, 1, (ARGUMENT, OK))
    assert choose(OLD, bytes(len(NEW))) == (OK, 0, (OK, MAGIC)) == choose(OLD, b"\xff" * len(NEW)), "erased flash"
    half = NEW[: len(NEW) // 2] + b"\xff" * (len(NEW) - len(NEW) // 2)
    assert choose(OLD, half) == (OK, 0, (OK, CRC)), "the update was cut off"
    other = image(2, 9, vocab=8)
    assert choose(OLD, other.ljust(len(OLD), b"\0"))[:2] == (OK, 0)


def test_every_place_at_which_writing_may_stop(choose):
    """An update overwrites the older slot: whatever is there by then, the program has a good image."""
    older = image(3, 3)
    for done in range(0, len(NEW), 1024):
        assert choose(NEW[:done] + older[done:], OLD)[:2] == (OK, 1), done


def test_no_good_one(choose):
    assert choose(bent(OLD), bent(NEW, 3)) == (CRC, None, (CRC, MAGIC))
    assert choose(None, None) == (ARGUMENT, None, (ARGUMENT, ARGUMENT)) and choose(None, bent(NEW)) == (
        CRC,
        None,
        (ARGUMENT, CRC),
    )
    assert choose(OLD, NEW, shift=4)[0] == ALIGNMENT
    lib, chosen = choose.lib, _U8P()
    assert lib.rc_choose(None, None, None, ctypes.byref(chosen), None) == ARGUMENT
    assert lib.rc_choose((_U8P * 2)(), None, None, None, None) == ARGUMENT


def test_there_is_no_way_back_below_the_least(choose):
    assert choose(OLD, NEW, least=5) == (OK, 1, (ROLLBACK, OK))
    assert choose(OLD, bent(NEW), least=5) == (ROLLBACK, None, (ROLLBACK, CRC)), "not even where the newer one is damaged"
    assert choose(OLD, NEW, least=6) == (ROLLBACK, None, (ROLLBACK, ROLLBACK))


def test_only_what_is_trusted_is_chosen(choose):
    keys, asked = {hashlib.sha256(OLD).digest(), hashlib.sha256(NEW).digest()}, []

    def trust(user, slot, sha256, data, size):
        asked.append(slot)
        assert bytes(data[:4]) == b"RCM1" and size == len(OLD)
        return int(bytes(sha256[:32]) in keys)

    assert choose(OLD, NEW, trust=trust) == (OK, 1, (OK, OK)) and asked == [0, 1]
    forged = bytearray(NEW)
    struct.pack_into("<I", forged, 88, 99)  # the counter, all checksums mended
    forging.with_right_checksums(forged)
    assert choose(OLD, bytes(forged)) == (OK, 1, (OK, OK)), "without a signature it counts"
    assert choose(OLD, bytes(forged), trust=trust) == (OK, 0, (OK, SIGNATURE))
    padding = bytearray(NEW)
    forging.padding(padding)
    assert choose(bytes(padding), None, trust=trust) == (SIGNATURE, None, (SIGNATURE, ARGUMENT)), "every byte counts"
    asked.clear()
    assert choose(bent(OLD), NEW, least=5, trust=trust) == (OK, 1, (CRC, OK)) and asked == [1], "who is bad is not asked for"
    for answer in (0, 2, 2**32 - 1):
        assert choose(OLD, NEW, trust=lambda *_, answer=answer: answer)[0] == SIGNATURE, "only 1 is a yes"


def test_the_hook_is_called_and_may_cancel(choose):
    calls = []

    def hook(user):
        calls.append(1)
        return 0

    assert choose(OLD, NEW, options=Options(1, HOOK(hook), None), trust=lambda *_: 1)[:2] == (OK, 1)
    assert len(calls) > 2 * len(OLD) // 4096, "flags for an unchecked image do not count"
    assert choose(OLD, bent(NEW), options=Options(1, HOOK(hook), None)) == (OK, 0, (OK, CRC))
    assert choose(OLD, NEW, options=Options(0, HOOK(lambda user: 1), None))[:2] == (CANCELLED, None)
