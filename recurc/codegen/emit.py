"""Program + plan + image -> the generated C sources, through the templates."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Iterable

import jinja2
import numpy as np

from recurc import __version__
from recurc.codegen.image import Image
from recurc.ir.program import Attention, LinearRef, TokenMix
from recurc.plan.kernels import IntKernel, KernelSet, padded
from recurc.plan.layout import ARENA_ALIGN, Layout, has_columns, has_op
from recurc.quant.model import QuantizedModel
from recurc.quoting import environment
from recurc.storage.form import Form, forms_of
from recurc.storage.image import KINDS

# Sections that model.c addresses by name -> suffix of their OFF_ macro.
_FIXED = {
    "table.tokens": "TABLE_TOKENS", "table.puzzles": "TABLE_PUZZLES", "table.positions": "TABLE_POSITIONS",
    "H_init": "H_INIT", "L_init": "L_INIT", "q_bias": "Q_BIAS", "rope.cos": "ROPE_COS", "rope.sin": "ROPE_SIN",
}


def _f32(value: float) -> str:
    """A C literal that reads back as exactly this binary32."""
    return float(np.float32(value)).hex() + "f"


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    env = environment()
    env.filters["f32"] = _f32
    return env


def render(template: str, **context: Any) -> str:
    """Render one template of the package."""
    return _environment().get_template(template).render(version=__version__, **context)


def _layers(model: QuantizedModel, image: Image, kernels: KernelSet) -> list[dict[str, Any]]:
    offsets = {s.name: s.offset for s in image.sections}
    forms = forms_of(model.program, model.forms)
    return [
        {
            "name": ref.name, "part_n": ref.part_n,
            "weights": offsets[f"{ref.name}:weights"],
            "scales": offsets.get(f"{ref.name}:scales", 0),
            "zeros": offsets.get(f"{ref.name}:zeros", offsets.get(f"{ref.name}:groups", 0)),
            "part_bytes": kernels.part_bytes(ref, forms[ref.name]),
            "tile_bytes": forms[ref.name].codec(kernels.weights).tile_bytes(ref.k),
        }
        for ref in model.program.linears
    ]


def _overflow_proofs(model: QuantizedModel, kernels: KernelSet) -> list[dict[str, Any]]:
    """Largest |accumulator| of each layer, before and after the zero point: it must fit int32."""
    forms = forms_of(model.program, model.forms)
    return [{"name": ref.name, "k": kernels.padded(ref.k), "wmax": forms[ref.name].codec(kernels.weights).widest}
            for ref in model.program.linears if forms[ref.name].integer]


def _used(forms: Iterable[Form]) -> list[Form]:
    """The forms whose tile functions are generated, each once, fewest bits first."""
    return sorted({form.kernel_form for form in forms}, key=lambda form: form.bits)


def firmware_name(model: QuantizedModel) -> str:
    """What a firmware says that its model is called, as far as it fits there; for people."""
    return f"{model.name}, {model.stored_as}"


def emit_model(model: QuantizedModel, image: Image, kernels: KernelSet, layout: Layout) -> dict[str, str]:
    """Generated files of one model for one kernel set: file name -> text."""
    carry, table = model.program.carry, model.program.puzzle_table
    forms = forms_of(model.program, model.forms)

    def kernel(ref: LinearRef) -> IntKernel | None:
        """A layer's kernel; None for fp32."""
        return kernels.of(forms[ref.name])

    def sums_of(*refs: LinearRef) -> str:
        """Where storing rows may put their sums."""
        return "m->xs" if any(map(kernel, refs)) else "m->sums" if carry == "int8" else "0"

    context = {
        "carry": carry, "has_columns": has_columns(model.program), "sums_of": sums_of,
        "has_token_mix": has_op(model.program, TokenMix), "has_attention": has_op(model.program, Attention),
        "table": table,
        "table_key": [f"0x{b:02x}" for b in model.puzzles.key] if model.puzzles else [],
        "record_bytes": model.puzzles.record_bytes if model.puzzles else 0,
        "model": model, "program": model.program, "config": model.config, "image": image, "layout": layout,
        "k": kernels, "kernel": kernel, "form": forms, "used_forms": _used(forms.values()),
        "padded": padded, "kinds": KINDS,
        "fixed_sections": _FIXED, "arena_align": ARENA_ALIGN,
        "sha_bytes": [f"0x{b:02x}" for b in bytes.fromhex(image.sha256)],
        "layers": _layers(model, image, kernels),
        "layer_index": {ref.name: i for i, ref in enumerate(model.program.linears)},
        "overflow_proofs": _overflow_proofs(model, kernels), "has_positions": "positions" in model.tables,
        "title": firmware_name(model),
    }
    return {
        "model_config.h": render("model_config.h.j2", **context),
        "model.c": render("model.c.j2", **context),
        "weights.S": render("weights.S.j2", file_sha256=hashlib.sha256(image.data).hexdigest()),
    }
