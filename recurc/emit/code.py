"""Program + plan + image -> the generated C sources, through the templates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

import jinja2
import numpy as np

from recurc import __version__
from recurc.emit.image import Image
from recurc.errors import InputError
from recurc.ir.program import LinearRef, Loop, Program, Update
from recurc.noise import NOISE_AT
from recurc.ops.base import RmsNorm
from recurc.ops.registry import template as op_template
from recurc.ops.registry import template_file
from recurc.plan.hook import HOOK_MACS
from recurc.plan.kernels import IntKernel, KernelSet, padded
from recurc.plan.layout import ARENA_ALIGN, Layout, has_columns
from recurc.quant.model import QuantizedModel
from recurc.quoting import environment
from recurc.reading import read_text
from recurc.recursion import INPUT
from recurc.storage.form import Form, forms_of
from recurc.storage.image import IMAGE_ALIGN, KINDS
from recurc.storage.known import room_of
from recurc.symmetries import Grids

OP_NAMES = "op_names.c"  # of a library, for programs that print them


def _macro(name: str) -> str:
    """Suffix of the OFF_ macro of a section: TABLE_TOKENS for "table.tokens"."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _named_sections(program: Program) -> dict[str, str]:
    """Sections that model.c addresses by name -> suffix of their OFF_ macro."""
    names = [
        *(f"table.{role}" for role in program.tables),
        *(vector.name for vector in program.vectors),
        *(constant.name for constant in program.constants),
        *(["puzzle_key"] if program.puzzle_table else []),
        *(["forms"] if program.symmetries else []),
        "known",
    ]
    return {name: _macro(name) for name in names}


def _f32(value: float) -> str:
    """A C literal that reads back as exactly this binary32."""
    return float(np.float32(value)).hex() + "f"


def _op_source(name: str) -> tuple[str, str, None] | None:
    """Text and file of a template in an op's folder."""
    file = template_file(name)
    return (read_text(file), str(file), None) if file else None


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    env = environment()
    assert env.loader is not None
    env.loader = jinja2.ChoiceLoader([jinja2.FunctionLoader(_op_source), env.loader])
    env.filters |= {"f32": _f32, "macro": _macro}
    return env


class NormedOp(Protocol):
    """An op that has a norm after its residual."""

    @property
    def norm(self) -> RmsNorm: ...


def render(template: str, **context: Any) -> str:
    """Render one template of the package; lines that macros have left without text are none."""
    text = _environment().get_template(template).render(version=__version__, **context)
    return re.sub(r"^[ \t]+\n", "", text, flags=re.MULTILINE)


def _layers(model: QuantizedModel, image: Image, kernels: KernelSet) -> list[dict[str, Any]]:
    offsets = {s.name: s.offset for s in image.sections}
    forms = forms_of(model.program, model.forms)
    return [
        {
            "name": ref.name,
            "part_n": ref.part_n,
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
    return [
        {"name": ref.name, "k": kernels.padded(ref.k), "wmax": forms[ref.name].codec(kernels.weights).widest}
        for ref in model.program.linears
        if forms[ref.name].integer
    ]


def _used(forms: Iterable[Form]) -> list[Form]:
    """The forms whose tile functions are generated, each once, fewest bits first."""
    return sorted({form.kernel_form for form in forms}, key=lambda form: form.bits)


def _check_sources(body: tuple[Loop | Update, ...]) -> None:
    """That the runtime can add what updates add: one state, and X or not.

    Raises:
        InputError: another update.
    """
    for item in body:
        if isinstance(item, Loop):
            _check_sources(item.body)
        elif len([name for name in item.sources if name != INPUT]) != 1:
            raise InputError(
                f"the runtime cannot update {item.state} with {' + '.join(item.sources) or 'nothing'}", where="schedule",
                why=f"it adds one state to another, and {INPUT} or not", next="Give the family's schedule other updates",
            )  # fmt: skip


def _source(update: Update) -> str:
    """The state that an update adds."""
    return next(name for name in update.sources if name != INPUT)


def firmware_name(model: QuantizedModel) -> str:
    """What a firmware says that its model is called, as far as it fits there; for people."""
    return f"{model.name}, {model.stored_as}"


def emit_model(
    model: QuantizedModel, image: Image, kernels: KernelSet, layout: Layout, hook_macs: int = HOOK_MACS
) -> dict[str, str]:
    """Generated files of one model for one kernel set: file name -> text.

    Args:
        hook_macs: multiply-adds between two calls of the hook, at most, unless its compiler is told otherwise.
    """
    carry, table = model.program.carry, model.program.puzzle_table
    forms = forms_of(model.program, model.forms)
    _check_sources(model.program.schedule.body)
    fields = {state.name: state.field for state in model.program.states}

    def kernel(ref: LinearRef) -> IntKernel | None:
        """A layer's kernel; None for fp32."""
        return kernels.of(forms[ref.name])

    def sums_of(*refs: LinearRef) -> str:
        """Where storing rows may put their sums."""
        return "m->xs" if any(map(kernel, refs)) else "m->sums" if carry == "int8" else "0"

    def eps_of(op: NormedOp) -> str:
        """The C constant that an op's norm adds before the root."""
        eps = op.norm.eps
        return "RC_EPS" if eps == model.config.rms_norm_eps else _f32(eps)

    unrolled = model.program.op_names()
    names = list(dict.fromkeys(unrolled))
    context = {
        "carry": carry,
        "has_columns": has_columns(model.program),
        "sums_of": sums_of,
        "eps_of": eps_of,
        "op_template": op_template,
        "field": fields,
        "source_of": _source,
        "INPUT": INPUT,
        "table": table,
        "record_bytes": model.puzzles.record_bytes if model.puzzles else 0,
        "noise": model.program.lowering.noisy_runs is not None or kernels.name == "host",
        "noise_places": NOISE_AT,
        "model": model,
        "program": model.program,
        "config": model.config,
        "image": image,
        "layout": layout,
        "k": kernels,
        "kernel": kernel,
        "form": forms,
        "used_forms": _used(forms.values()),
        "padded": padded,
        "kinds": KINDS,
        "fixed_sections": _named_sections(model.program),
        "arena_align": ARENA_ALIGN,
        "architecture": [f"0x{b:02x}" for b in image.architecture],
        "hook_macs": hook_macs,
        "image_align": IMAGE_ALIGN,
        "layers": _layers(model, image, kernels),
        "layer_index": {ref.name: i for i, ref in enumerate(model.program.linears)},
        "overflow_proofs": _overflow_proofs(model, kernels),
        "has_positions": "positions" in model.tables,
        "title": firmware_name(model),
        "has_grids": isinstance(model.program.symmetries, Grids),
        "known_steps": room_of(model.program),
    }
    return {
        "model_config.h": render("model_config.h.j2", **context),
        "model.c": render("model.c.j2", **context),
        OP_NAMES: render("op_names.c.j2", **context, names=names, op_names=[names.index(name) for name in unrolled]),
        "weights.S": render("weights.S.j2", file_sha256=hashlib.sha256(image.data).hexdigest()),
    }
