"""Values that several units of work share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """A few values by key, made once each while other threads wait; the least recently used are dropped."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, Lock()
        self._slots: OrderedDict[Hashable, tuple[Lock, list[Any]]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, which says what type it has."""
        with self._lock:
            lock, slot = self._slots.setdefault(key, (Lock(), []))
            self._slots.move_to_end(key)
            while len(self._slots) > self._size:
                self._slots.popitem(last=False)
        with lock:
            if not slot:
                slot.append(make())
            found: T = slot[0]
            return found
