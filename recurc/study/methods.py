"""The methods that `study` knows: each published compression and what toolchains deploy, with its definition.

A method is one entry of METHODS: its definition in words, the model that it puts in the checkpoint's place, and the
arithmetic that this runs in. Nothing else lists them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from recurc.arguments import argument
from recurc.errors import UsageError
from recurc.models.reasoner import Reasoner
from recurc.quant.weights import NO_CALIBRATION, Precision, precisions
from recurc.study import compressions as c
from recurc.study.compressions import Schooling
from recurc.study.learning import Recipe
from recurc.study.peers import PEERS, Peer
from recurc.study.variants import Variant

DISTIL = Recipe(200, 3e-4)
RETRAIN = Recipe(200, 3e-4)
QAT_SHORT = Recipe(100, 1e-5)
QAT_LONG = Recipe(400, 1e-3)


@dataclass(frozen=True)
class Method:
    """One compression. group: of the table; definition: what exactly is done.

    precision, activations, calibration: the arithmetic (`calibration` None needs no data). alters: the model in the
    checkpoint's place; schooling: the same by training; peer: onnxruntime's pipeline instead of all that.
    attention_only: has no meaning for models that mix tokens by an MLP. functional: knows the checkpoint only as a function, so
    that a copy which computes the same scores the same.
    """

    name: str
    group: str
    definition: str
    precision: str = "fp32"
    activations: str = "fp32"
    calibration: str | None = None
    alters: Callable[[Reasoner], Reasoner] | None = None
    schooling: Schooling | None = None
    peer: Peer | None = None
    attention_only: bool = False
    functional: bool = False

    @property
    def slug(self) -> str:
        """The name as it is typed: int4-naive."""
        return slug(self.name)

    @property
    def updates(self) -> int:
        """Optimizer updates that making its model takes."""
        return self.schooling.recipe.updates if self.schooling else 0

    @property
    def needs_data(self) -> bool:
        """Whether it draws on training puzzles."""
        return bool(self.schooling or self.peer or self.activations == "int8-static" or self._calibration_needs_data)

    @property
    def _calibration_needs_data(self) -> bool:
        known = precisions().get(self.precision)
        return known is not None and self.calibration in known.need_data

    def variant(self, steps: int | None) -> Variant:
        stands_in = self.alters is not None or self.schooling is not None
        # In fp32 torch is the faster of two equals; altered attention is something that only torch has.
        engine = "fake" if stands_in and self.activations == "fp32" else "auto"
        return Variant(
            self.precision,
            self.activations,
            steps=steps,
            method=self.calibration or "min-max",
            engine=engine,
            name=self.name,
            transform=self.name if stands_in else "",
        )


def slug(name: str) -> str:
    """Lower case, words joined by dashes."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


FP32 = Method("fp32", "reference", "the checkpoint, not quantized")
_ROWS = "activations int8, a fresh scale a row"
NAIVE, FINE, STATIC, ROWS8 = "int4 naive", "int4 calibrated", "int8 x static int8", "int8"
GROUPED, THREE, TWO = "int4-g32", "int3", "int2"
QAT = ("int4 naive + QAT short", "int4 naive + QAT long")
CONTROL, PEER_STATIC = "int4 naive + fine-tuning", PEERS[1].name
ROW4, BLOCK4, ALL4 = "int8 x int4 a row", "int8 x int4 blocks", "int4 blocks x int4 blocks"

METHODS: tuple[Method, ...] = (
    FP32,
    Method(ROWS8, "weights", f"weights int8, a scale a channel; {_ROWS}: the device's arithmetic", "int8", "int8-row"),
    Method(NAIVE, "weights", f"weights int4 symmetric, one scale a tensor; {_ROWS}", "int4-naive", "int8-row"),
    Method(
        "int4 naive weights only",
        "weights",
        "the same weights, activations fp32: the published table's row",
        "int4-naive",
        "fp32",
    ),
    Method("int4 channel symmetric", "weights", f"weights -7..7, a scale a channel; {_ROWS}", "int4-symmetric", "int8-row"),
    Method(
        "int4 channel min-max",
        "weights",
        "weights 0..15 with a zero point a channel, over the row's range, no data: what "
        f"the published study calls calibrated; {_ROWS}",
        "int4",
        "int8-row",
        "min-max",
    ),
    Method(
        FINE,
        "weights",
        f"the same with clip search and error feedback on calibration inputs: recurc's int4; {_ROWS}",
        "int4",
        "int8-row",
        "gptq",
    ),
    Method(
        GROUPED,
        "weights",
        "weights -8..7 in groups of 32, a group's scale in whole steps of its channel's, with error feedback on calibration "
        f"inputs: recurc's int4-g32; {_ROWS}",
        "int4-g32",
        "int8-row",
        "gptq",
    ),
    Method(
        THREE,
        "weights",
        f"weights 0..7 with a zero point a channel, clip search and error feedback: recurc's int3; {_ROWS}",
        "int3",
        "int8-row",
        "gptq",
    ),
    Method(
        TWO,
        "weights",
        "four levels a channel, a zero point on one or half way between two, clip search and error feedback, heads as int4's: "
        f"recurc's int2, made to be asked again; {_ROWS}",
        "int2",
        "int8-row",
        "gptq",
    ),
    Method(
        "int8 x int8 a tensor",
        "activations",
        "weights int8 a channel; activations int8, a scale a tensor found at every call",
        "int8",
        "int8-tensor",
    ),
    Method(
        STATIC,
        "activations",
        "weights int8 a channel; activations int8, one scale a layer from calibration: what static toolchains deploy",
        "int8",
        "int8-static",
    ),
    Method(ROW4, "activations", "weights int8 a channel; activations int4, a scale a row", "int8", "int4-row"),
    Method(
        BLOCK4,
        "activations",
        "weights int8 a channel; activations int4 in blocks of 32, power-of-two scales",
        "int8",
        "int4-block32",
    ),
    Method(
        "int4 blocks x int8 a row",
        "activations",
        f"weights int4 in blocks of 32, power-of-two scales; {_ROWS}",
        "int4-mx32",
        "int8-row",
    ),
    Method(
        ALL4, "activations", "weights and activations int4 in blocks of 32, power-of-two scales", "int4-mx32", "int4-block32"
    ),
    *(Method(p.name, "toolchains", p.definition, peer=p) for p in PEERS),
    Method(
        "pruned 25 %",
        "structure",
        "the quarter of each layer's rows with the least L2 norm set to zero in place (the bytes stay); fp32",
        alters=c.pruned,
    ),
    Method(
        "linear attention",
        "structure",
        "softmax replaced by features elu + 1 of q and k, the same weights; fp32",
        alters=c.linear_attention,
        attention_only=True,
        functional=True,
    ),
    Method(
        "linear attention + training",
        "training",
        "the same, trained on the labels; fp32",
        attention_only=True,
        schooling=c.with_linear_attention(RETRAIN),
    ),
    Method(
        "distilled",
        "training",
        "a student of half the width, one layer, one H cycle; 0.7 KL to the fp32 model at "
        "temperature 4 + 0.3 cross-entropy; fp32",
        schooling=c.distillation(DISTIL),
        functional=True,
    ),
    Method(
        CONTROL,
        "training",
        f"trained on in fp32, quantized afterwards: what the published study's code does under the name of QAT; {_ROWS}",
        "int4-naive",
        "int8-row",
        schooling=c.fine_tuning(QAT_SHORT),
    ),
    Method(
        QAT[0],
        "training",
        "fake quantization of weights and activations in the recursion, gradients straight through, "
        f"cross-entropy on tokens; {_ROWS}",
        "int4-naive",
        "int8-row",
        schooling=c.quantization_aware("int4-naive", QAT_SHORT),
    ),
    Method(
        QAT[1],
        "training",
        "the same, longer and faster",
        "int4-naive",
        "int8-row",
        schooling=c.quantization_aware("int4-naive", QAT_LONG),
    ),
)


def methods() -> tuple[Method, ...]:
    """METHODS, then one for each precision that a build can have and none of them is about, as others bring."""
    studied = {m.precision for m in METHODS}
    return (*METHODS, *(_of(p) for p in precisions().values() if not p.lossy and p.name not in studied))


def _of(precision: Precision) -> Method:
    best, how = precision.methods[0], _ROWS if precision.form.integer else "activations fp32"
    return Method(
        precision.name, "weights", f"{precision.summary or precision.name}; {how}: the device's arithmetic", precision.name,
        "int8-row" if precision.form.integer else "fp32", None if best == NO_CALIBRATION else best,
    )  # fmt: skip


def definition(method: Method) -> str:
    """What exactly a method does, with its training."""
    return method.definition + (f" ({method.schooling.recipe.words})" if method.schooling else "")


def chosen(names: Sequence[str], reasoner: Reasoner, updates: int | None = None, data: bool = True) -> list[Method]:
    """Methods by name, slug or group (none: all that have a meaning for the model), plain fp32 first.

    Args:
        updates: of the longest training; others take at most as many.
        data: whether there are training puzzles; without, methods that need some are left out unless they are named.

    Raises:
        UsageError: an unknown name, or a method by name that the model or the lack of data rules out.
    """
    known_methods = methods()
    groups = list(dict.fromkeys(m.group for m in known_methods[1:]))
    wanted = [slug(name) for name in names]
    for name, asked in zip(wanted, names):
        known = [*(m.slug for m in known_methods), *groups]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"unknown method {asked!r}",
                where=argument("methods"),
                why="known are " + ", ".join(known),
                next=f"Did you mean {near[0]}?" if near else "Choose among them",
            )
    mlp, found = reasoner.config.mixer == "mlp_t", [FP32]
    for m in known_methods[1:]:
        named = m.slug in wanted
        if not (named or m.group in wanted or not wanted):
            continue
        if m.attention_only and mlp:
            if named:
                raise UsageError(
                    f"{m.name} has no meaning here",
                    where=argument("methods"),
                    why="the model mixes tokens by an MLP",
                    next="Leave it out",
                )
        elif m.needs_data and not data:
            if named:
                raise UsageError(
                    f"{m.name} needs training puzzles",
                    where=argument("methods"),
                    why="no train split is known",
                    next=f"Pass {argument('data')} or {argument('learning', option='train')} with a train folder",
                )
        else:
            found.append(_with_updates(m, updates) if updates else m)
    return found


def _with_updates(method: Method, updates: int) -> Method:
    how = method.schooling
    if how is None:
        return method
    longest = max(m.updates for m in METHODS)
    return replace(method, schooling=how.for_updates(updates if method.updates == longest else min(updates, method.updates)))
