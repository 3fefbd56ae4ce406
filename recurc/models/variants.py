"""Tensors that forks of the original code write otherwise, made those of the original: the function stays the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recurc.errors import InputError, printable
from recurc.models.fields import Fields
from recurc.models.reasoner import ReasonerConfig

_DOWN, _UP = "._lora_A", "._lora_B"


def without_adapters(
    tensors: Mapping[str, np.ndarray], fields: Mapping[str, object], where: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Low-rank adapters folded into their layers: W + lora_alpha / r * B A, computed in binary64 and rounded once.

    Args:
        tensors: name -> array; an adapter of the layer NAME is `NAME._lora_A` [r, in] and `NAME._lora_B` [out, r].
        fields: of the configuration; `lora_alpha` is needed where there are adapters.

    Returns:
        (the tensors without adapters, a note where there were any).

    Raises:
        InputError: half an adapter, one without its layer or of another shape, or an unknown lora_alpha.
    """
    layers = sorted({name.removesuffix(end) for name in tensors for end in (_DOWN, _UP) if name.endswith(end)})
    if not layers:
        return dict(tensors), []
    alpha = Fields(fields, where).number("lora_alpha")
    if alpha is None:
        raise InputError(
            "the strength of the adapters is unknown", where=where,
            why=f"{len(layers)} layers have low-rank adapters (LoRA), and no configuration tells lora_alpha",
            next="Put the all_config.yaml of this checkpoint beside it, or save the weights with the adapters merged",
        )  # fmt: skip
    found = {name: tensor for name, tensor in tensors.items() if not name.endswith((_DOWN, _UP))}
    ranks = set()
    for layer in layers:
        parts = [tensors.get(name) for name in (layer + _UP, layer + _DOWN, layer + ".weight")]
        if any(part is None or part.ndim != 2 for part in parts):
            raise _bad(layer, where, "the two matrices of an adapter and the layer's own weights belong together")
        up, down, weight = (np.asarray(part, np.float64) for part in parts)
        rank = down.shape[0]
        if up.shape != (weight.shape[0], rank) or down.shape[1] != weight.shape[1] or not rank:
            shapes = ", ".join(f"{a.shape[0]}x{a.shape[1]}" for a in (up, down, weight))
            raise _bad(layer, where, f"B, A and the weights are {shapes}")
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by its layer's name
            found[layer + ".weight"] = (weight + alpha / rank * (up @ down)).astype(np.float32)
        ranks.add(rank)
    told = f"rank {' and '.join(map(str, sorted(ranks)))}, lora_alpha {alpha:g}"
    return found, [f"low-rank adapters ({told}) of {len(layers)} layers are folded into their weights"]


def _bad(layer: str, where: str, why: str) -> InputError:
    return InputError(
        "a low-rank adapter does not fit its layer", where=where, why=f"{printable(layer, 100)}: {why}",
        next="Check that the checkpoint is whole, or save the weights with the adapters merged",
    )  # fmt: skip


def with_two_q_rows(tensors: dict[str, np.ndarray], config: ReasonerConfig) -> list[str]:
    """A q_head that learned to stop only gets a second row of zeros, which TRM's halting does not read. Returns a note."""
    weight, bias = tensors.get("q_head.weight"), tensors.get("q_head.bias")
    if config.halt_rule != "q_halt>0" or weight is None or bias is None or len(weight) != 1 or bias.shape != (1,):
        return []
    tensors["q_head.weight"] = np.concatenate([weight, np.zeros_like(weight)])
    tensors["q_head.bias"] = np.concatenate([bias, np.zeros_like(bias)])
    return ["q_head has one row, q_halt: q_continue is taken as 0, and nothing reads it"]
