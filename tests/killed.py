"""A process that is killed at a chosen call of the system, without any clean-up; and one of which a chosen call fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from recurc.build import swap

# Every function of `os` that changes a filesystem, and those that open what is changed.
CALLS = ("rename", "replace", "unlink", "remove", "rmdir", "mkdir", "link", "symlink", "open", "close", "fsync", "scandir")


def dies_at(number: int) -> None:
    """This process ends, without any clean-up, at its call `number` from now."""
    left, lock = [number], threading.Lock()

    def watched(call: Callable) -> Callable:
        def counted(*args, **kwargs):
            with lock:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(77)
            return call(*args, **kwargs)

        return counted

    swap._renameat2 = watched(swap._renameat2)
    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))


def killed_at(number: int, work: Callable[[], object], exchange: bool = True) -> bool:
    """Do some work in a process of its own that ends, without any clean-up, at its call `number` of the system.

    Args:
        exchange: whether the system can exchange two names in one step.

    Returns:
        Whether it was killed; False when it ended before. An error in it is told and counts as neither: AssertionError.
    """
    child = os.fork()
    if not child:
        try:
            if not exchange:
                swap._renameat2 = _without_exchange
            dies_at(number)
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 77)
    return status == 77


def _without_exchange(source, target, flags) -> None:
    raise OSError(38, "Function not implemented")


def fails_at(number: int, work: Callable[[], object], code: int, lasting: bool = False, exchange: bool = True) -> object:
    """Do some work in this process of which call `number` of the system fails with the error `code`.

    Args:
        lasting: whether all later ones fail too.

    Returns:
        What `work` gave, or the error that it raised; None when it made fewer calls.
    """
    left = [number]

    def watched(call: Callable) -> Callable:
        def counted(*args, **kwargs):
            left[0] -= 1
            failing = left[0] == -1 or (lasting and left[0] < 0)
            if not failing or call is close:  # a file is closed whatever that says
                found = call(*args, **kwargs)
            if failing:
                raise OSError(code, os.strerror(code))
            return found

        return counted

    close = os.close
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap, "_renameat2", watched(swap._renameat2 if exchange else _without_exchange))
        for name in CALLS:
            patch.setattr(os, name, watched(getattr(os, name)))
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test judges it
            found = error
    return found if left[0] < 0 else None
