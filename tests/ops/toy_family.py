"""A TRM whose blocks end with an op of tests/ops."""

from __future__ import annotations

from dataclasses import replace

from recurc.models import trm
from recurc.models.shapes import model_tensors
from recurc.ops import LinearRef
from recurc.ops.base import RmsNorm
from recurc.recursion import Block
from tests.ops.scaled_mix.op import ScaledMix

NAME = "toy"
ARCH_NAMES = ("tests.toy@Toy",)


def recognises(names):
    return any(".scaled_mix." in name for name in names)


def config_from_fields(fields, shapes, where="configuration"):
    config, notes = trm.config_from_fields(fields, shapes, where)
    return replace(config, family=NAME), notes


def expected_tensors(config):
    return model_tensors(config)


def recursion(config, depth):
    made, d = trm.recursion(config, depth), config.hidden_size
    blocks = [Block(b.name, (*b.ops, ScaledMix(LinearRef(f"{b.name}.layers.0.scaled_mix.weight", d, d), RmsNorm(1e-3))))
              for b in made.blocks]  # fmt: skip
    return replace(made, blocks=tuple(blocks))
