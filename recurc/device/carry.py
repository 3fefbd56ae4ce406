"""The carry as a device stores it: which forms there are, and how to read them as fp32."""

from __future__ import annotations

from typing import Optional

import numpy as np

from recurc.errors import InputError

CARRIES = ("fp32", "fp16", "int8")  # by rc_model_info.carry
SCALES = {"z_H": "z_H_scale", "z_L": "z_L_scale"}  # tensor with the scales of an int8 carry's rows


def widen_carry(raw: np.ndarray, kind: str, shape: tuple[int, int], scale: Optional[np.ndarray] = None) -> np.ndarray:
    """Stored bytes of z_H or z_L as the float32 values that ops read.

    Args:
        raw: uint8, as stored.
        kind: one of CARRIES.
        shape: (rows, hidden).
        scale: float32 [rows], for "int8".

    Raises:
        InputError: bytes of another size than the shape needs.
    """
    dtype = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2"), "int8": np.dtype("i1")}[kind]
    if raw.size != shape[0] * shape[1] * dtype.itemsize:
        raise InputError("the carry has another size than the model", where=f"{raw.size} bytes",
                         why=f"{kind} rows {shape[0]} x {shape[1]} are expected", next="build again")
    values = np.ascontiguousarray(raw).view(dtype).reshape(shape).astype(np.float32)
    return values if scale is None else values * scale.astype(np.float32)[:, None]
