"""Rotary tables that some code saves beside the weights: they say what the configuration says, or are of another model."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from recurc.errors import InputError, printable
from recurc.models.reasoner import ReasonerConfig

ROTARY = re.compile(r"^(?:\w+\.)*rotary_emb\.\w+$")
_KINDS = re.compile(r"(?:^|_)(inv_freq|cos|sin)(?:_|$)")


def check_rotary(buffers: Mapping[str, np.ndarray], config: ReasonerConfig, where: str, told_by: str) -> list[str]:
    """Compare saved rotary tables with those that the configuration asks for; a note for each that cannot be compared.

    Args:
        buffers: name -> `inv_freq` [head_dim / 2], or `cos_cached`, `sin_cached` [positions, head_dim or half of it].
        where: the checkpoint.
        told_by: where its configuration comes from.

    Raises:
        InputError: one has other values or another shape. It names both.
    """
    if config.mixer != "attention":
        return []  # the original builds the tables there too, and never reads them
    notes = []
    for name, buffer in buffers.items():
        kind = _KINDS.search(name.rpartition(".")[2])
        if kind is None:
            notes.append(f"{printable(name, 100)} is not used and was not compared with rope_theta {config.rope_theta:g}")
        elif wrong := _difference(kind[1], np.squeeze(buffer), config):
            raise InputError(
                "the saved rotary table and the configuration contradict each other", where=f"{where} and {told_by}",
                why=f"{printable(name, 100)} {wrong}", next="Correct the configuration, or save the weights without the table",
            )  # fmt: skip
    return notes


def _difference(kind: str, saved: np.ndarray, config: ReasonerConfig) -> str:
    """What a table says that the configuration does not; empty where they agree."""
    width = config.head_dim
    if not config.turns:
        return f"turns q and k by their positions, and pos_encodings is {config.pos_encodings}"
    widths = (width // 2,) if kind == "inv_freq" else (width, width // 2)
    axes = 1 if kind == "inv_freq" or (saved.ndim < 2 and config.rows == 1) else 2
    if width == 2 and kind == "inv_freq":
        saved = saved.reshape(-1)
    if saved.ndim != axes or saved.shape[-1] not in widths:
        return (f"is {'x'.join(map(str, saved.shape))}, and {config.num_heads} heads of {config.hidden_size} features ask for "
                f"{widths[0]} columns")  # fmt: skip
    if axes == 2 and len(saved) < config.rows:
        return f"has {len(saved)} positions, and the model has {config.rows} rows"
    frequencies = config.rope_theta ** (-np.arange(0, width, 2) / width)
    wanted = frequencies
    if kind != "inv_freq":
        angles = np.outer(np.arange(len(saved)), frequencies)
        wanted = np.tile(np.cos(angles) if kind == "cos" else np.sin(angles), saved.shape[-1] // (width // 2))
    # Tables of half precision are coarse.
    tolerance = 1e-3 if (np.ascontiguousarray(saved, "<f4").view("<u4") & 0x1FFF).any() else 1e-2
    scale = np.abs(wanted) if kind == "inv_freq" else 1.0
    if (np.abs(saved - wanted) <= tolerance * scale).all():
        return ""
    theta = _theta(kind, saved, width)
    return f"is that of {'other values' if theta is None else f'rope_theta {theta:g}'}, and rope_theta is {config.rope_theta:g}"


def _theta(kind: str, saved: np.ndarray, width: int) -> float | None:
    """The base that a table was made with, to four digits, from its second frequency; None where that does not tell."""
    row = saved if kind == "inv_freq" else saved[1] if len(saved) > 1 else saved[:0]
    if width < 4 or len(row) < 2 or not 0 < row[1] < 1:
        return None
    frequency = float(row[1] if kind == "inv_freq" else np.arccos(row[1]) if kind == "cos" else np.arcsin(row[1]))
    theta = frequency ** (-width / 2) if frequency > 0 else 0.0
    return float(f"{theta:.4g}") if 1e-9 < theta < 1e15 else None
