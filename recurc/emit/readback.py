"""A build's quantized model, read back from the weights image of its host engine: what is stored, not what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurc.build.manifest import Build
from recurc.emit.architecture import digest
from recurc.emit.image import architecture, architecture_in, check_image
from recurc.errors import InputError
from recurc.ir.lower import lower
from recurc.ir.lowering import Knobs
from recurc.noise import START, Noise
from recurc.plan.kernels import kernel_set
from recurc.quant.model import QuantizedModel
from recurc.quant.weights import Precision, precisions
from recurc.reading import Unreadable, not_read, read_regular
from recurc.storage.form import forms_of
from recurc.storage.image import KINDS, Contents, SectionSpec, image_sections
from recurc.symmetries import Forms, Grids, Symmetry, is_arc

IMAGE_LIMIT = 1 << 30  # bytes of an image: no board has more memory


def _foreign(where: str, why: str) -> InputError:
    return InputError("the weights image does not belong to this build", where=where, why=why, next="build it again")


def _read(data: bytes, where: str, expected: Sequence[SectionSpec]) -> Contents:
    """What an image holds, section by section.

    Raises:
        InputError: it is damaged, or has other sections than expected.
    """
    found = check_image(data, where)
    if len(found) != len(expected):
        raise _foreign(where, f"it has {len(found)} sections, the model {len(expected)}")
    contents = Contents()
    for section, (kind, offset, size) in zip(expected, found):
        if (kind, size) != (KINDS[section.kind], section.bytes):
            raise _foreign(where, f"a section of kind {kind} has {size} bytes, the model's {section.name} {section.bytes}")
        section.read(data[offset : offset + size], contents)
    return contents


def _precision(build: Build, name: str) -> Precision:
    known = precisions()
    if name not in known:
        raise InputError(
            f"the build's precision {name!r} is not installed here", where=str(build.path), why="known are " + ", ".join(known),
            next="Install the package that brings it",
        )  # fmt: skip
    return known[name]


def _blank_forms(build: Build) -> Forms:
    """As many forms as a build's image holds, of the right size; which ones, the image says."""
    kept = build.details.get("solve")
    if kept and is_arc(kept["symmetry"]):
        return Grids.blank(kept["forms"], build.config.num_puzzle_identifiers)
    return (Symmetry.identity(build.config.seq_len, build.config.vocab_size),) * (kept["forms"] if kept else 0)


def _noisy(build: Build) -> Knobs:
    """The noise of a build's restarts."""
    kept: Mapping[str, Any] = build.details.get("solve") or {}
    if not kept.get("noise"):
        return {}
    return {
        "noisy_runs": max(kept["restarts"], 1),
        "own_noise": Noise(kept["noise"], kept.get("noise_at", START), kept.get("seed", 0)),
    }


def read_model(build: Build) -> QuantizedModel:
    """The model of a build, from its host engine's image.

    A streamed puzzle table is no part of the image: `Build.open_table` has its rows.

    Raises:
        InputError: the image is damaged or not this build's, or a precision is of a package that is not installed here.
    """
    d = build.details
    knobs: Knobs = {"symmetries": _blank_forms(build), **_noisy(build)}
    program = lower(build.config, build.lowering, **knobs)
    precision = _precision(build, build.precision)
    try:
        data = read_regular(build.host_image, IMAGE_LIMIT)
    except Unreadable as error:
        raise not_read(
            error, build.host_image, "the weights image", "the weights image is not usable", "Build it again"
        ) from None
    layers = {name: _precision(build, other) for name, other in d.get("layers", {}).items()}
    model = QuantizedModel(build.name, program, precision, d["method"] or "none", {}, {}, {}, layers=layers)
    forms, where = forms_of(program, model.forms), str(build.host_image)
    contents = _read(data, where, image_sections(program, forms, kernel_set("host").weights))
    if architecture_in(data) != digest(architecture(program, forms, kernel_set("host"))):
        raise _foreign(where, "its architecture is not the model's")
    for name, constant in model.constants().items():
        if not np.array_equal(contents.constants[name], constant):
            raise _foreign(where, f"its {name} is not the model's")
    held = replace(program, lowering=replace(program.lowering, symmetries=contents.symmetries))
    return replace(
        model,
        program=held,
        tables=contents.tables,
        vectors=contents.vectors,
        weights=contents.weights(forms),
        known=contents.known,
    )
