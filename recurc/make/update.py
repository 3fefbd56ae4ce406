"""A new image for a firmware that is there: of another checkpoint of the same architecture, with no code compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from recurc.build.manifest import Build
from recurc.emit.architecture import Facts, differences, digest
from recurc.emit.image import Image, architecture, architecture_in, build_image
from recurc.emit.readback import IMAGE_LIMIT, read_model
from recurc.errors import InputError
from recurc.ir.lower import lower
from recurc.ir.lowering import Lowering
from recurc.models.reasoner import ReasonerConfig
from recurc.plan.kernels import KernelSet, kernel_set
from recurc.quant.model import QuantizedModel
from recurc.quant.weights import Precision
from recurc.reading import Unreadable, not_read, read_regular
from recurc.storage.form import Form
from recurc.storage.known import KnownAnswer

_MOST_TOLD = 4


@dataclass(frozen=True)
class Pinned:
    """What the firmware of a build takes: the model that it was built with, its kernels, and the architecture in its code."""

    build: Build
    model: QuantizedModel
    kernels: KernelSet
    facts: Facts

    @property
    def lowering(self) -> Lowering:
        """With the forms of puzzles that the build's image holds."""
        return self.model.program.lowering

    @property
    def precision(self) -> Precision:
        return self.model.precision

    @property
    def layers(self) -> dict[str, str]:
        """Layers in another precision, by name."""
        return {name: precision.name for name, precision in self.model.layers.items()}


def pinned(build: Build) -> Pinned:
    """What a build's firmware takes, from its manifest and images.

    Raises:
        InputError: an image of the build cannot be read, or is of another recurc, whose architecture is told in other words.
    """
    model, artifact = read_model(build), build.boards[build.target]
    kernels = kernel_set(build.details["boards"][build.target]["kernels"])
    try:
        data = read_regular(artifact.image, IMAGE_LIMIT)
    except Unreadable as error:
        raise not_read(error, artifact.image, "the weights image", "the weights image is not usable", "Build again") from None
    told = architecture(model.program, model.forms, kernels)
    if architecture_in(data) != digest(told):
        raise InputError(
            "the build's firmware cannot be given other weights", where=str(build.path),
            why="the architecture in its image is not what this recurc has for its model", next="Build it again",
        )  # fmt: skip
    return Pinned(build, model, kernels, told)


def check_fits(found: Pinned, config: ReasonerConfig, source: str) -> None:
    """That a model of this configuration can run in the build's firmware, before anything is quantized.

    Raises:
        InputError: it cannot; says what differs.
    """
    program = lower(config, found.lowering)
    forms: dict[str, Form] = {ref.name: found.model.precision_of(ref.name).form for ref in program.linears}
    _refuse(differences(architecture(program, forms, found.kernels), found.facts), found.build, source)


def image_for(
    found: Pinned, model: QuantizedModel, source: str, known: Callable[[], KnownAnswer | None], counter: int = 0
) -> Image:
    """The image that the build's firmware can be given.

    Args:
        source: of the model, for messages. known: computes its known answer, once it is sure that it fits.

    Raises:
        InputError: the model is of another architecture; says what differs.
    """
    _refuse(differences(architecture(model.program, model.forms, found.kernels), found.facts), found.build, source)
    image = build_image(replace(model, known=known()), found.kernels, counter)
    assert image.architecture == digest(found.facts)
    return image


def _refuse(different: list[str], build: Build, source: str) -> None:
    if different:
        more = len(different) - _MOST_TOLD
        raise InputError(
            "this model cannot run in the build's firmware", where=source,
            why="; ".join(different[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else ""),
            next=f"Build it anew; the firmware in {build.path} takes models that differ in their weights alone",
        )  # fmt: skip
