"""Stored weights of a model as named arrays, and back: what the cache of a study keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any

import numpy as np

from recurc.models.reasoner import Reasoner
from recurc.storage.form import Weights, weights_name
from recurc.study.fake import FakeWeights


def _fields(weights: Weights) -> tuple[Field[Any], ...]:
    assert is_dataclass(weights)  # as all weights are
    return fields(weights)


def to_arrays(weights: Mapping[str, Weights]) -> dict[str, np.ndarray]:
    """Every field of every layer's weights, by "layer|class|field"."""
    return {
        f"{name}|{weights_name(type(w))}|{f.name}": np.asarray(getattr(w, f.name))
        for name, w in weights.items()
        for f in _fields(w)
        if getattr(w, f.name) is not None
    }


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Weights]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    kinds = {**Weights.kinds, weights_name(FakeWeights): FakeWeights}
    for key, value in arrays.items():
        name, form, field = key.split("|")
        found.setdefault((name, form), {})[field] = value if value.ndim else value.item()
    return {name: kinds[form](**values) for (name, form), values in found.items()}


def of_model(subject: Reasoner, arrays: Mapping[str, np.ndarray]) -> dict[str, Weights]:
    """Stored weights of a model's linear layers. Raises KeyError, TypeError, ValueError: they are another's."""
    found = _from_arrays(arrays)
    for name in subject.linear_names():
        w = found[name]
        if subject.tensors[name].shape not in {np.shape(getattr(w, f.name)) for f in _fields(w)}:
            raise ValueError(f"{name} is of another shape")
    if len(found) != len(subject.linear_names()):
        raise ValueError("weights of other layers")
    return found
