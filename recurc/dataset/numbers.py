"""Whole numbers out of whatever a caller passes as arrays."""

from __future__ import annotations

import numpy as np

from recurc.errors import InputError
from recurc.reading import shown


def whole_numbers(values: object, what: str, where: str) -> np.ndarray:
    """Anything that is whole numbers, as an int64 array of its own shape. Raises InputError."""
    try:
        array = np.asarray(numbers_only(values))
        if array.dtype.kind in "iub" or (
            array.dtype.kind == "f" and bool(np.all(np.abs(array) < 2**53)) and bool(np.all(array == np.floor(array)))
        ):
            return array.astype(np.int64)
        why = f"they are {array.dtype}"
    except (ValueError, TypeError, OverflowError) as error:
        why = " ".join(str(error).split())[:200]
    raise InputError(f"{what} are not whole numbers", where=where, why=why, next="Give integers, in an array or a list")


def numbers_only(values: object) -> object:
    """The values, when lists and tuples of them, however deep, hold numbers and arrays alone.

    NumPy makes an array of texts as wide as the longest: a few of them can ask for all memory. Raises ValueError.
    """
    todo = [values]
    while todo:
        value = todo.pop()
        if isinstance(value, (list, tuple)):
            todo += value
        elif not isinstance(value, (int, float, np.ndarray, np.generic)):
            raise ValueError(f"{shown(value)} is among them")
    return values
